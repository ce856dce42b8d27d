/* Writing a tokenizer for transformers and the tools around it.
 *
 * A SentencePiece-style tokenizer is written twice where both files can hold the same: as
 * tokenizer.json, which transformers reads unchanged, and as tokenizer.model, which llama.cpp's
 * converter and others need. The class is transformers' plain PreTrainedTokenizerFast: its
 * LlamaTokenizer (version 5) replaces the normaliser of a tokenizer.json with one that treats
 * leading spaces differently. */
#include "src/tokenizer/export.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/tokenizer/tokenizer.h"

static const char *json_bool(bool v)
{
    return v ? "true" : "false";
}

/* Whether a tokenizer.json can describe this tokenizer. */
static bool fits_json(const struct tokenizer *t)
{
    for (size_t i = 0; i < t->vocab.n; i++) { /* not every reader takes a key with a NUL in it */
        const struct piece *p = &t->vocab.pieces[i];
        if (p->n && memchr(t->vocab.text.p + p->at, 0, p->n)) return false;
    }
    if (t->kind == TOKENIZER_BYTE_BPE) return true;
    if (!t->byte_fallback || t->trim || t->bpe.n_unused || t->chars.n) return false;
    bool plain_prefix = t->prefix != PREFIX_NONE && !t->prefix_unless_space;
    for (size_t i = 0; i < t->vocab.n; i++) {
        const struct piece *p = &t->vocab.pieces[i];
        if (p->type != TOKEN_USER || !plain_prefix) continue;
        /* Prepend puts a space after each added token that is cut out of the raw text, and
         * tokenizer.json cannot look for a token in the normalised text. */
        if (t->prefix == PREFIX_FIRST || p->search == SEARCH_NORMALIZED) return false;
    }
    return true;
}

static void put_token(struct str *out, const struct tokenizer *t, const char *key, int32_t id)
{
    str_addf(out, ",\n \"%s\": ", key);
    if (id < 0) {
        str_addz(out, "null");
        return;
    }
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    json_add_string(out, text, n);
}

static void put_decoder(struct str *out, const struct tokenizer *t)
{
    const char *comma = "";
    str_addz(out, ",\n \"added_tokens_decoder\": {");
    for (size_t i = 0; i < t->vocab.n; i++) {
        const struct piece *p = &t->vocab.pieces[i];
        if (!special_type(p->type) || p->n == 0) continue;
        size_t n;
        const char *text = vocab_bytes(&t->vocab, (int32_t)i, &n);
        bool special = p->type != TOKEN_USER;
        str_addf(out, "%s\n  \"%zu\": {\"content\": ", comma, i);
        json_add_string(out, text, n);
        str_addf(out,
                 ", \"lstrip\": %s, \"normalized\": %s, \"rstrip\": %s, "
                 "\"single_word\": false, \"special\": %s}",
                 json_bool(p->lstrip), json_bool(!special && p->search != SEARCH_RAW),
                 json_bool(p->rstrip), json_bool(special));
        comma = ",";
    }
    str_addz(out, "\n }");
}

static void put_config(struct str *out, const struct tokenizer *t, bool json)
{
    str_addf(out,
             "{\n \"tokenizer_class\": \"%s\",\n \"add_bos_token\": %s,\n "
             "\"add_eos_token\": false,\n \"clean_up_tokenization_spaces\": false",
             json ? "PreTrainedTokenizerFast" : "LlamaTokenizer",
             tokenizer_adds_bos(t) ? "true" : "false");
    put_token(out, t, "bos_token", t->bos);
    put_token(out, t, "eos_token", t->eos);
    put_token(out, t, "unk_token", t->unk);
    put_decoder(out, t);
    if (!json) {
        str_addf(out, ",\n \"legacy\": %s,\n \"add_prefix_space\": %s",
                 t->prefix == PREFIX_FIRST ? "false" : "true", t->prefix ? "true" : "false");
    }
    if (t->chat_template) {
        str_addz(out, ",\n \"chat_template\": ");
        json_add_string(out, t->chat_template, strlen(t->chat_template));
    }
    str_addz(out, "\n}\n");
}

static int write_file(const char *dir, const char *name, const struct str *content, struct err *e)
{
    char path[PATH_BYTES];
    int code = str_error(content, e);
    if (!code) code = path_join(path, dir, name, e);
    return code ? code : file_replace(path, content->p, content->n, 0644, e);
}

int tokenizer_export(const struct tokenizer *t, const char *dir, struct err *e)
{
    bool json = fits_json(t);
    bool model = tokenizer_scores_fit(t) && !t->split_words && t->unk >= 0 &&
                 t->vocab.pieces[t->unk].type == TOKEN_UNKNOWN;
    struct str out = { 0 };
    int code = 0;
    if (!json && !model) {
        code = err_set(e,
                       "%s: this tokenizer fits neither tokenizer.json nor tokenizer.model; "
                       "copy the files it was read from",
                       dir);
    }
    if (!code && model) {
        export_model(&out, t);
        code = write_file(dir, "tokenizer.model", &out, e);
    }
    str_clear(&out);
    if (!code && json) code = export_json(&out, t, e);
    if (!code && json) code = write_file(dir, "tokenizer.json", &out, e);
    str_clear(&out);
    if (!code) {
        put_config(&out, t, json);
        code = write_file(dir, "tokenizer_config.json", &out, e);
    }
    str_free(&out);
    return code;
}
