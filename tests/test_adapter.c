/* Adapters in memory (src/model/adapter.h) and merged into weights (src/convert): their effect
 * s B A against the same computed from a PEFT directory's tensors and rules by the definition. */
#include "tests/golden_util.h"

#include <ftw.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/convert/adapter_files.h"
#include "src/convert/merge.h"
#include "src/convert/weights.h"
#include "src/formats/peft.h"

static char test_dir[256];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}
static int make_test_dir(void **state)
{
    (void)state;
    snprintf(test_dir, sizeof test_dir, "/tmp/lorac-adapter-XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}
static int remove_test_dir(void **state)
{
    (void)state;
    return nftw(test_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A directory below test_dir that is there. */
static const char *make_dir(const char *name)
{
    static char paths[8][PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    struct err e;
    OK(path_join(path, test_dir, name, &e), e);
    OK(dir_make(path, 0755, &e), e);
    return path;
}

static float value(uint32_t stream, uint64_t i)
{
    return (float)(0.2 * (rng_unit(21, RNG_TEST, stream, i) - 0.5));
}

/* Load it without the base's weights and drop the notes. */
static int load(struct adapter *a, const struct dims *s, const char *dir, double weight,
                struct err *e)
{
    struct adapter_base base = { .dims = s };
    int code = adapter_load(a, &base, dir, e);
    return code ? code : adapter_weigh(a, weight, dir, e);
}

/* ---- PEFT directories ------------------------------------------------------------------------ */

/* Write a PEFT directory whose parts hold value(stream, ...); the ranks are those of the rules. */
static void write_adapter(const char *dir, const struct dims *s, const struct peft_config *c,
                          uint32_t stream)
{
    struct peft_output out[64];
    char paths[32][64];
    size_t n = 0;
    struct err e;
    for (size_t l = 0; l < s->layers; l++)
        for (int m = 0; m < MODULES; m++) {
            char *path = paths[n / 2];
            size_t r;
            double alpha;
            snprintf(path, sizeof paths[0], "model.layers.%zu.%s", l, module_table[m].path);
            bool is;
            OK(peft_targets(&is, c, path, &e), e);
            if (!is) continue;
            OK(peft_r_alpha(&r, &alpha, c, path, &e), e);
            size_t rows = module_rows(s, (enum module)m), cols = module_cols(s, (enum module)m);
            out[n++] = (struct peft_output){ path, PEFT_A, r, cols, NULL };
            out[n++] = (struct peft_output){ path, PEFT_B, rows, r, NULL };
        }
    for (size_t i = 0; i < n; i++) {
        float *data = calloc(out[i].rows * out[i].cols, sizeof *data);
        for (size_t j = 0; j < out[i].rows * out[i].cols; j++)
            data[j] = value(stream, 100000 * i + j);
        out[i].data = data;
    }
    OK(peft_write(dir, c, out, n, &e), e);
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)out[i].data);
}

/* delta (rows, cols) += weight * s B A of one module, from the directory and its rules */
static void add_effect(double *delta, struct peft *p, const struct dims *s, size_t l, enum module m,
                       double weight)
{
    char path[64];
    size_t r, rows = module_rows(s, m), cols = module_cols(s, m);
    double alpha;
    const struct tensor *a, *b;
    struct err e;
    snprintf(path, sizeof path, "model.layers.%zu.%s", l, module_table[m].path);
    bool is;
    OK(peft_targets(&is, &p->config, path, &e), e);
    if (!is) return;
    OK(peft_r_alpha(&r, &alpha, &p->config, path, &e), e);
    OK(peft_tensor(&a, p, path, PEFT_A, r, cols, &e), e);
    OK(peft_tensor(&b, p, path, PEFT_B, rows, r, &e), e);
    double scale = weight * (p->config.use_rslora ? alpha / sqrt((double)r) : alpha / (double)r);
    const float *A = (const float *)(const void *)a->data,
                *B = (const float *)(const void *)b->data;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < r; k++)
            for (size_t j = 0; j < cols; j++)
                delta[i * cols + j] += scale * (double)B[i * r + k] * (double)A[k * cols + j];
}

/* delta = s B A of one module of an adapter in memory */
static void effect_of(double *delta, const struct adapter *a, size_t l, enum module m)
{
    size_t rows = module_rows(&a->dims, m), cols = module_cols(&a->dims, m);
    memset(delta, 0, rows * cols * sizeof *delta);
    if (!adapter_has(a, m)) return;
    const real *A = adapter_a(a, a->params, l, m), *B = adapter_b(a, a->params, l, m);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < a->r; k++)
            for (size_t j = 0; j < cols; j++)
                delta[i * cols + j] += a->scale * (double)B[i * a->r + k] * (double)A[k * cols + j];
}

struct part {
    const char *dir;
    double weight;
};

static void check_effect(const char *what, const struct adapter *a, const struct part *parts,
                         size_t n)
{
    const struct dims *s = &a->dims;
    size_t largest = s->F * s->C + s->H * s->D * s->C;
    double *want = calloc(largest, sizeof *want), *found = calloc(largest, sizeof *found);
    bool any = false;
    for (size_t l = 0; l < s->layers; l++)
        for (int m = 0; m < MODULES; m++) {
            size_t size = module_rows(s, (enum module)m) * module_cols(s, (enum module)m);
            memset(want, 0, size * sizeof *want);
            for (size_t i = 0; i < n; i++) {
                struct peft p;
                struct err e;
                OK(peft_open(&p, parts[i].dir, &e), e);
                add_effect(want, &p, s, l, (enum module)m, parts[i].weight);
                peft_close(&p);
            }
            effect_of(found, a, l, (enum module)m);
            double off = 0, most = 0;
            for (size_t i = 0; i < size; i++) {
                off = fmax(off, fabs(found[i] - want[i]));
                most = fmax(most, fabs(want[i]));
            }
            any |= most > 0;
            if (off > 1e-6 * most) /* B was scaled in float32: 6e-8 of each product */
                fail_msg("%s: layer %zu %s: off by %.2e of %.2e", what, l, module_table[m].name,
                         off, most);
        }
    assert_true(any);
    free(want);
    free(found);
}

static struct peft_pattern rank_rules[] = { { .key = "layers.1.self_attn.q_proj", .value = 5 },
                                            { .key = "(gate|up)_proj", .value = 2 } };
static struct peft_pattern alpha_rules[] = { { .key = "v_proj", .value = 1.5 },
                                             { .key = "up_proj", .value = 40 } };
static const char *some[] = { "q_proj", "v_proj", "up_proj", "gate_proj" };

static const struct {
    const char *what;
    struct peft_config config;
} kinds[] = {
    { "plain", { .r = 3, .lora_alpha = 7, .target_modules = some, .n_targets = 4 } },
    { "rank_pattern",
      { .r = 3,
        .lora_alpha = 7,
        .target_modules = some,
        .n_targets = 4,
        .rank_pattern = rank_rules,
        .n_rank = 2 } },
    { "alpha_pattern",
      { .r = 3,
        .lora_alpha = 7,
        .target_modules = some,
        .n_targets = 4,
        .n_alpha = 2,
        .alpha_pattern = alpha_rules } },
    { "both, rsLoRA",
      { .r = 3,
        .lora_alpha = 7,
        .target_modules = some,
        .n_targets = 4,
        .n_alpha = 2,
        .n_rank = 2,
        .rank_pattern = rank_rules,
        .alpha_pattern = alpha_rules,
        .use_rslora = true } },
    { "all-linear, rsLoRA", { .r = 4, .lora_alpha = 2, .all_linear = true, .use_rslora = true } },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* A copy that can be compiled: peft_targets() and peft_rank_alpha() need read rules. */
static void write_rules(const char *dir, const struct dims *s, const struct peft_config *c,
                        uint32_t stream)
{
    struct peft_config rules;
    struct err e;
    struct peft_output none = { 0 };
    OK(peft_write(dir, c, &none, 0, &e), e);
    OK(peft_config_read(&rules, dir, &e), e);
    write_adapter(dir, s, &rules, stream);
    peft_config_free(&rules);
}

static void write_kind(const char *dir, const struct dims *s, size_t kind, uint32_t stream)
{
    write_rules(dir, s, &kinds[kind].config, stream);
}

static void test_load(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, "gqa-tied");
    for (size_t i = 0; i < KINDS; i++) {
        struct adapter a;
        struct err e;
        const char *dir = make_dir("one");
        write_kind(dir, &g.model.dims, i, 1);
        for (int weighted = 0; weighted < 2; weighted++) {
            struct part part = { dir, weighted ? -0.3 : 1 };
            OK(load(&a, &g.model.dims, dir, part.weight, &e), e);
            check_effect(kinds[i].what, &a, &part, 1);
            adapter_free(&a);
        }
    }
    golden_close(&g);
}

static void test_combine(void **state)
{
    (void)state;
    struct golden g;
    struct adapter parts[3], sum;
    struct part from[3];
    struct err e;
    golden_open(&g, "gqa-tied");
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "part%zu", i);
        from[i] = (struct part){ make_dir(name), i ? 0.5 * (double)i : 2 };
        write_kind(from[i].dir, &g.model.dims, 2 * i, (uint32_t)i);
        OK(load(&parts[i], &g.model.dims, from[i].dir, from[i].weight, &e), e);
    }
    OK(adapter_combine(&sum, parts, 3, &e), e);
    assert_int_equal(sum.r, parts[0].r + parts[1].r + parts[2].r);
    check_effect("a sum", &sum, from, 3);
    for (size_t i = 0; i < 3; i++) adapter_free(&parts[i]);
    adapter_free(&sum);
    golden_close(&g);
}

/* What is loaded and saved again is the same file. */
static void test_round_trip(void **state)
{
    (void)state;
    struct golden g;
    struct err e;
    golden_open(&g, "gqa-tied");
    for (size_t i = 0; i < KINDS; i += KINDS - 1) {
        struct adapter a, b;
        const char *from = make_dir("from"), *to = make_dir("to");
        write_kind(from, &g.model.dims, i, 5);
        OK(load(&a, &g.model.dims, from, 1, &e), e);
        OK(adapter_save(&a, to, "base", 0.25, &e), e);
        OK(load(&b, &g.model.dims, to, 1, &e), e);
        assert_true(a.scale == b.scale && a.r == b.r && a.modules == b.modules);
        assert_memory_equal(a.params, b.params, a.n_params * sizeof *a.params);
        struct safetensors x, y; /* nothing was folded: the bits are the same */
        char path[PATH_BYTES];
        OK(path_join(path, from, "adapter_model.safetensors", &e), e);
        OK(safetensors_open(&x, path, &e), e);
        OK(path_join(path, to, "adapter_model.safetensors", &e), e);
        OK(safetensors_open(&y, path, &e), e);
        assert_int_equal(x.map.size, y.map.size);
        assert_memory_equal(x.map.data, y.map.data, x.map.size);
        safetensors_close(&x);
        safetensors_close(&y);
        adapter_free(&a);
        adapter_free(&b);
    }
    golden_close(&g);
}

static void test_refused(void **state)
{
    (void)state;
    struct golden g, other;
    struct adapter a;
    struct err e;
    golden_open(&g, "gqa-tied");
    golden_open(&other, "mha-untied");
    const char *dir = make_dir("refused");
    write_kind(dir, &g.model.dims, 0, 1);
    assert_int_equal(load(&a, &other.model.dims, dir, 1, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "shape"));
    assert_null(a.params);
    assert_int_equal(load(&a, &g.model.dims, test_dir, 1, &e), ERR_FAIL);
    struct dims fewer = g.model.dims;
    fewer.layers--;
    assert_int_equal(load(&a, &fewer, dir, 1, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "another base"));
    fewer.layers += 2; /* as in PEFT, a layer without tensors stays as it is */
    struct str notes = { 0 };
    struct adapter_base base = { .dims = &fewer, .notes = &notes };
    OK(adapter_load(&a, &base, dir, &e), e);
    assert_non_null(notes.p);
    assert_non_null(strstr(notes.p, "has no tensors for 4 modules that target_modules names"));
    str_free(&notes);
    adapter_free(&a);
    struct peft_config c = kinds[0].config;
    c.lora_alpha = -1;
    write_adapter(dir, &g.model.dims, &c, 1);
    assert_int_equal(load(&a, &g.model.dims, dir, 1, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "lora_alpha"));
    golden_close(&g);
    golden_close(&other);
}

/* Write a PEFT directory again with one more tensor, a copy of the base's weight `module` in
 * `type`, whose value number `changed` differs (SIZE_MAX: none), and with `rows` rows. */
static void add_copy(const char *dir, const char *name, const struct matrix *w,
                     enum storage_type type, size_t changed, size_t rows)
{
    struct safetensors st;
    struct st_writer out;
    struct err e;
    char path[PATH_BYTES];
    OK(path_join(path, dir, "adapter_model.safetensors", &e), e);
    OK(safetensors_open(&st, path, &e), e);
    struct st_entry *entries = calloc(st.n + 1, sizeof *entries);
    float *wide = calloc(rows * w->cols, sizeof *wide);
    uint8_t *bytes = calloc(rows * w->cols, sizeof *wide);
    for (size_t i = 0; i < rows * w->cols; i++) {
        real x = 0;
        real *row = calloc(w->cols, sizeof *row);
        if (i / w->cols < w->rows) {
            golden_kernels()->widen(row, w, i / w->cols, 0, w->cols);
            x = row[i % w->cols];
        }
        wide[i] = i == changed ? 7 : (float)x;
        free(row);
    }
    storage_narrow(bytes, type, wide, rows * w->cols);
    for (size_t i = 0; i < st.n; i++) {
        const struct tensor *t = &st.tensors[i];
        entries[i] = (struct st_entry){ t->name, t->type, t->rank, { t->dims[0], t->dims[1] } };
    }
    entries[st.n] = (struct st_entry){ name, type, 2, { rows, w->cols } };
    if (w->rows == 1) entries[st.n] = (struct st_entry){ name, type, 1, { w->cols } };
    OK(st_writer_begin(&out, path, entries, st.n + 1, 0666, &e), e);
    for (size_t i = 0; i < st.n; i++)
        OK(st_writer_add(&out, st.tensors[i].data, st.tensors[i].bytes, &e), e);
    OK(st_writer_add(&out, bytes, storage_bytes(type, rows * w->cols), &e), e);
    OK(st_writer_commit(&out, &e), e);
    safetensors_close(&st);
    free(entries);
    free(wide);
    free(bytes);
}

/* A copy of a base's weight that was not trained is dropped, with a note; one that was trained is
 * refused. */
static void copies_are_dropped_when_unchanged(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, "mha-untied");
    const struct llama *m = &g.model;
    const struct {
        const char *name;
        const struct matrix *w;
        enum storage_type type;
        size_t changed, rows;
        const char *want; /* in the error; NULL: dropped */
    } rows[] = {
        { "base_model.model.lm_head.weight", &m->head, STORAGE_F32, SIZE_MAX, m->dims.V, NULL },
        { "base_model.model.lm_head.weight", &m->head, STORAGE_BF16, SIZE_MAX, m->dims.V, NULL },
        { "base_model.model.model.embed_tokens.weight", &m->embedding, STORAGE_F16, SIZE_MAX,
          m->dims.V, NULL },
        { "base_model.model.model.embed_tokens.base_layer.weight", &m->embedding, STORAGE_F32,
          SIZE_MAX, m->dims.V, NULL },
        { "base_model.model.model.layers.1.mlp.up_proj.base_layer.weight", &m->layer[1].w[UP_PROJ],
          STORAGE_F32, SIZE_MAX, m->layer[1].w[UP_PROJ].rows, NULL },
        { "base_model.model.model.embed_tokens.weight", &m->embedding, STORAGE_F32, 40, m->dims.V,
          "is not the base's own weight (row" },
        { "base_model.model.lm_head.weight", &m->embedding, STORAGE_F32, SIZE_MAX, m->dims.V,
          "is not the base's own weight" },
        { "base_model.model.model.embed_tokens.weight", &m->embedding, STORAGE_F32, SIZE_MAX,
          m->dims.V + 1, "its vocabulary was resized" },
        { "base_model.model.score.weight", &m->head, STORAGE_F32, SIZE_MAX, m->dims.V,
          "does not belong" },
        { "base_model.model.model.layers.9.mlp.up_proj.weight", &m->layer[1].w[UP_PROJ],
          STORAGE_F32, SIZE_MAX, m->layer[1].w[UP_PROJ].rows, "does not belong" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct adapter a;
        struct err e;
        struct str notes = { 0 };
        struct adapter_base base = { &m->dims, m, &notes };
        char name[32];
        snprintf(name, sizeof name, "copy%zu", i);
        const char *dir = make_dir(name);
        write_kind(dir, &m->dims, 0, 1);
        add_copy(dir, rows[i].name, rows[i].w, rows[i].type, rows[i].changed, rows[i].rows);
        int code = adapter_load(&a, &base, dir, &e);
        if (rows[i].want) {
            if (!code) fail_msg("%s: not refused", rows[i].name);
            if (!strstr(e.msg, rows[i].want)) fail_msg("row %zu: %s", i, e.msg);
        } else {
            OK(code, e);
            if (!notes.n || !strstr(notes.p, "is an unchanged copy"))
                fail_msg("row %zu: no note", i);
            adapter_free(&a);
            base.model = NULL; /* dimensions alone do not show it */
            assert_int_equal(adapter_load(&a, &base, dir, &e), ERR_FAIL);
            assert_non_null(strstr(e.msg, "name the whole base with --model"));
        }
        str_free(&notes);
    }
    golden_close(&g);
}

/* The same for copies of norms, and of the head of a model that has no head of its own. */
static void copies_of_norms_and_of_a_tied_head_are_found(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, "gqa-tied");
    const struct llama *m = &g.model;
    struct matrix norm = { .data = (const uint8_t *)m->norm, .rows = 1, .cols = m->dims.C };
    struct matrix norm2 = norm;
    norm2.data = (const uint8_t *)m->layer[1].norm2;
    const struct {
        const char *name;
        const struct matrix *w;
        size_t changed;
    } rows[] = {
        { "base_model.model.lm_head.weight", &m->embedding, SIZE_MAX },
        { "base_model.model.lm_head.weight", &m->embedding, 40 },
        { "base_model.model.model.norm.weight", &norm, SIZE_MAX },
        { "base_model.model.model.layers.1.post_attention_layernorm.weight", &norm2, SIZE_MAX },
        { "base_model.model.model.layers.1.post_attention_layernorm.weight", &norm2, 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct adapter a;
        struct err e;
        struct str notes = { 0 };
        struct adapter_base base = { &m->dims, m, &notes };
        char name[32];
        snprintf(name, sizeof name, "found%zu", i);
        const char *dir = make_dir(name);
        write_kind(dir, &m->dims, 0, 1);
        add_copy(dir, rows[i].name, rows[i].w, STORAGE_F32, rows[i].changed, rows[i].w->rows);
        int code = adapter_load(&a, &base, dir, &e);
        if (rows[i].changed == SIZE_MAX) {
            OK(code, e);
            assert_non_null(strstr(notes.p, "is an unchanged copy"));
            adapter_free(&a);
        } else {
            assert_int_equal(code, ERR_FAIL);
            assert_non_null(strstr(e.msg, "is not the base's own weight (row "));
        }
        str_free(&notes);
    }
    golden_close(&g);
}

/* An adapter has the same digest in each form, and another adapter has another digest. */
static void a_digest_names_an_adapter(void **state)
{
    (void)state;
    struct golden g;
    struct adapter a;
    struct err e;
    char first[SHA256_HEX], again[SHA256_HEX];
    golden_open(&g, "gqa-tied");
    for (size_t kind = 0; kind < KINDS; kind++) {
        const char *dir = make_dir("digest");
        write_kind(dir, &g.model.dims, kind, 1);
        OK(load(&a, &g.model.dims, dir, 1, &e), e);
        OK(adapter_digest(first, &a, &e), e);
        a.params[a.n_params - 1] += (real)0.25;
        OK(adapter_digest(again, &a, &e), e);
        assert_string_not_equal(first, again);
        a.params[a.n_params - 1] -= (real)0.25;
        a.scale *= 2;
        OK(adapter_digest(again, &a, &e), e);
        assert_string_not_equal(first, again);
        adapter_free(&a);
    }
    golden_close(&g);
}

/* An adapter that holds a NaN is neither saved nor loaded. */
static void test_not_finite(void **state)
{
    (void)state;
    struct golden g;
    struct adapter a;
    struct err e;
    golden_open(&g, "gqa-tied");
    const char *dir = make_dir("nan");
    write_kind(dir, &g.model.dims, 0, 1);
    OK(load(&a, &g.model.dims, dir, 1, &e), e);
    a.params[17] = NAN;
    assert_int_equal(adapter_save(&a, make_dir("nan2"), NULL, 0, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "NaN or infinity"));
    adapter_free(&a);
    struct peft_pattern huge = { .key = "v_proj", .value = 1e48 };
    struct peft_config c = kinds[0].config;
    c.alpha_pattern = &huge;
    c.n_alpha = 1;
    write_rules(dir, &g.model.dims, &c, 1);
    assert_int_equal(load(&a, &g.model.dims, dir, 1, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "NaN or infinity"));
    golden_close(&g);
}

static void test_init(void **state)
{
    (void)state;
    struct golden g;
    struct adapter a, b;
    struct err e;
    unsigned all = (1u << MODULES) - 1;
    golden_open(&g, "gqa-tied");
    adapter_layout(&a, &g.model.dims, 8, 16, all);
    adapter_layout(&b, &g.model.dims, 8, 16, 1u << DOWN_PROJ | 1u << Q_PROJ);
    OK(adapter_place(&a, &e), e);
    OK(adapter_place(&b, &e), e);
    adapter_init(&a, 7);
    adapter_init(&b, 7);
    assert_true(a.scale == 2);
    for (size_t l = 0; l < a.dims.layers; l++)
        for (int m = 0; m < MODULES; m++) {
            size_t cols = module_cols(&a.dims, (enum module)m);
            size_t rows = module_rows(&a.dims, (enum module)m);
            const real *A = adapter_a(&a, a.params, l, (enum module)m);
            const real *B = adapter_b(&a, a.params, l, (enum module)m);
            double bound = 1 / sqrt((double)cols), squares = 0;
            for (size_t i = 0; i < 8 * cols; i++) {
                assert_true(fabs((double)A[i]) <= bound);
                squares += (double)A[i] * (double)A[i];
            }
            /* uniform: the variance is bound^2 / 3 */
            double variance = squares / (8 * (double)cols) / (bound * bound / 3);
            if (variance < 0.7 || variance > 1.3) fail_msg("variance %g", variance);
            for (size_t i = 0; i < 8 * rows; i++) assert_true(B[i] == 0);
            /* a number depends on the seed and its place, not on the other modules */
            if (adapter_has(&b, (enum module)m))
                assert_memory_equal(A, adapter_a(&b, b.params, l, (enum module)m),
                                    8 * cols * sizeof *A);
        }
    assert_memory_not_equal(adapter_a(&a, a.params, 0, Q_PROJ), adapter_a(&a, a.params, 1, Q_PROJ),
                            64);
    assert_memory_not_equal(adapter_a(&a, a.params, 0, Q_PROJ), adapter_a(&a, a.params, 0, K_PROJ),
                            64);
    adapter_free(&a);
    adapter_free(&b);
    golden_close(&g);
}

/* ---- merging --------------------------------------------------------------------------------- */

struct bytes {
    uint8_t *at;
    size_t n;
};

static int collect(void *to, const void *bytes, size_t n, struct err *e)
{
    struct bytes *b = to;
    (void)e;
    memcpy(b->at + b->n, bytes, n);
    b->n += n;
    return 0;
}

static double stored(const uint8_t *bytes, enum storage_type t, size_t i)
{
    uint16_t h;
    float f;
    if (t == STORAGE_F32) {
        memcpy(&f, bytes + 4 * i, 4);
        return (double)f;
    }
    memcpy(&h, bytes + 2 * i, 2);
    if (t == STORAGE_BF16) {
        uint32_t wide = (uint32_t)h << 16;
        memcpy(&f, &wide, 4);
        return (double)f;
    }
    int exponent = h >> 10 & 31;
    double mantissa = h & 1023;
    double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h >> 15 ? -v : v;
}

/* Half the distance of the neighbours of x among the numbers of that type. */
static double half_unit(double x, enum storage_type t)
{
    int bits = t == STORAGE_F32 ? 24 : t == STORAGE_F16 ? 11 : 8, exponent;
    frexp(x, &exponent);
    if (t == STORAGE_F16 && exponent < -13) exponent = -13;
    return ldexp(0.5, exponent - bits);
}

/* Every value of tensor i is a number of the type next to W + s B A: within half a unit of its last
 * place, and what the sum's own float32 rounding may add. The caller says which of the
 * matrix's rows is written where. */
static void check_weight(struct weights *w, size_t i, const double *delta)
{
    const struct weight *t = &w->at[i];
    struct err e;
    struct bytes out = { calloc(1, weight_bytes(t)), 0 };
    real *row = calloc(t->cols, sizeof *row);
    double most = 0;
    for (size_t j = 0; delta && j < t->rows * t->cols; j++) most = fmax(most, fabs(delta[j]));
    OK(weights_write(w, i, collect, &out, &e), e);
    assert_int_equal(out.n, weight_bytes(t));
    size_t hd = w->model->dims.D;
    for (size_t r = 0; r < t->rows; r++) {
        size_t in_head = r % hd, from = r;
        if (t->meta_rows) from = r - in_head + in_head / 2 + (in_head % 2) * (hd / 2);
        if (t->matrix) w->k->widen(row, t->matrix, from, 0, t->cols);
        if (t->vector) memcpy(row, t->vector, t->cols * sizeof *row);
        for (size_t c = 0; c < t->cols; c++) {
            double want = (double)row[c] + (delta ? delta[from * t->cols + c] : 0);
            double found = stored(out.at, t->type, r * t->cols + c);
            double slack = half_unit(want, t->type) + 3e-7 * most;
            if (fabs(found - want) > slack)
                fail_msg("%s[%zu, %zu]: %.9g, wanted %.9g within %.1e", t->name, r, c, found, want,
                         slack);
        }
    }
    free(row);
    free(out.at);
}

static void check_merged(struct golden *g, const struct adapter *a, enum weight_names names,
                         enum storage_type type)
{
    struct weights w;
    struct err e;
    const struct dims *s = &g->model.dims;
    double *delta = calloc(s->F * s->C + s->H * s->D * s->C, sizeof *delta);
    OK(weights_init(&w, &g->model, a, golden_kernels(), names, type, &e), e);
    assert_int_equal(w.n, s->layers * (MODULES + 2) + 2 + !s->tied);
    size_t changed = 0;
    for (size_t i = 0; i < w.n; i++) {
        const struct weight *t = &w.at[i];
        bool touched = a && t->module >= 0 && adapter_has(a, (enum module)t->module);
        if (touched) effect_of(delta, a, t->layer, (enum module)t->module);
        bool gguf_norm = names == WEIGHT_NAMES_GGUF && t->vector;
        assert_int_equal(t->type, gguf_norm ? STORAGE_F32 : type);
        check_weight(&w, i, touched ? delta : NULL);
        changed += touched;
    }
    assert_true(!a || changed >= s->layers);
    weights_free(&w);
    free(delta);
}

static void test_merged_values(void **state)
{
    (void)state;
    static const char *const names[] = { "gqa-tied", "mha-untied", "llama3-rope", "linear-rope" };
    for (size_t i = 0; i < 4; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        for (int type = STORAGE_F32; type <= STORAGE_BF16; type++) {
            check_merged(&g, &g.adapter, WEIGHT_NAMES_HF, (enum storage_type)type);
            check_merged(&g, &g.adapter, WEIGHT_NAMES_GGUF, (enum storage_type)type);
            check_merged(&g, NULL, WEIGHT_NAMES_HF, (enum storage_type)type);
        }
        golden_close(&g);
    }
}

/* Rounding happens once and to nearest: with an adapter of zeros the merged weights are those of
 * the base rounded. A value too large for f16, or not finite, is an error that names the tensor. */
static void test_merge_refuses(void **state)
{
    (void)state;
    struct golden g;
    struct weights w;
    struct err e;
    golden_open(&g, "gqa-tied");
    real *B = adapter_b(&g.adapter, g.adapter.params, 1, V_PROJ);
    uint8_t *room = calloc(1, 1 << 20);
    for (int k = 0; k < 2; k++) {
        B[3] = k ? (real)INFINITY : (real)1e7;
        OK(weights_init(&w, &g.model, &g.adapter, golden_kernels(), WEIGHT_NAMES_HF, STORAGE_F16,
                        &e),
           e);
        int code = 0;
        for (size_t i = 0; i < w.n && !code; i++) {
            struct bytes out = { room, 0 };
            code = weights_write(&w, i, collect, &out, &e);
        }
        assert_int_equal(code, ERR_FAIL);
        assert_non_null(strstr(e.msg, "tensor model.layers.1.self_attn.v_proj.weight: "));
        assert_non_null(strstr(e.msg, k ? "not finite" : "does not fit f16; bf16 would hold it"));
        weights_free(&w);
    }
    free(room);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_load,
              "adapter: one that is read has the effect s B A, of its rank, alpha and patterns"),
        ENTRY(test_combine, "adapter: several together have the sum of their effects"),
        ENTRY(test_round_trip, "adapter: what is loaded and saved again is the same file"),
        ENTRY(test_refused, "adapter: one for another base, or with a wrong alpha, is refused"),
        ENTRY(copies_are_dropped_when_unchanged,
              "adapter: an unchanged copy of a base's weight is dropped, a changed one refused"),
        ENTRY(copies_of_norms_and_of_a_tied_head_are_found,
              "adapter: copies of norms and of a tied head are found"),
        ENTRY(a_digest_names_an_adapter,
              "adapter: the digest is one for all its forms, and another for another adapter"),
        ENTRY(test_not_finite, "adapter: one that holds NaN is neither saved nor loaded"),
        ENTRY(test_init,
              "adapter: B begins as zeros, A as numbers that depend on seed and module alone"),
        ENTRY(test_merged_values, "merge: every weight is base plus adapter, rounded once"),
        ENTRY(test_merge_refuses,
              "merge: a value that its type cannot hold is refused by the tensor's name"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
