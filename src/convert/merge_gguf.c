/* A merged model as a GGUF file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/convert/merge.h"
#include "src/convert/tokenizer_gguf.h"
#include "src/convert/weights.h"
#include "src/model/notices.h"
#include "src/train/publish.h"

/* ---- metadata -------------------------------------------------------------------------------- */

/* Note the adapters that are in it, so that merging one of them again is noticed. */
static void put_merged(struct gguf_writer *w, const struct digest_list *l)
{
    if (!l->n) return;
    gguf_put_array(w, GGUF_MERGED, GGUF_STRING, l->n);
    for (size_t i = 0; i < l->n; i++) gguf_item_string(w, l->at[i], SHA256_HEX - 1);
}

/* The template that the adapter was trained with replaces the one that a GGUF base names. */
static void put_template(struct gguf_writer *w, const struct merge_options *o)
{
    const char *chat = o->chat_template;
    if (chat) gguf_put_string(w, "tokenizer.chat_template", chat, strlen(chat));
    if (chat && o->end >= 0) {
        gguf_put_u32(w, "tokenizer.ggml.eot_token_id", (uint32_t)o->end);
    }
}

static bool is_replaced(const char *key, const struct merge_options *o)
{
    static const char chat[] = "tokenizer.chat_template"; /* and those for tools, .NAME */
    if (o->notes && o->notes->template && !strcmp(key, GGUF_TEMPLATE)) return true;
    if (o->named && !strncmp(key, "tokenizer.", strlen("tokenizer."))) return true;
    if (!o->chat_template) return false;
    return !strncmp(key, chat, sizeof chat - 1) ||
           (o->end >= 0 && !strcmp(key, "tokenizer.ggml.eot_token_id"));
}

/* Copy a GGUF base's metadata, except what it says about quantisation. */
static void copy_metadata(struct gguf_writer *w, const struct gguf *g,
                          const struct merge_options *o)
{
    for (size_t i = 0; i < g->n_kv; i++) {
        const char *key = g->kv[i].key;
        if (strcmp(key, "general.file_type") == 0 ||
            strcmp(key, "general.quantization_version") == 0 ||
            strcmp(key, "general.alignment") == 0 || strcmp(key, GGUF_MERGED) == 0 ||
            is_replaced(key, o)) {
            continue;
        }
        gguf_put_copy(w, &g->kv[i]);
    }
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* llama.cpp keeps llama3 scaling as the factors by which the plain frequencies are divided. */
static bool has_divisors(const struct dims *s)
{
    return s->scaling == ROPE_LLAMA3 || s->scaling == ROPE_DIVISORS;
}

static void divisors(float *out, const struct dims *s)
{
    double scaled[ATTENTION_D_MAX / 2];
    dims_rope_frequencies(scaled, s);
    for (size_t j = 0; j < s->D / 2; j++)
        out[j] = (float)(pow(s->rope_theta, -2.0 * (double)j / (double)s->D) / scaled[j]);
}

static int to_gguf(void *to, const void *bytes, size_t n, struct err *e)
{
    return gguf_writer_add(to, bytes, n, e);
}

static int write_tensors(struct gguf_writer *w, struct weights *list, const struct dims *s,
                         struct err *e)
{
    uint64_t half = s->D / 2;
    float factor[ATTENTION_D_MAX / 2];
    if (has_divisors(s)) gguf_put_tensor(w, "rope_freqs.weight", STORAGE_F32, 1, &half);
    for (size_t i = 0; i < list->n; i++) {
        const struct weight *t = &list->at[i];
        uint64_t dims[2] = { t->vector ? t->cols : t->rows, t->cols };
        gguf_put_tensor(w, t->name, t->type, t->vector ? 1 : 2, dims);
    }
    int code = gguf_writer_data(w, e);
    if (!code && has_divisors(s)) {
        divisors(factor, s);
        code = gguf_writer_add(w, factor, half * sizeof *factor, e);
        if (!code) code = gguf_writer_pad(w, e);
    }
    for (size_t i = 0; !code && i < list->n; i++) {
        code = weights_write(list, i, to_gguf, w, e);
        if (!code) code = gguf_writer_pad(w, e);
    }
    return code;
}

static int put_tokenizer(struct gguf_writer *w, const struct llama *m,
                         const struct merge_options *o, struct err *e)
{
    const char *chat = o->chat_template ? o->chat_template : tokenizer_chat_template(o->tok);
    return gguf_put_tokenizer(w, o->tok, m->dims.V, chat, o->end, o->remarks, e);
}

/* The tokenizer of a GGUF base itself is in the metadata already. */
static bool puts_tokenizer(const struct llama *m, const struct merge_options *o)
{
    return !llama_gguf(m) || o->named;
}

static int write_file(struct gguf_writer *w, struct weights *list, const struct llama *m,
                      const struct merge_options *o, struct err *e)
{
    int code = 0;
    gguf_put_u32(w, "general.file_type", (uint32_t)storage_of(o->dtype)->ftype);
    if (storage_of(o->dtype)->blocks) gguf_put_u32(w, "general.quantization_version", 2);
    if (o->notes) put_merged(w, &o->notes->merged);
    const char *name = o->notes ? o->notes->template : NULL;
    if (name) gguf_put_string(w, GGUF_TEMPLATE, name, strlen(name));
    if (llama_gguf(m)) {
        copy_metadata(w, llama_gguf(m), o);
    } else {
        dims_to_gguf(w, &m->dims);
    }
    if (o->tok && puts_tokenizer(m, o)) {
        code = put_tokenizer(w, m, o, e);
    } else if (o->tok) {
        put_template(w, o);
    }
    return code ? code : write_tensors(w, list, &m->dims, e);
}

/* Nothing is published that lorac itself would refuse. The tokenizer of a GGUF base is copied as it
 * is, and may be one that lorac does not know. */
static int read_back(const struct gguf_writer *w, const struct llama *m,
                     const struct merge_options *o, struct err *e)
{
    struct gguf g;
    int code = gguf_open(&g, w->save.tmp, e);
    if (!code) gguf_close(&g);
    if (!code && o->tok && puts_tokenizer(m, o))
        code = gguf_check_tokenizer(w->save.tmp, o->tok, m->dims.V, e);
    return code ? err_prefix(e, "%s: nothing was written, since it could not be read back",
                             w->save.path)
                : 0;
}

/* Into the file's directory, where others may have files of these names: those stay. */
static int copy_notices(const char *path, const struct merge_options *o, struct err *e)
{
    char dir[PATH_BYTES];
    int n = (int)(path_base(path) - path);
    snprintf(dir, sizeof dir, "%.*s", n ? n : 1, n ? path : ".");
    return notices_copy(o->base_path, dir, true, e);
}

int merge_write_gguf(const struct llama *m, const struct adapter *a, const struct kernels *k,
                     const char *path, const struct merge_options *o, struct err *e)
{
    struct weights list;
    struct gguf_writer w;
    int code = path_must_be_free(path, "choose another name", e);
    if (!code) code = weights_init(&list, m, a, k, WEIGHT_NAMES_GGUF, o->dtype, e);
    if (code) return code;
    list.watch = o->watch;
    code = weights_check_room(&list, path, e);
    if (!code) code = gguf_writer_begin(&w, path, 0666, e);
    if (!code) {
        code = write_file(&w, &list, m, o, e);
        if (!code) code = read_back(&w, m, o, e);
        if (!code) code = gguf_writer_commit(&w, e);
        if (code) gguf_writer_abort(&w);
    }
    weights_free(&list);
    return code ? code : copy_notices(path, o, e);
}
