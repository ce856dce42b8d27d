/* Hugging Face's tokenizer.json, in the shapes that hf_shape.c reads. */
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/tokenizer/export.h"
#include "src/tokenizer/tokenizer.h"

#define SPACE_JSON "\"\\u2581\""

const char *export_text(char buffer[32], const struct tokenizer *t, int32_t id, size_t *n)
{
    const char *text = vocab_bytes(&t->vocab, id, n);
    if (*n) return text;
    *n = (size_t)snprintf(buffer, 32, "[EMPTY_%d]", (int)id);
    return buffer;
}

static void put_text(struct str *out, const struct tokenizer *t, int32_t id)
{
    char buffer[32];
    size_t n;
    const char *text = export_text(buffer, t, id, &n);
    json_add_string(out, text, n);
}

/* ---- around the model ------------------------------------------------------------------------ */

static void put_added(struct str *out, const struct tokenizer *t)
{
    str_addz(out, " \"added_tokens\": [");
    const char *comma = "";
    for (size_t i = 0; i < t->vocab.n; i++) {
        const struct piece *p = &t->vocab.pieces[i];
        if (!special_type(p->type)) continue;
        bool special = p->type != TOKEN_USER;
        str_addf(out, "%s\n  {\"id\": %zu, \"content\": ", comma, i);
        put_text(out, t, (int32_t)i);
        str_addf(out,
                 ", \"single_word\": false, \"lstrip\": %s, \"rstrip\": %s, "
                 "\"normalized\": %s, \"special\": %s}",
                 p->lstrip ? "true" : "false", p->rstrip ? "true" : "false",
                 special || p->search == SEARCH_RAW ? "false" : "true", special ? "true" : "false");
        comma = ",";
    }
    str_addz(out, "\n ],\n");
}

static void put_spm_shape(struct str *out, const struct tokenizer *t)
{
    static const char *const schemes[] = { "never", "first", "always" };
    if (t->prefix_unless_space) {
        str_addf(out,
                 " \"normalizer\": null,\n \"pre_tokenizer\": {\"type\": \"Metaspace\", "
                 "\"replacement\": " SPACE_JSON ", \"prepend_scheme\": \"%s\", \"split\": %s},\n",
                 schemes[t->prefix], t->split_words ? "true" : "false");
    } else {
        str_addf(
            out,
            " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s"
            "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": " SPACE_JSON
            "}]},\n \"pre_tokenizer\": null,\n",
            t->prefix ? "{\"type\": \"Prepend\", \"prepend\": " SPACE_JSON "}, " : "");
    }
    str_addf(out,
             " \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
             "\"pattern\": {\"String\": " SPACE_JSON "}, \"content\": \" \"}, "
             "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]},\n",
             t->prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}"
                       : "");
}

static void put_byte_shape(struct str *out, const struct tokenizer *t)
{
    const struct pretokenizer_row *pre = &pretokenizers[t->pre];
    str_addf(out,
             " \"normalizer\": %s,\n \"pre_tokenizer\": {\"type\": \"Sequence\", "
             "\"pretokenizers\": [",
             t->nfc ? "{\"type\": \"NFC\"}" : "null");
    if (pre->split) {
        str_addz(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        json_add_string(out, pre->regex, strlen(pre->regex));
        str_addz(out, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
    } else if (!pre->regex) {
        str_addz(out, "{\"type\": \"Digits\", \"individual_digits\": true}, ");
    }
    str_addf(out,
             "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
             "\"use_regex\": %s}]},\n \"decoder\": {\"type\": \"ByteLevel\", "
             "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n",
             pre->split ? "false" : "true");
}

/* BOS before each text, where the model's files put it. */
static void put_post(struct str *out, const struct tokenizer *t)
{
    if (!tokenizer_adds_bos(t)) {
        str_addz(out, " \"post_processor\": null,\n");
        return;
    }
    struct str bos = { 0 };
    put_text(&bos, t, t->bos);
    const char *b = bos.failed ? "" : bos.p;
    str_addf(out,
             " \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
             "{\"SpecialToken\": {\"id\": %s, \"type_id\": 0}}, "
             "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": ["
             "{\"SpecialToken\": {\"id\": %s, \"type_id\": 0}}, "
             "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
             "{\"SpecialToken\": {\"id\": %s, \"type_id\": 1}}, "
             "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], "
             "\"special_tokens\": {%s: {\"id\": %s, \"ids\": [%d], \"tokens\": [%s]}}},\n",
             b, b, b, b, b, (int)t->bos, b);
    if (bos.failed) out->failed = true;
    str_free(&bos);
}

/* ---- merges ---------------------------------------------------------------------------------- */

struct listed {
    struct merge merge;
    uint32_t rank, left_n, right_n; /* characters of the parts */
};

/* By score, then the longer parts first, then in any order that is the same on every machine. */
static int listed_order(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->left_n != y->left_n) return x->left_n > y->left_n ? -1 : 1;
    if (x->right_n != y->right_n) return x->right_n > y->right_n ? -1 : 1;
    if (x->merge.joined != y->merge.joined) return x->merge.joined < y->merge.joined ? -1 : 1;
    return (x->merge.left > y->merge.left) - (x->merge.left < y->merge.left);
}

/* The merges of the file, or those that follow from the scores. */
static int list_merges(struct listed **out, size_t *n, const struct tokenizer *t, struct err *e)
{
    const struct bpe *b = &t->bpe;
    size_t most = t->by_score ? b->n : t->n_merges;
    struct listed *list = mem_alloc(most, sizeof *list, e);
    if (!list) return e->code;
    *n = 0;
    for (size_t i = 0; !t->by_score && i < most; i++) list[(*n)++].merge = t->merges[i];
    for (size_t i = 0; t->by_score && i < b->n_slots; i++) {
        const struct bpe_rule *r = &b->slots[i];
        if (r->rank == BPE_NONE) continue;
        struct merge m = { (int32_t)r->left, (int32_t)r->right, (int32_t)r->joined };
        list[(*n)++] = (struct listed){ m, r->rank, (uint32_t)piece_characters(t, m.left),
                                        (uint32_t)piece_characters(t, m.right) };
    }
    if (t->by_score && *n) qsort(list, *n, sizeof *list, listed_order);
    *out = list;
    return 0;
}

/* Every version of the library reads "a b", but this form works only for parts without spaces. */
static void put_merges(struct str *out, const struct tokenizer *t, const struct listed *list,
                       size_t n)
{
    bool spaces = false;
    for (size_t i = 0; i < n && !spaces; i++) {
        size_t left_n, right_n;
        const char *left = vocab_bytes(&t->vocab, list[i].merge.left, &left_n);
        const char *right = vocab_bytes(&t->vocab, list[i].merge.right, &right_n);
        spaces = memchr(left, ' ', left_n) || memchr(right, ' ', right_n);
    }
    struct str pair = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t left_n, right_n;
        const char *left = vocab_bytes(&t->vocab, list[i].merge.left, &left_n);
        const char *right = vocab_bytes(&t->vocab, list[i].merge.right, &right_n);
        str_addz(out, i ? ",\n   " : "\n   ");
        if (spaces) {
            str_addc(out, '[');
            json_add_string(out, left, left_n);
            str_addz(out, ", ");
            json_add_string(out, right, right_n);
            str_addc(out, ']');
            continue;
        }
        str_clear(&pair);
        str_add(&pair, left, left_n);
        str_addc(&pair, ' ');
        str_add(&pair, right, right_n);
        if (pair.failed) out->failed = true;
        json_add_string(out, pair.p, pair.n);
    }
    str_free(&pair);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Added tokens at the end stay outside the model, where merging cannot reach them; the library
 * gives them the ids that follow. */
static size_t model_pieces(const struct tokenizer *t)
{
    size_t n = t->vocab.n;
    while (n > 0) {
        const struct piece *p = &t->vocab.pieces[n - 1];
        if (p->in_model || (p->type != TOKEN_USER && p->type != TOKEN_CONTROL)) break;
        n--;
    }
    return n;
}

static void put_model(struct str *out, const struct tokenizer *t)
{
    bool spm = t->kind == TOKENIZER_SPM;
    str_addz(out, " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (spm && t->unk >= 0) {
        put_text(out, t, t->unk);
    } else {
        str_addz(out, "null");
    }
    str_addf(out,
             ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
             "\"fuse_unk\": %s, \"byte_fallback\": %s, \"ignore_merges\": %s,\n  \"vocab\": {",
             spm ? "true" : "false", t->byte_fallback ? "true" : "false",
             t->ignore_merges ? "true" : "false");
    for (size_t i = 0, n = model_pieces(t); i < n; i++) {
        str_addz(out, i ? ",\n   " : "\n   ");
        put_text(out, t, (int32_t)i);
        str_addf(out, ": %zu", i);
    }
    str_addz(out, "\n  },\n  \"merges\": [");
}

int export_json(struct str *out, const struct tokenizer *t, struct err *e)
{
    struct listed *list = NULL;
    size_t n = 0;
    int code = list_merges(&list, &n, t, e);
    if (code) return code;
    str_addz(out, "{\n \"version\": \"1.0\",\n \"truncation\": null,\n \"padding\": null,\n");
    put_added(out, t);
    if (t->kind == TOKENIZER_SPM) {
        put_spm_shape(out, t);
    } else {
        put_byte_shape(out, t);
    }
    put_post(out, t);
    put_model(out, t);
    put_merges(out, t, list, n);
    str_addz(out, "\n  ]\n }\n}\n");
    mem_free(list);
    return str_error(out, e);
}
