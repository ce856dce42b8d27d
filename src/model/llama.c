#include "src/model/llama.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/formats/shards.h"

struct llama_files {
    struct gguf gguf;
    struct shards shards;
    bool is_gguf, headers_only;
    real *vectors;  /* of all weights that are vectors, one after the other */
    uint8_t *bound; /* per tensor of the file: a weight was bound to it */
};

enum { VALUE_LEAST = 2 }; /* bytes of a number of a vector in a file, at least */
/* Models up to this size are looked through for NaN and infinity when they are opened. Of larger
 * ones only the vectors are, as reading all would take longer than everything else before the first
 * step (`lorac inspect --verify` reads all, and a loss that is not finite stops a run). */
#define FINITE_MOST ((size_t)4 << 30)

/* ---- binding --------------------------------------------------------------------------------- */

struct binder {
    struct llama *m;
    struct llama_files *f;
    const char *path;
    real *next; /* room for the next vector */
    struct err *e;
    int code;
};

static size_t count_tensors(const struct llama_files *f)
{
    return f->is_gguf ? f->gguf.n_tensors : f->shards.n_tensors;
}

static const struct tensor *nth_tensor(const struct llama_files *f, size_t i)
{
    return f->is_gguf ? &f->gguf.tensors[i] : f->shards.tensors[i];
}

static size_t total_bytes(const struct llama_files *f)
{
    size_t bytes = f->is_gguf ? f->gguf.map.size : 0;
    for (size_t i = 0; i < f->shards.n_files; i++) bytes += f->shards.files[i].map.size;
    return bytes;
}

static const struct tensor *find(struct binder *b, const char *name)
{
    struct llama_files *f = b->f;
    const struct tensor *t = f->is_gguf ? gguf_find(&f->gguf, name) : shards_find(&f->shards, name);
    if (!t) return NULL;
    b->m->weight_bytes += t->bytes;
    for (size_t i = 0; i < count_tensors(f); i++)
        if (nth_tensor(f, i) == t) f->bound[i] = 1;
    return t;
}

/* The file that a tensor lies in, for messages. */
static const char *file_of(const struct binder *b, const struct tensor *t)
{
    return b->f->is_gguf ? b->path : shards_path_of(&b->f->shards, t);
}

/* "F32, F16 and BF16": what a container of ours may hold. */
static void add_readable_types(struct str *out, bool gguf)
{
    size_t left = 0;
    for (int t = 0; t < STORAGES; t++)
        left += gguf || storage_of((enum storage_type)t)->safetensors;
    for (int t = 0; t < STORAGES; t++) {
        const struct storage *row = storage_of((enum storage_type)t);
        if (!gguf && !row->safetensors) continue;
        left--;
        str_addf(out, "%s%s", row->label, left > 1 ? ", " : left == 1 ? " and " : "");
    }
}

/* The tensor of that name with exactly these dimensions (rank 1 when cols is 0), or the error. */
static const struct tensor *want(struct binder *b, const char *name, size_t rows, size_t cols)
{
    if (b->code) return NULL;
    const struct tensor *t = find(b, name);
    unsigned rank = cols ? 2 : 1;
    if (!t) {
        b->code = err_set(b->e, "%s: tensor %s is missing", b->path, name);
    } else if (t->rank != rank || t->dims[0] != rows || (cols && t->dims[1] != cols)) {
        struct str found = { 0 };
        for (unsigned i = 0; i < t->rank; i++)
            str_addf(&found, "%s%llu", i ? ", " : "", (unsigned long long)t->dims[i]);
        b->code = err_set(b->e, "%s: tensor %s: shape is [%s], wanted [%zu%s%.0zu]", file_of(b, t),
                          name, found.p ? found.p : "", rows, cols ? ", " : "", cols);
        str_free(&found);
    } else if (t->type == STORAGE_OTHER) {
        struct str readable = { 0 };
        add_readable_types(&readable, b->f->is_gguf);
        b->code = err_set(b->e, "%s: tensor %s: type %s is not supported; %s are", file_of(b, t),
                          name, t->type_name, readable.p ? readable.p : "others");
        str_free(&readable);
    }
    return b->code ? NULL : t;
}

static void check_finite(struct binder *b, const struct tensor *t)
{
    size_t n = t->dims[0] * (t->rank == 2 ? t->dims[1] : 1);
    if (b->code || storage_finite(t->data, t->type, n)) return;
    b->code = err_set(b->e, "%s: tensor %s: holds NaN or infinity", file_of(b, t), t->name);
}

static void bind_matrix(struct binder *b, const struct tensor_walk *at, const char *name)
{
    const struct tensor *t = want(b, name, at->rows, at->cols);
    if (!t) return;
    if (!b->f->headers_only && total_bytes(b->f) <= FINITE_MOST) check_finite(b, t);
    bool turned = at->turned && b->f->is_gguf;
    *(struct matrix *)tensor_slot(b->m,
                                  at) = (struct matrix){ .data = t->data,
                                                         .type = t->type,
                                                         .rows = at->rows,
                                                         .cols = at->cols,
                                                         .interleaved = turned ? b->m->dims.D : 0 };
}

/* Vectors are small and every kernel reads them, so they are widened once. */
static void bind_vector(struct binder *b, const struct tensor_walk *at, const char *name)
{
    const struct tensor *t = want(b, name, at->cols, 0);
    if (!t) return;
    if (storage_of(t->type)->blocks) {
        b->code = err_set(b->e, "%s: tensor %s: type %s, wanted F32, F16 or BF16", file_of(b, t),
                          name, t->type_name);
        return;
    }
    check_finite(b, t);
    CHECK(!(at->turned && b->f->is_gguf)); /* no family has both: no code turns a vector's rows */
    const struct kernels *k = kernels_baseline();
    struct matrix row = { .data = t->data, .type = t->type, .rows = 1, .cols = at->cols };
    k->widen(b->next, &row, 0, 0, at->cols);
    *(const real **)tensor_slot(b->m, at) = b->next;
    b->next += at->cols;
}

/* Tensors that files carry and that are not weights. */
static bool is_ignored(const char *name)
{
    const char *tail = strstr(name, ".rotary_emb.inv_freq");
    return (tail && strlen(tail) == 20) || strcmp(name, "rope_freqs.weight") == 0;
}

static void refuse_unbound(struct binder *b)
{
    for (size_t i = 0; i < count_tensors(b->f) && !b->code; i++) {
        const char *name = nth_tensor(b->f, i)->name;
        if (b->f->bound[i] || is_ignored(name)) continue;
        b->code = err_set(b->e, "%s: tensor %s is not part of a Llama of this configuration",
                          file_of(b, nth_tensor(b->f, i)), err_quotez(name));
    }
}

/* Some files repeat the embedding as the head of a tied model; another head would be ignored. */
static void check_tied_head(struct binder *b, const char *name)
{
    const struct tensor *t = b->code ? NULL : find(b, name);
    if (!t) return;
    size_t bytes = t->bytes;
    b->m->weight_bytes -= bytes;
    const struct matrix *w = &b->m->embedding;
    bool same = t->type == w->type && bytes == storage_bytes(w->type, w->rows * w->cols);
    if (same && memcmp(t->data, w->data, bytes) == 0) return;
    b->code = err_set(b->e,
                      "%s: tensor %s: differs from the embedding, although tie_word_embeddings "
                      "says that they are the same",
                      file_of(b, t), name);
}

static int bind_all(struct llama *m, struct llama_files *f, const char *path, struct err *e)
{
    struct binder b = { .m = m, .f = f, .path = path, .next = f->vectors, .e = e };
    char name[TENSOR_NAME];
    bool gguf = f->is_gguf;
    if (gguf) m->dims.tied = !gguf_find(&f->gguf, "output.weight");
    /* matrices first: a layer that is missing is reported by its largest part */
    for (struct tensor_walk w = tensor_walk(&m->dims); !b.code && tensor_next(&w);) {
        tensor_name(name, &w, gguf);
        if (w.row->kind == KIND_MATRIX) bind_matrix(&b, &w, name);
    }
    for (struct tensor_walk w = tensor_walk(&m->dims); !b.code && tensor_next(&w);) {
        tensor_name(name, &w, gguf);
        if (w.row->kind != KIND_MATRIX) bind_vector(&b, &w, name);
    }
    if (m->dims.tied) {
        m->head = m->embedding;
        if (!gguf) check_tied_head(&b, "lm_head.weight");
    }
    refuse_unbound(&b);
    return b.code;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int add_file(struct llama *m, const char *path, struct err *e)
{
    char **more = mem_resize(m->files, m->n_files + 1, sizeof *more, e);
    if (!more) return e->code;
    m->files = more;
    m->files[m->n_files] = mem_strdup(path, e);
    if (!m->files[m->n_files]) return e->code;
    m->n_files++;
    return 0;
}

static int open_directory(struct llama *m, struct llama_files *f, const char *path, struct err *e)
{
    char config[PATH_BYTES];
    int code = path_join(config, path, "config.json", e);
    if (!code && !file_exists(config)) {
        code = err_set(e, "%s: no config.json in this directory; wanted a Hugging Face model",
                       path);
    }
    if (!code) code = dims_from_config(&m->dims, config, e);
    if (!code) code = shards_open(&f->shards, path, e);
    for (size_t i = 0; !code && i < f->shards.n_files; i++)
        code = add_file(m, f->shards.paths[i], e);
    return code;
}

static int open_gguf(struct llama *m, struct llama_files *f, const char *path, struct err *e)
{
    f->is_gguf = true;
    int code = gguf_open(&f->gguf, path, e);
    if (!code) code = dims_from_gguf(&m->dims, &f->gguf, e);
    return code ? code : add_file(m, path, e);
}

/* By name, or where the name says nothing (a store of files named by their hashes) by content. */
static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    char magic[4] = "";
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0) return true;
    FILE *f = fopen(path, "rb");
    bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic &&
              memcmp(magic, "GGUF", sizeof magic) == 0;
    if (f) fclose(f);
    return is;
}

static int open_files(struct llama *m, struct llama_files *f, const char *path, struct err *e)
{
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    if (kind == PATH_DIRECTORY) return open_directory(m, f, path, e);
    if (kind == PATH_NOTHING) {
        return err_set(e, "%s: no such model; lorac reads local files only and downloads nothing",
                       path);
    }
    if (is_gguf(path)) return open_gguf(m, f, path, e);
    return err_set(e, "%s: wanted a directory with config.json, or a .gguf file", path);
}

/* Before anything is allocated on the configuration's word, its vectors must fit the files. */
static int check_room(const struct llama *m, const struct llama_files *f, const char *path,
                      struct err *e)
{
    if (tensor_vector_values(&m->dims) <= total_bytes(f) / VALUE_LEAST) return 0;
    return err_set(e,
                   "%s: found %zu layers of %zu channels configured, which is more than the files "
                   "hold",
                   path, m->dims.layers, m->dims.C);
}

static int open_model(struct llama *m, const char *path, bool headers_only, struct err *e)
{
    *m = (struct llama){ 0 };
    struct llama_files *f = mem_alloc(1, sizeof *f, e);
    if (!f) return e->code;
    m->storage = f;
    f->headers_only = headers_only;
    int code = open_files(m, f, path, e);
    if (!code) code = check_room(m, f, path, e);
    if (!code) {
        f->bound = mem_alloc(count_tensors(f), 1, e);
        f->vectors = mem_alloc(tensor_vector_values(&m->dims), sizeof(real), e);
        m->layer = mem_alloc(m->dims.layers, sizeof *m->layer, e);
        code = f->bound && f->vectors && m->layer ? bind_all(m, f, path, e) : e->code;
    }
    if (code) llama_close(m);
    return code;
}

int llama_open(struct llama *m, const char *path, struct err *e)
{
    return open_model(m, path, false, e);
}

int llama_open_headers(struct llama *m, const char *path, struct err *e)
{
    return open_model(m, path, true, e);
}

int llama_read_shape(struct dims *s, const char *path, struct err *e)
{
    char config[PATH_BYTES];
    if (dir_exists(path)) {
        int code = path_join(config, path, "config.json", e);
        return code ? code : dims_from_config(s, config, e);
    }
    struct gguf g;
    int code = gguf_open(&g, path, e);
    if (code) return code;
    code = dims_from_gguf(s, &g, e);
    gguf_close(&g);
    return code;
}

void llama_close(struct llama *m)
{
    struct llama_files *f = m->storage;
    if (f) {
        if (f->is_gguf) {
            gguf_close(&f->gguf);
        } else {
            shards_close(&f->shards);
        }
        mem_free(f->bound);
        mem_free(f->vectors);
        mem_free(f);
    }
    for (size_t i = 0; i < m->n_files; i++) mem_free(m->files[i]);
    mem_free(m->files);
    mem_free(m->layer);
    *m = (struct llama){ 0 };
}

enum storage_type llama_storage(const struct llama *m)
{
    size_t count[STORAGE_OTHER + 1] = { 0 };
    for (size_t l = 0; l < m->dims.layers; l++)
        for (int i = 0; i < MODULES; i++) count[m->layer[l].w[i].type]++;
    enum storage_type best = STORAGE_F32;
    for (int t = 0; t < STORAGE_OTHER; t++)
        if (count[t] > count[best]) best = (enum storage_type)t;
    return best;
}

const struct gguf *llama_gguf(const struct llama *m)
{
    return m->storage->is_gguf ? &m->storage->gguf : NULL;
}
