/* Generation, one token after another. Its speed is bound by reading the weights, so the measure is
 * their bytes times tokens per second, as a share of plain reading of memory in the same round. */
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/commands/bench.h"
#include "src/model/generate.h"
#include "src/model/tensors.h"

enum {
    PROMPT = 32,
    SAMPLE_TOKENS = 6,
    KEYS = PROMPT + 64, /* a sample is taken up to four times, each after a warm-up */
    PATTERN = 16384,    /* random values, repeated through a weight; whole quantised blocks */
    READ_BYTES = 512 << 20,
    ROUNDS_MAX = 99,
};
/* More than last-level caches hold; a shape with fewer bytes gets more layers. */
static const size_t weights_least = (size_t)1 << 30;

/* A model in memory. */
struct speaker {
    struct llama model;
    struct generator generator;
    char *weights;
    real *ones;
    size_t bytes; /* read for one token */
    int32_t token;
};

static size_t bytes_of(const struct tensor_walk *w, enum storage_type type)
{
    return w->row->kind == KIND_MATRIX ? w->rows * storage_bytes(type, w->cols) : 0;
}

static size_t layer_bytes(const struct dims *s, enum storage_type type)
{
    size_t bytes = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w);)
        if (w.row->scope == SCOPE_BLOCK && w.layer == 0) bytes += bytes_of(&w, type);
    return bytes;
}

/* Only one row of the embedding is read for a token. */
static size_t token_bytes(const struct dims *s, enum storage_type type)
{
    return s->layers * layer_bytes(s, type) + s->V * storage_bytes(type, s->C);
}

static void fill(char *weights, size_t bytes, enum storage_type type)
{
    float value[PATTERN];
    char stored[PATTERN * sizeof(float)];
    size_t period = storage_bytes(type, PATTERN);
    for (size_t i = 0; i < PATTERN; i++)
        value[i] = (float)(rng_unit(1, RNG_SYNTH, 3, i) - 0.5) * 0.07f;
    storage_narrow(stored, type, value, PATTERN);
#pragma omp parallel for schedule(static) /* touched by the threads that will read it */
    for (size_t i = 0; i < bytes; i += period)
        memcpy(weights + i, stored, bytes - i < period ? bytes - i : period);
}

static void speaker_close(struct speaker *s)
{
    generator_free(&s->generator);
    mem_free(s->model.layer);
    mem_free(s->weights);
    mem_free(s->ones);
    *s = (struct speaker){ 0 };
}

static int speaker_open(struct speaker *s, const struct bench *b, enum storage_type type,
                        struct err *e)
{
    *s = (struct speaker){ .model.dims = b->dims->dims };
    struct llama *m = &s->model;
    struct dims *dims = &m->dims;
    size_t layer = layer_bytes(dims, type);
    dims->layers = (weights_least + layer - 1) / layer;
    s->bytes = m->weight_bytes = token_bytes(dims, type);
    m->layer = mem_alloc(dims->layers, sizeof *m->layer, e);
    s->weights = mem_alloc(s->bytes, 1, e);
    size_t ones = tensor_vector_values(dims);
    s->ones = mem_alloc(ones, sizeof(real), e);
    if (!m->layer || !s->weights || !s->ones) return e->code;
    fill(s->weights, s->bytes, type);
    for (size_t i = 0; i < ones; i++) s->ones[i] = 1;
    dims->tied =
        true; /* one matrix serves both; untied, too, only one row of the embedding is read */
    const char *at = s->weights;
    for (struct tensor_walk w = tensor_walk(dims); tensor_next(&w);) {
        void *slot = tensor_slot(m, &w);
        if (w.row->kind == KIND_MATRIX) {
            *(struct matrix *)slot =
                (struct matrix){ .data = at, .type = type, .rows = w.rows, .cols = w.cols };
        } else {
            *(const real **)slot = s->ones;
        }
        at += bytes_of(&w, type);
    }
    m->head = m->embedding;
    return generator_init(&s->generator, m, NULL, b->k, 1, PROMPT, KEYS, e);
}

static void say_token(void *context)
{
    struct speaker *s = context;
    generator_step(&s->generator, &s->token);
    s->token = sample_token(s->generator.logits, s->model.dims.V, &(struct sampling){ 0 }, 0, 0,
                            NULL);
    if (s->token < 0) s->token = 0;
}

struct read_work {
    const struct kernels *k;
    real *x;
    double sum;
};

static void read_memory(void *context)
{
    struct read_work *r = context;
    r->sum += r->k->read_sum(r->x, READ_BYTES / sizeof(real));
}

static void report(struct bench *b, const struct speaker *s, enum storage_type type, double rate,
                   double share)
{
    double whole = rate / (double)token_bytes(&b->dims->dims, type);
    fprintf(b->out, "%-6s %6zu %10.2f %10.1f %10.1f%% %12.2f\n", storage_name(type),
            s->model.dims.layers, (double)s->bytes * 1e-9, rate * 1e-9, 100 * share, whole);
    fflush(b->out);
    json_write_object(&b->json, NULL, JSON_ONE_LINE);
    json_write_text(&b->json, "type", storage_name(type));
    json_write_count(&b->json, "layers", s->model.dims.layers);
    json_write_count(&b->json, "weight_bytes", s->bytes);
    bench_json_number(b, "gb_per_s", rate * 1e-9);
    bench_json_number(b, "share_of_read", share);
    bench_json_number(b, "tokens_per_s_of_shape", whole);
    json_write_end(&b->json);
}

static int measure(struct bench *b, struct read_work *r, enum storage_type type, struct err *e)
{
    struct speaker s;
    double rate[ROUNDS_MAX], share[ROUNDS_MAX];
    int32_t prompt[PROMPT];
    const int32_t *prompts[] = { prompt };
    int code = speaker_open(&s, b, type, e);
    for (int i = 0; i < PROMPT; i++) prompt[i] = 1 + i;
    for (size_t i = 0; !code && i < b->rounds; i++) {
        generator_begin(&s.generator, prompts, (size_t[]){ PROMPT });
        double read = READ_BYTES / bench_time(b, read_memory, r, 1);
        rate[i] = (double)s.bytes * SAMPLE_TOKENS / bench_time(b, say_token, &s, SAMPLE_TOKENS);
        share[i] = rate[i] / read;
    }
    if (!code) report(b, &s, type, bench_median(rate, b->rounds), bench_median(share, b->rounds));
    speaker_close(&s);
    return code;
}

int bench_generation(struct bench *b, struct err *e)
{
    struct read_work r = { .k = b->k };
    r.x = mem_alloc(READ_BYTES / sizeof(real), sizeof(real), e);
    if (!r.x) return e->code;
    b->k->scale(r.x, 1, READ_BYTES / sizeof(real));
    fprintf(b->out,
            "\ngeneration, one token at a time: weights read per second, as a share of plain "
            "reading\nweight layers  weights GB       GB/s      share  tokens/s of all "
            "%zu layers\n",
            b->dims->dims.layers);
    json_write_array(&b->json, "generation", JSON_ONE_LINE);
    int code = 0;
    for (int t = 0; !code && t < STORAGES; t++)
        if (storage_of((enum storage_type)t)->written)
            code = measure(b, &r, (enum storage_type)t, e);
    json_write_end(&b->json);
    mem_free(r.x);
    return code;
}
