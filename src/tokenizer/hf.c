/* Hugging Face's tokenizer.json: vocabulary, merges and added tokens. hf_shape.c reads the parts
 * around the model (normaliser, pre-tokeniser, decoder).
 * Source: https://github.com/huggingface/tokenizers, tokenizers/src/models/bpe and
 * tokenizers/src/tokenizer/added_vocabulary.rs. */
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/tokenizer/parts.h"

/* A merge such as ["a","b"] takes 300 bytes as a tree: 16 times as many as in a file. */
enum { TREE_TIMES = 16 };

struct hf {
    struct tokenizer *t;
    const char *path;
    const json_t *model, *added;
    char where[PATH_BYTES + 64];
};

/* A piece that waits for its turn: the vocabulary takes pieces in the order of their ids. */
struct entry {
    const char *text;
    size_t n;
    enum token_type type;
    enum piece_search search;
    bool in_model, lstrip, rstrip;
};

static const char *at(struct hf *h, const char *key)
{
    snprintf(h->where, sizeof h->where, "%s: %s", h->path, key);
    return h->where;
}

/* ---- added tokens ---------------------------------------------------------------------------- */

int hf_read_added(struct added *a, const json_t *o, const char *where, struct err *e)
{
    const json_t *text = json_object_get(o, "content");
    if (!json_is_string(text)) {
        return err_set(e, "%s: found %s without content, wanted an added token", where,
                       json_kind(o));
    }
    bool normalized, single = false;
    a->special = a->lstrip = a->rstrip = false;
    int code = json_get_bool(&a->special, o, "special", where, e);
    normalized = !a->special;
    if (!code) code = json_get_bool(&normalized, o, "normalized", where, e);
    if (!code) code = json_get_bool(&a->lstrip, o, "lstrip", where, e);
    if (!code) code = json_get_bool(&a->rstrip, o, "rstrip", where, e);
    if (!code) code = json_get_bool(&single, o, "single_word", where, e);
    if (code) return code;
    a->text = json_string_value(text);
    a->n = json_string_length(text);
    a->search = normalized ? SEARCH_RAW_LAST : SEARCH_RAW;
    if (a->special || !single) return 0; /* special tokens are not looked for in text */
    return err_set(e, "%s (%s): found single_word on a token that is not special, wanted none",
                   where, err_quote(a->text, a->n));
}

static int read_added(struct hf *h, struct entry *x, size_t *id, size_t i, struct err *e)
{
    const json_t *o = json_array_get(h->added, i);
    char where[PATH_BYTES + 96];
    struct added a;
    snprintf(where, sizeof where, "%s: added_tokens[%zu]", h->path, i);
    int code = hf_read_added(&a, o, where, e);
    if (!code && !json_has(o, "id")) code = err_set(e, "%s: found no id, wanted one", where);
    if (!code) code = json_get_size(id, o, "id", where, e);
    if (code) return code;
    *x = (struct entry){ .text = a.text,
                         .n = a.n,
                         .type = a.special ? TOKEN_CONTROL : TOKEN_USER,
                         .search = a.search,
                         .lstrip = a.lstrip,
                         .rstrip = a.rstrip };
    return 0;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static int place(struct hf *h, struct entry *entries, size_t n, size_t id, const struct entry *x,
                 struct err *e)
{
    if (id >= n) {
        return err_set(e, "%s: piece %s: found the id %zu, wanted ids without gaps below %zu",
                       h->path, err_quote(x->text, x->n), id, n);
    }
    if (entries[id].text) {
        return err_set(e, "%s: found the id %zu for both %s and %s, wanted one piece for each id",
                       h->path, id, err_quote(entries[id].text, entries[id].n),
                       err_quote(x->text, x->n));
    }
    entries[id] = *x;
    return 0;
}

static enum token_type type_of(const struct hf *h, const char *text, size_t n)
{
    bool byte = h->t->kind == TOKENIZER_SPM && h->t->byte_fallback && byte_piece(text, n) >= 0;
    return byte ? TOKEN_BYTE : TOKEN_NORMAL;
}

static int place_vocab(struct hf *h, struct entry *entries, size_t n, const json_t *vocab,
                       struct err *e)
{
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)vocab, text, value)
    {
        struct entry x = {
            .text = text, .n = strlen(text), .search = SEARCH_RAW, .in_model = true
        };
        x.type = type_of(h, x.text, x.n);
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return err_set(e, "%s: model.vocab: piece %s: found %s, wanted an id of 0 or more",
                           h->path, err_quote(x.text, x.n), json_kind(value));
        }
        int code = place(h, entries, n, (size_t)json_integer_value(value), &x, e);
        if (code) return code;
    }
    return 0;
}

/* An added token is either new or gives a piece of the vocabulary its type. */
static int place_added(struct hf *h, struct entry *entries, size_t n, const json_t *vocab,
                       struct err *e)
{
    for (size_t i = 0; i < json_array_size(h->added); i++) {
        struct entry x;
        size_t id;
        int code = read_added(h, &x, &id, i, e);
        if (code) return code;
        const json_t *known = memchr(x.text, 0, x.n) ? NULL : json_object_get(vocab, x.text);
        if (!known) {
            code = place(h, entries, n, id, &x, e);
        } else if ((size_t)json_integer_value(known) != id) {
            code = err_set(e,
                           "%s: added_tokens[%zu] (%s): found the id %zu, wanted %lld as in "
                           "model.vocab",
                           h->path, i, err_quote(x.text, x.n), id,
                           (long long)json_integer_value(known));
        } else {
            entries[id].type = x.type;
            entries[id].search = x.search;
            entries[id].lstrip = x.lstrip;
            entries[id].rstrip = x.rstrip;
        }
        if (code) return code;
    }
    return 0;
}

static size_t count_new(const struct hf *h, const json_t *vocab)
{
    size_t n = json_object_size(vocab);
    for (size_t i = 0; i < json_array_size(h->added); i++) {
        const json_t *text = json_object_get(json_array_get(h->added, i), "content");
        const char *s = json_string_value(text);
        bool nul = s && strlen(s) != json_string_length(text);
        n += !s || nul || !json_object_get(vocab, s);
    }
    return n;
}

static int read_pieces(struct hf *h, struct err *e)
{
    const json_t *vocab = json_object_get(h->model, "vocab");
    if (!json_is_object(vocab)) {
        return err_set(e, "%s: model.vocab: found %s, wanted an object of pieces and ids", h->path,
                       json_kind(vocab));
    }
    size_t n = count_new(h, vocab);
    struct entry *entries = mem_alloc(n, sizeof *entries, e);
    if (!entries) return e->code;
    int code = place_vocab(h, entries, n, vocab, e);
    if (!code) code = place_added(h, entries, n, vocab, e);
    for (size_t i = 0; !code && i < n; i++) { /* n distinct ids below n, so none is missing */
        const struct entry *x = &entries[i];
        code = vocab_add(&h->t->vocab, x->text, x->n, 0, x->type, at(h, "model.vocab"), e);
        if (code) break;
        h->t->vocab.pieces[i].search = (uint8_t)x->search;
        h->t->vocab.pieces[i].in_model = x->in_model;
        h->t->vocab.pieces[i].lstrip = x->lstrip;
        h->t->vocab.pieces[i].rstrip = x->rstrip;
    }
    mem_free(entries);
    return code;
}

/* ---- merges ---------------------------------------------------------------------------------- */

/* "a b", or ["a", "b"] for pieces that may hold spaces. */
static bool merge_parts(const json_t *m, int32_t *left, int32_t *right, const struct vocab *v)
{
    *left = *right = -1;
    if (json_is_array(m) && json_array_size(m) == 2) {
        const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        if (!json_is_string(a) || !json_is_string(b)) return false;
        *left = vocab_find(v, json_string_value(a), json_string_length(a));
        *right = vocab_find(v, json_string_value(b), json_string_length(b));
        return true;
    }
    if (!json_is_string(m)) return false;
    const char *text = json_string_value(m);
    size_t n = json_string_length(m);
    const char *space = memchr(text, ' ', n);
    size_t left_n = space ? (size_t)(space - text) : 0;
    if (!space || memchr(space + 1, ' ', n - left_n - 1)) return false;
    *left = vocab_find(v, text, left_n);
    *right = vocab_find(v, space + 1, n - left_n - 1);
    return true;
}

static int read_merges(struct hf *h, struct err *e)
{
    const json_t *merges = json_object_get(h->model, "merges");
    if (!json_is_array(merges)) {
        return err_set(e, "%s: model.merges: found %s, wanted an array", h->path,
                       json_kind(merges));
    }
    at(h, "model.merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *m = json_array_get(merges, i);
        int32_t left, right;
        if (!merge_parts(m, &left, &right, &h->t->vocab)) {
            return err_set(e,
                           "%s[%zu]: found %s that is not a pair, wanted \"a b\" or [\"a\", \"b\"]",
                           h->where, i, json_kind(m));
        }
        if (left < 0 || right < 0) {
            return err_set(e, "%s[%zu]: the %s part is not a piece of the vocabulary", h->where, i,
                           left < 0 ? "left" : "right");
        }
        int code = tokenizer_add_merge(h->t, left, right, h->where, e);
        if (code) return code;
    }
    return 0;
}

/* ---- the model ------------------------------------------------------------------------------- */

/* The model's switches that change what merging does. */
static int check_model(struct hf *h, struct err *e)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const char *type = "BPE", *path = at(h, "model");
    double dropout = 0;
    int code = json_get_string(&type, h->model, "type", path, e);
    if (code) return code;
    if (strcmp(type, "BPE") != 0) {
        return err_set(e, "%s.type: found %s, wanted \"BPE\", which is what Llama models use", path,
                       err_quotez(type));
    }
    for (size_t i = 0; i < 2; i++) {
        const char *affix = "";
        code = json_get_string(&affix, h->model, affixes[i], path, e);
        if (!code && *affix) {
            code = err_set(e, "%s.%s: found %s, wanted none", path, affixes[i], err_quotez(affix));
        }
        if (code) return code;
    }
    code = json_get_double(&dropout, h->model, "dropout", path, e);
    if (!code && dropout != 0) {
        code = err_set(e,
                       "%s.dropout: found %g, wanted none: the same text has to give the same "
                       "ids",
                       path, dropout);
    }
    if (!code) code = json_get_bool(&h->t->byte_fallback, h->model, "byte_fallback", path, e);
    if (!code) code = json_get_bool(&h->t->ignore_merges, h->model, "ignore_merges", path, e);
    return code;
}

/* The unknown token. With byte fallback no text ever becomes it. */
static int read_unknown(struct hf *h, struct err *e)
{
    struct tokenizer *t = h->t;
    const char *text = NULL;
    int code = json_get_string(&text, h->model, "unk_token", at(h, "model"), e);
    if (code || !text) return code;
    t->unk = vocab_find(&t->vocab, text, strlen(text));
    if (t->unk < 0) {
        return err_set(e, "%s.unk_token: found %s, wanted a piece of the vocabulary", h->where,
                       err_quotez(text));
    }
    if (t->kind == TOKENIZER_SPM) {
        t->vocab.pieces[t->unk].type = TOKEN_UNKNOWN;
        return 0;
    }
    for (int b = 0; b < 0xf5; b++) { /* a byte without a piece would become the unknown token */
        if (b == 0xc0 || b == 0xc1) continue; /* not in any UTF-8, as those from 0xf5 on */
        struct str s = { 0 };
        alphabet_spell(&s, &(char){ (char)b }, 1);
        code = str_error(&s, e);
        bool found = !code && vocab_find(&t->vocab, s.p, s.n) >= 0;
        str_free(&s);
        if (code) return code;
        if (found) continue;
        return err_set(e,
                       "%s.unk_token: found %s and no piece for byte 0x%02x, wanted all 256 "
                       "bytes or no unknown token",
                       h->where, err_quotez(text), (unsigned)b);
    }
    return 0;
}

static int read_root(struct hf *h, const json_t *root, bool *refused, struct err *e)
{
    h->model = json_object_get(root, "model");
    h->added = json_object_get(root, "added_tokens");
    if (!h->model && json_is_array(json_object_get(root, "vocab")) &&
        json_is_object(json_object_get(root, "config"))) {
        return err_set(e,
                       "%s: found Mistral's tekken.json, which is not supported, wanted a "
                       "SentencePiece model or a tokenizer.json; use the tokenizer.json of the "
                       "Hugging Face release",
                       h->path);
    }
    if (!json_is_object(h->model)) {
        return err_set(e, "%s: model: found %s, wanted an object", h->path, json_kind(h->model));
    }
    if (h->added && !json_is_null(h->added) && !json_is_array(h->added)) {
        return err_set(e, "%s: added_tokens: found %s, wanted an array", h->path,
                       json_kind(h->added));
    }
    int code = check_model(h, e);
    if (!code) code = hf_read_shape(h->t, root, h->path, e);
    *refused = code != 0;
    if (!code) code = read_pieces(h, e);
    if (!code) code = read_merges(h, e);
    if (!code) code = read_unknown(h, e);
    return code ? code : hf_read_post(h->t, root, h->path, e);
}

int hf_read(struct tokenizer *t, const char *path, bool *refused, struct err *e)
{
    *refused = false;
    json_t *root = json_read_dense(path, FILE_MOST, TREE_TIMES, e);
    if (!root) return e->code;
    struct hf h = { .t = t, .path = path };
    int code = read_root(&h, root, refused, e);
    json_decref(root);
    return code;
}
