/* Adapters as GGUF against the format's definition, and the extraction of a difference whose
 * singular values are known. */
#include "tests/train_util.h"

#include <math.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/convert/adapter_gguf.h"
#include "src/convert/extract.h"
#include "src/formats/gguf.h"
#include "src/train/setup.h"

/* Source: huggingface/transformers, convert_llama_weights_to_hf.py (permute). Per head, row
 * c * D/2 + j in Hugging Face's order is row 2 j + c in Meta's and GGUF's. */
static void gguf_rows_of_q_and_k_are_pairs(void **state)
{
    (void)state;
    struct err e;
    struct dims s = { .layers = 2, .C = 12, .F = 20, .H = 3, .G = 1, .D = 4, .V = 9 };
    struct adapter a, back;
    struct gguf g;
    adapter_layout(&a, &s, 2, 6, (1u << MODULES) - 1);
    if (adapter_place(&a, &e)) fail_msg("%s", e.msg);
    for (size_t i = 0; i < a.n_params; i++) a.params[i] = (real)i;
    const char *path = temp_path("pairs.gguf");
    if (adapter_gguf_write(&a, NULL, path, &e) || gguf_open(&g, path, &e)) fail_msg("%s", e.msg);
    double alpha = 0;
    assert_int_equal(gguf_get_double(&alpha, &g, "adapter.lora.alpha", true, &e), 0);
    assert_true(alpha == 6);
    assert_int_equal(g.n_tensors, 2 * MODULES * 2);
    const struct tensor *q = gguf_find(&g, "blk.1.attn_q.weight.lora_b");
    const struct tensor *v = gguf_find(&g, "blk.1.attn_v.weight.lora_b");
    const struct tensor *qa = gguf_find(&g, "blk.1.attn_q.weight.lora_a");
    assert_true(q && v && qa && q->dims[0] == 12 && q->dims[1] == 2 && qa->dims[0] == 2);
    const real *B = adapter_b(&a, a.params, 1, Q_PROJ);
    for (size_t h = 0; h < 3; h++)
        for (size_t c = 0; c < 2; c++)
            for (size_t j = 0; j < 2; j++)
                for (size_t col = 0; col < 2; col++) {
                    float stored;
                    size_t meta = h * 4 + 2 * j + c, hf = h * 4 + c * 2 + j;
                    memcpy(&stored, q->data + (meta * 2 + col) * 4, 4);
                    assert_true(stored == B[hf * 2 + col]);
                }
    assert_memory_equal(v->data, adapter_b(&a, a.params, 1, V_PROJ), v->bytes);
    assert_memory_equal(qa->data, adapter_a(&a, a.params, 1, Q_PROJ), qa->bytes);
    gguf_close(&g);
    if (adapter_gguf_read(&back, &s, path, &e)) fail_msg("%s", e.msg);
    assert_int_equal(back.n_params, a.n_params);
    assert_memory_equal(back.params, a.params, a.n_params * sizeof *a.params);
    assert_true(back.scale == a.scale);
    adapter_free(&a);
    adapter_free(&back);
}

/* llama.cpp: alpha 0 is a scale of 1, whatever the rank. */
static void alpha_zero_is_a_scale_of_one(void **state)
{
    (void)state;
    struct err e;
    struct gguf_writer w;
    struct dims s = { .layers = 1, .C = 4, .F = 8, .H = 1, .G = 1, .D = 4, .V = 9 };
    struct adapter a;
    float A[8], B[8];
    for (int i = 0; i < 8; i++) A[i] = (float)i, B[i] = (float)(10 + i);
    const char *path = temp_path("zero.gguf");
    if (gguf_writer_begin(&w, path, 0666, &e)) fail_msg("%s", e.msg);
    gguf_put_string(&w, "general.type", "adapter", 7);
    gguf_put_string(&w, "general.architecture", "llama", 5);
    gguf_put_string(&w, "adapter.type", "lora", 4);
    gguf_put_f32(&w, "adapter.lora.alpha", 0);
    gguf_put_tensor(&w, "blk.0.attn_v.weight.lora_a", STORAGE_F32, 2, (uint64_t[]){ 2, 4 });
    gguf_put_tensor(&w, "blk.0.attn_v.weight.lora_b", STORAGE_F32, 2, (uint64_t[]){ 4, 2 });
    int code = gguf_writer_data(&w, &e);
    if (!code) code = gguf_writer_add(&w, A, sizeof A, &e);
    if (!code) code = gguf_writer_pad(&w, &e);
    if (!code) code = gguf_writer_add(&w, B, sizeof B, &e);
    if (!code) code = gguf_writer_pad(&w, &e);
    if (!code) code = gguf_writer_commit(&w, &e);
    if (code || adapter_gguf_read(&a, &s, path, &e)) fail_msg("%s", e.msg);
    assert_int_equal(a.modules, 1u << V_PROJ);
    const real *b = adapter_b(&a, a.params, 0, V_PROJ);
    for (int i = 0; i < 8; i++) assert_true(a.scale * (double)b[i] == (double)B[i]);
    assert_memory_equal(adapter_a(&a, a.params, 0, V_PROJ), A, sizeof A);
    adapter_free(&a);
}

/* ---- extraction ------------------------------------------------------------------------------ */

enum { C = 48, F = 80, R = 6, SPECTRUM = 48 };

/* x (rows, cols) = (1 - 2 u u^T) x or x (1 - 2 u u^T), u a random unit vector: orthogonal. */
static void reflect(double *x, size_t rows, size_t cols, bool left, uint32_t number)
{
    double u[F], norm = 0;
    size_t n = left ? rows : cols;
    for (size_t i = 0; i < n; i++)
        u[i] = rng_unit(7, RNG_SYNTH, number, i) - 0.5, norm += u[i] * u[i];
    for (size_t i = 0; i < (left ? cols : rows); i++) {
        double dot = 0;
        for (size_t k = 0; k < n; k++) dot += u[k] * x[left ? k * cols + i : i * cols + k];
        for (size_t k = 0; k < n; k++)
            x[left ? k * cols + i : i * cols + k] -= 2 * dot / norm * u[k];
    }
}

/* A model of one layer in memory. */
struct model {
    struct llama m;
    struct layer_weights layer;
    float *w[MODULES];
    real norms[C];
    float embedding[4 * C];
};

static void model_make(struct model *x, const double *const difference[MODULES])
{
    struct err e;
    *x = (struct model){ .m = { .dims = { .layers = 1,
                                          .C = C,
                                          .F = F,
                                          .H = 4,
                                          .G = 4,
                                          .D = C / 4,
                                          .V = 4,
                                          .tied = true } } };
    x->m.layer = &x->layer;
    for (int i = 0; i < C; i++) x->norms[i] = 1;
    x->layer.norm1 = x->layer.norm2 = x->m.norm = x->norms;
    x->m.embedding =
        (struct matrix){ .data = x->embedding, .type = STORAGE_F32, .rows = 4, .cols = C };
    x->m.head = x->m.embedding;
    for (int i = 0; i < MODULES; i++) {
        enum module m = (enum module)i;
        size_t rows = module_rows(&x->m.dims, m), cols = module_cols(&x->m.dims, m);
        x->w[i] = mem_alloc(rows * cols, sizeof(float), &e);
        assert_non_null(x->w[i]);
        for (size_t j = 0; j < rows * cols; j++) {
            x->w[i][j] = (float)(rng_unit(3, RNG_SYNTH, (uint32_t)i, j) - 0.5) * 0.1f;
            if (difference) x->w[i][j] += (float)difference[i][j];
        }
        x->layer.w[i] =
            (struct matrix){ .data = x->w[i], .type = STORAGE_F32, .rows = rows, .cols = cols };
    }
}

static void model_free(struct model *x)
{
    for (int i = 0; i < MODULES; i++) mem_free(x->w[i]);
}

static void count_matrices(void *to, double done, double all)
{
    size_t *n = to;
    assert_true(all == MODULES && done == (double)++*n);
}

static bool is_third(void *context)
{
    return *(const size_t *)context == 3;
}

/* Singular values of the difference: value(i) for i < SPECTRUM. The error of the extracted adapter
 * against the least that rank R can have (Eckart, Young: the squares of the rest). */
static void extract_known(double (*value)(int i), double allowed)
{
    struct model base, tuned;
    struct err e;
    const struct kernels *k;
    double *difference[MODULES];
    struct adapter a;
    struct extract_report report;
    model_make(&base, NULL);
    double least = 0, all = 0;
    for (int i = 0; i < SPECTRUM; i++) {
        all += value(i) * value(i);
        least += i < R ? 0 : value(i) * value(i);
    }
    for (int i = 0; i < MODULES; i++) {
        size_t rows = base.layer.w[i].rows, cols = base.layer.w[i].cols;
        difference[i] = mem_alloc(rows * cols, sizeof(double), &e);
        assert_non_null(difference[i]);
        for (int j = 0; j < SPECTRUM; j++) difference[i][(size_t)j * cols + (size_t)j] = value(j);
        for (uint32_t n = 0; n < 3; n++) {
            reflect(difference[i], rows, cols, true, 100 + n);
            reflect(difference[i], rows, cols, false, 200 + n);
        }
    }
    model_make(&tuned, (const double *const *)difference);
    if (setup_kernels(&k, COMPUTE_F32, &e)) fail_msg("%s", e.msg);
    size_t matrices = 0;
    const struct stop stop = { is_third, &matrices };
    const struct watch watch = { &stop, count_matrices, &matrices };
    assert_int_equal(extract_adapter(&a, &report, &tuned.m, &base.m, R, k, &watch, &e),
                     ERR_STOPPED);
    assert_int_equal(matrices, 3);
    if (extract_adapter(&a, &report, &tuned.m, &base.m, R, k, NULL, &e)) fail_msg("%s", e.msg);
    assert_int_equal(report.changed, MODULES);
    assert_true(report.elsewhere == 0);
    assert_true(fabs(report.kept - (1 - least / all)) < allowed);
    for (int i = 0; i < MODULES; i++) {
        enum module m = (enum module)i;
        size_t rows = base.layer.w[i].rows, cols = base.layer.w[i].cols;
        const real *A = adapter_a(&a, a.params, 0, m), *B = adapter_b(&a, a.params, 0, m);
        double error = 0;
        for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < cols; x++) {
                double v = difference[i][y * cols + x];
                for (size_t q = 0; q < R; q++)
                    v -= a.scale * (double)B[y * R + q] * (double)A[q * cols + x];
                error += v * v;
            }
        assert_true(error <= least * (1 + allowed) + 1e-9 * all);
        mem_free(difference[i]);
    }
    adapter_free(&a);
    model_free(&base);
    model_free(&tuned);
}

static double fast(int i)
{
    return pow(0.5, i);
}
static double slow(int i)
{
    return 1.0 / (1 + i);
}
static double low_rank(int i)
{
    return i < 4 ? 1.0 + i : 0;
}

/* Weights are float32: differences are off by their rounding, 1e-7 of the weights' size. */
static void extraction_is_nearly_the_best(void **state)
{
    (void)state;
    extract_known(fast, 1e-3);
    extract_known(slow, 1e-2);
    extract_known(low_rank, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(gguf_rows_of_q_and_k_are_pairs, "convert: rows of q and k are interleaved in a GGUF"),
        ENTRY(alpha_zero_is_a_scale_of_one, "convert: a GGUF adapter's alpha of 0 is a scale of 1"),
        ENTRY(extraction_is_nearly_the_best,
              "convert: an extracted adapter is nearly the best of its rank"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
