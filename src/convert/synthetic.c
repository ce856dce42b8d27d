#include "src/convert/synthetic.h"

#include <string.h>

#include "kernels/kernels.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/formats/safetensors.h"
#include "src/model/tensors.h"

#define LLAMA(L, c, f, h, g, d, v, ctx, is_tied)                                                   \
    {                                                                                              \
        .layers = L, .C = c, .F = f, .H = h, .G = g, .D = d, .V = v, .context = ctx,               \
        .norm_eps = 1e-5, .rope_theta = 10000, .factor = 1, .original_context = ctx,               \
        .tied = is_tied                                                                            \
    }

static const struct synthetic_shape shapes[] = {
    { "135m", "SmolLM2-135M", LLAMA(30, 576, 1536, 9, 3, 64, 49152, 8192, true), 30 },
    { "1.1b", "TinyLlama-1.1B", LLAMA(22, 2048, 5632, 32, 4, 64, 32000, 2048, false), 22 },
    { "7b", "Llama-2-7B", LLAMA(32, 4096, 11008, 32, 32, 128, 32000, 4096, false), 32 },
    { "13b", "Llama-2-13B", LLAMA(40, 5120, 13824, 40, 40, 128, 32000, 4096, false), 40 },
    { "70b", "Llama-2-70B", LLAMA(80, 8192, 28672, 64, 8, 128, 32000, 4096, false), 4 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

const struct synthetic_shape *synthetic_named(const char *name)
{
    for (size_t i = 0; i < SHAPES; i++)
        if (strcmp(name, shapes[i].name) == 0) return &shapes[i];
    return NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

enum { BLOCK = 1 << 16 };

/* n random bf16 values of standard deviation 0.02; norms are ones. */
static int write_values(struct st_writer *w, uint32_t tensor, size_t n, bool norm, struct err *e)
{
    static uint16_t block[BLOCK];
    int code = 0;
    for (size_t first = 0; !code && first < n; first += BLOCK) {
        size_t m = n - first < BLOCK ? n - first : BLOCK;
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < m; i += 4) {
            uint64_t at = (first + i) / 4;
            uint32_t counter[4] = { (uint32_t)at, (uint32_t)(at >> 32), tensor, RNG_SYNTH };
            uint32_t key[2] = { 1, 0 }, word[4];
            philox4x32(word, counter, key);
            for (size_t j = 0; j < 4 && i + j < m; j++) {
                float v = norm ? 1.0f : ((float)word[j] * 0x1p-32f - 0.5f) * 0.0692820323f;
                storage_narrow(&block[i + j], STORAGE_BF16, &v, 1);
            }
        }
        code = st_writer_add(w, block, m * 2, e);
    }
    return code;
}

static void list_tensors(struct st_entry *entries, char (*names)[TENSOR_NAME], const struct dims *s)
{
    size_t n = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w); n++) {
        bool vector = w.row->kind != KIND_MATRIX;
        tensor_name(names[n], &w, false);
        entries[n] = (struct st_entry){ .name = names[n],
                                        .type = STORAGE_BF16,
                                        .rank = vector ? 1 : 2,
                                        .dims = { vector ? w.cols : w.rows, w.cols } };
    }
}

static int write_model(const struct dims *s, const char *path, struct err *e)
{
    size_t n = tensor_count(s);
    struct st_entry *entries = mem_alloc(n, sizeof *entries, e);
    char(*names)[TENSOR_NAME] = mem_alloc(n, sizeof *names, e);
    struct st_writer w;
    int code = entries && names ? 0 : e->code;
    if (!code) {
        list_tensors(entries, names, s);
        code = st_writer_begin(&w, path, entries, n, 0666, e);
        if (!code) {
            for (size_t i = 0; !code && i < n; i++) {
                const struct st_entry *t = &entries[i];
                size_t values = t->dims[0] * (t->rank == 2 ? t->dims[1] : 1);
                code = write_values(&w, (uint32_t)i, values, t->rank == 1, e);
            }
            if (!code) code = st_writer_commit(&w, e);
            if (code) st_writer_abort(&w);
        }
    }
    mem_free(entries);
    mem_free(names);
    return code;
}

int synthetic_make(const struct synthetic_shape *s, size_t layers, const char *dir, struct err *e)
{
    char path[PATH_BYTES], config[PATH_BYTES];
    struct dims dims = s->dims;
    struct str text = { 0 };
    dims.layers = layers;
    int code = path_join(config, dir, "config.json", e);
    if (code || file_exists(config)) return code; /* written last: the directory is complete */
    code = dir_make(dir, 0777, e);
    if (!code) code = path_join(path, dir, "model.safetensors", e);
    if (!code) code = write_model(&dims, path, e);
    dims_to_config(&text, &dims, "bfloat16", 1, 2);
    if (!code) code = str_error(&text, e);
    if (!code) code = file_replace(config, text.p, text.n, 0666, e);
    str_free(&text);
    return code;
}
