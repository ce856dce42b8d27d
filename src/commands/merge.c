/* lorac merge: a base and adapters made into one plain model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/commands/commands.h"
#include "src/commands/inference.h"
#include "src/convert/merge.h"
#include "src/model/network.h"
#include "src/model/notices.h"

static const char *model, *tokenizer, *out, *dtype, *format;
static struct option_list adapters;
static bool verify;

static const struct option options[] = {
    { "model", 'm', "M", "the base model", .text = &model },
    { "adapter", 'a', "A", "an adapter on it, or A=WEIGHT; several are added up",
      .list = &adapters },
    { "output", 'o', "OUT", "the directory, or with --format gguf the file, to write",
      .text = &out },
    { "dtype", 0, "T", "bf16, f16 or f32; left out: the base's, f16 where that is quantised",
      .allowed = "bf16 f16 f32", .text = &dtype },
    { "format", 'f', "F", "hf or gguf; left out: gguf when OUT ends in .gguf", .allowed = "hf gguf",
      .text = &format },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "verify", 0, NULL, "compare the result's logits with those of base and adapter",
      .flag = &verify },
    { 0 },
};

static enum dtype choose_dtype(const struct llama *m)
{
    for (int t = DTYPE_F32; t <= DTYPE_BF16; t++)
        if (dtype && strcmp(dtype, dtype_name((enum dtype)t)) == 0) return (enum dtype)t;
    enum dtype own = llama_dtype(m);
    return own <= DTYPE_BF16 ? own : DTYPE_F16;
}

static bool wants_gguf(void)
{
    size_t n = strlen(out);
    if (format) return strcmp(format, "gguf") == 0;
    return n > 5 && strcmp(out + n - 5, ".gguf") == 0;
}

/* ---- --verify --------------------------------------------------------------------------------- */

enum { PROBE_TOKENS = 96 };

/* Logits after each token of a fixed random text. */
static int probe(real *logits, const struct llama *m, const struct adapter *a,
                 const struct kernels *k, struct err *e)
{
    struct network n = { 0 };
    int32_t ids[PROBE_TOKENS];
    uint32_t pos[PROBE_TOKENS];
    size_t T = m->shape.context < PROBE_TOKENS ? m->shape.context : PROBE_TOKENS;
    for (size_t t = 0; t < T; t++) {
        ids[t] = (int32_t)(rng_u32(1, RNG_SYNTH, 0, t) % m->shape.V);
        pos[t] = (uint32_t)t;
    }
    struct segment seg = { .len = (uint32_t)T, .parent = -1 };
    struct pass p = { .T = T, .ids = ids, .pos = pos, .seg = &seg, .n_seg = 1 };
    struct network_limits limits = { .rows_max = T, .seg_max = 1 };
    int code = network_plan(&n, m, a, k, &limits, e);
    if (!code) code = network_map(&n, e);
    if (!code) {
        network_embed(&n, &p);
        network_forward(&n, &p, 0, m->shape.layers);
        network_logits(&n, pos, T, logits);
    }
    network_free(&n);
    return code;
}

static size_t likeliest(const real *z, size_t V)
{
    size_t best = 0;
    for (size_t v = 1; v < V; v++)
        if (z[v] > z[best]) best = v;
    return best;
}

/* What rounding the weights to the type may do to the logits, relative to their size: about the square
 * root of the number of roundings times half a unit in the last place, seen to be well below these. */
static double allowed_error(enum dtype t)
{
    return t == DTYPE_F32 ? 1e-4 : t == DTYPE_F16 ? 0.02 : 0.1;
}

static int compare(const real *want, const real *got, size_t T, size_t V, enum dtype t,
                   struct err *e)
{
    double diff = 0, size = 0;
    size_t same = 0;
    for (size_t i = 0; i < T; i++) {
        const real *a = want + i * V, *b = got + i * V;
        same += likeliest(a, V) == likeliest(b, V);
        for (size_t v = 0; v < V; v++) {
            diff += ((double)a[v] - (double)b[v]) * ((double)a[v] - (double)b[v]);
            size += (double)a[v] * (double)a[v];
        }
    }
    double error = sqrt(diff / (size > 0 ? size : 1));
    fprintf(stderr,
            "verified: logits differ by %.2e of their size (%.0e allowed for %s); the likeliest "
            "token is the same at %zu of %zu positions\n",
            error, allowed_error(t), dtype_name(t), same, T);
    if (error <= allowed_error(t)) return 0;
    return err_set(e, "%s: the merged model's logits differ by %.2e from those of base and adapter",
                   out, error);
}

static int verify_result(const struct inference *x, enum dtype t, struct err *e)
{
    struct llama merged;
    size_t V = x->model.shape.V, T = PROBE_TOKENS;
    if (x->model.shape.context < T) T = x->model.shape.context;
    real *want = mem_alloc(T * V, sizeof *want, e), *got = mem_alloc(T * V, sizeof *got, e);
    int code = want && got ? 0 : e->code;
    if (!code) code = probe(want, &x->model, inference_adapter(x), x->k, e);
    if (!code) code = llama_open(&merged, out, e);
    if (!code) {
        code = probe(got, &merged, NULL, x->k, e);
        if (!code) code = compare(want, got, T, V, t, e);
        llama_close(&merged);
    }
    mem_free(want);
    mem_free(got);
    return code;
}

/* ---- the command ------------------------------------------------------------------------------ */

/* The base may be without a tokenizer (token ids only); then none is written. */
static int open_tokenizer(struct inference *x, struct err *e)
{
    struct err none;
    if (tokenizer) return tokenizer_find(&x->tok, model, tokenizer, e);
    if (tokenizer_find(&x->tok, model, NULL, &none)) {
        fprintf(stderr, "note: no tokenizer is written: %s\n", none.msg);
        x->tok = NULL;
    }
    return 0;
}

static int check_output(struct err *e)
{
    if (!out) return err_usage(e, "-o is missing: where to?");
    if (dir_exists(model) && path_within(out, model)) {
        return err_usage(e, "-o %s: lies inside the base model", out);
    }
    for (size_t i = 0; i < adapters.n; i++)
        if (dir_exists(adapters.at[i]) && path_within(out, adapters.at[i]))
            return err_usage(e, "-o %s: lies inside the adapter %s", out, adapters.at[i]);
    return 0;
}

static int run(int n, char **args, struct err *e)
{
    (void)n, (void)args;
    struct inference x;
    if (!adapters.n) return err_usage(e, "--adapter is missing: merge what into the base?");
    if (!model) return err_usage(e, "--model is missing: which base?");
    int code = check_output(e);
    if (!code) code = inference_open(&x, model, &adapters, e);
    if (code) return code;
    struct merge_options o = { .base_path = model, .dtype = choose_dtype(&x.model) };
    struct str remarks = { 0 };
    o.remarks = &remarks;
    code = open_tokenizer(&x, e);
    o.tok = x.tok;
    if (!code && wants_gguf()) {
        code = merge_to_gguf(&x.model, inference_adapter(&x), x.k, out, &o, e);
    } else if (!code) {
        code = merge_to_hf(&x.model, inference_adapter(&x), x.k, out, &o, e);
    }
    if (!code && remarks.n) fprintf(stderr, "%s", remarks.p);
    str_free(&remarks);
    if (!code) fprintf(stderr, "written   %s (%s)\n", out, dtype_name(o.dtype));
    const char *warning = code ? NULL : notices_warning(model);
    if (warning) fprintf(stderr, "warning: %s: %s\n", model, warning);
    if (!code && verify) code = verify_result(&x, o.dtype, e);
    inference_close(&x);
    return code;
}

const struct command command_merge = {
    .name = "merge",
    .summary = "make base and adapters one plain model",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "W' = W + weight * scale * B A, formed in float32 and rounded once. Licence files of "
             "the base\n"
             "are copied along.",
    .examples =
        "lorac merge --model models/base --adapter checkpoints/runs/demo/best -o merged --verify\n"
        "lorac merge --model models/base --adapter a=0.7 --adapter b=0.3 -o both --dtype bf16\n"
        "lorac merge --model model.gguf --adapter checkpoints/runs/demo/best -o merged.gguf\n",
    .run = run,
};
