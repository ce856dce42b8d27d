/* The tokenizer inside a GGUF file: "llama" (SentencePiece-style, by score) and "gpt2" (byte-level,
 * by merges). Keys and defaults: gguf-py/gguf/constants.py and src/llama-vocab.cpp of llama.cpp. */
#include <inttypes.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/formats/gguf.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

#define NO_TOKEN ((size_t)UINT32_MAX) /* converters write "none" like this */

static bool same(const char *text, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* A numeric array with one item for each piece. */
static int per_piece(struct reader *r, const struct gguf *g, const char *key, enum gguf_type item,
                     uint64_t pieces, struct err *e)
{
    const uint8_t *raw;
    uint64_t n;
    int code = gguf_numbers(&raw, &n, g, key, item, e);
    if (code) return code;
    if (n != pieces) {
        return err_set(e,
                       "%s: key %s: found %" PRIu64 " items, wanted %" PRIu64 ", one for each "
                       "of " KEY("tokens"),
                       g->path, key, n, pieces);
    }
    *r = reader_of(raw, (size_t)n * 4);
    return 0;
}

static int add_piece(struct tokenizer *t, const struct gguf *g, const char *text, size_t n,
                     float score, uint32_t type, struct err *e)
{
    size_t id = t->vocab.n;
    if (type < TOKEN_NORMAL || type > TOKEN_BYTE) {
        return err_set(e,
                       "%s: key " KEY("token_type") ": found type %" PRIu32 " of token %zu, "
                                                    "wanted 1 to 6",
                       g->path, type, id);
    }
    if (type == TOKEN_UNKNOWN && t->unk >= 0) type = TOKEN_CONTROL; /* one is enough */
    if (type == TOKEN_UNKNOWN) t->unk = (int32_t)id;
    int code = vocab_add(&t->vocab, text, n, score, (enum token_type)type, g->path, e);
    if (code) return code;
    if (type == TOKEN_BYTE) t->byte_fallback = true;
    /* llama.cpp cuts user-defined tokens out of the raw text, and puts a space before the text that
     * follows each (tokenizer_st_partition, is_prev_special) */
    t->vocab.pieces[id].search = SEARCH_RAW;
    return 0;
}

static int read_pieces(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    struct gguf_strings it;
    struct reader types, scores = { 0 };
    uint64_t n;
    int code = gguf_strings(&it, &n, g, KEY("tokens"), e);
    if (!code) code = per_piece(&types, g, KEY("token_type"), GGUF_I32, n, e);
    if (!code && t->by_score) code = per_piece(&scores, g, KEY("scores"), GGUF_F32, n, e);
    const char *text;
    size_t bytes;
    while (!code && gguf_strings_next(&it, &text, &bytes)) {
        float score = t->by_score ? reader_f32(&scores) : 0;
        code = add_piece(t, g, text, bytes, score, reader_u32(&types), e);
    }
    return code;
}

static int read_merges(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    struct gguf_strings it;
    uint64_t count;
    int code = gguf_strings(&it, &count, g, KEY("merges"), e);
    const char *text;
    size_t n;
    while (!code && gguf_strings_next(&it, &text, &n)) {
        const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
        size_t left_n = space ? (size_t)(space - text) : 0;
        int32_t left = space ? vocab_find(&t->vocab, text, left_n) : -1;
        int32_t right = space ? vocab_find(&t->vocab, space + 1, n - left_n - 1) : -1;
        if (left < 0 || right < 0) {
            return err_set(e,
                           "%s: key " KEY("merges") ": merge %zu: found %s, wanted two pieces "
                                                    "of the vocabulary with a space between them",
                           g->path, t->n_merges, err_quote(text, n));
        }
        code = tokenizer_add_merge(t, left, right, g->path, e);
    }
    return code;
}

/* ---- special ids ----------------------------------------------------------------------------- */

/* *id stays when the key is absent or says "none". */
static int read_id(int32_t *id, struct tokenizer *t, const struct gguf *g, const char *key,
                   struct err *e)
{
    size_t v = NO_TOKEN;
    int code = gguf_get_size(&v, g, key, false, e);
    if (code || v == NO_TOKEN) return code;
    if (v >= t->vocab.n) {
        return err_set(e,
                       "%s: key %s: found the id %zu, wanted one below the %zu tokens, or "
                       "4294967295 for none",
                       g->path, key, v, t->vocab.n);
    }
    *id = (int32_t)v;
    tokenizer_mark_special(t, *id);
    return 0;
}

static int read_stop(struct tokenizer *t, const struct gguf *g, const char *key, struct err *e)
{
    int32_t id = -1;
    int code = read_id(&id, t, g, key, e);
    return code || id < 0 ? code : tokenizer_add_stop(t, id, e);
}

/* The unknown piece is the piece of that type, or else the one that the file names. */
static int read_unknown(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    int32_t id = -1;
    int code = read_id(&id, t, g, KEY("unknown_token_id"), e);
    if (code || id < 0 || t->unk >= 0) return code;
    t->unk = id;
    bool ends = id == t->bos || tokenizer_is_eos(t, id);
    if (t->kind == TOKENIZER_SPM && !ends) t->vocab.pieces[id].type = TOKEN_UNKNOWN;
    return 0;
}

static int read_special(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    int code = read_id(&t->bos, t, g, KEY("bos_token_id"), e);
    if (!code) code = read_stop(t, g, KEY("eos_token_id"), e);
    if (!code) code = read_stop(t, g, KEY("eot_token_id"), e);
    if (!code) code = read_stop(t, g, KEY("eom_token_id"), e);
    if (!code) code = read_unknown(t, g, e);
    if (!code) code = gguf_get_bool(&t->adds_bos, g, KEY("add_bos_token"), false, e);
    const char *text = NULL;
    size_t n, bad;
    if (!code) code = gguf_get_string(&text, &n, g, "tokenizer.chat_template", false, e);
    if (code || !text) return code;
    if (!utf8_valid(text, n, &bad) || memchr(text, 0, n)) {
        return err_set(e,
                       "%s: key tokenizer.chat_template: found bytes that are not text, wanted "
                       "UTF-8 without NUL",
                       g->path);
    }
    t->chat_template = mem_strndup(text, n, e);
    return t->chat_template ? 0 : e->code;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static int read_llama(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    bool prefix = true;
    const struct gguf_kv *charsmap = gguf_key(g, KEY("precompiled_charsmap"));
    if (charsmap && charsmap->n) {
        return err_set(e,
                       "%s: key " KEY("precompiled_charsmap") ": found normalisation rules, "
                                                              "wanted the identity normaliser",
                       g->path);
    }
    t->kind = TOKENIZER_SPM;
    t->by_score = t->adds_bos = true;
    int code = gguf_get_bool(&prefix, g, KEY("add_space_prefix"), false, e);
    if (!code) code = gguf_get_bool(&t->trim, g, KEY("remove_extra_whitespaces"), false, e);
    t->prefix = prefix ? PREFIX_EACH : PREFIX_NONE;
    return code ? code : read_pieces(t, g, e);
}

/* The pre-tokeniser by llama.cpp's name. "default" is refused: llama.cpp itself warns that it is a
 * guess. */
static int read_pre(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    const char *text = NULL;
    size_t n = 0;
    struct str known = { 0 };
    int code = gguf_get_string(&text, &n, g, KEY("pre"), false, e);
    for (int i = PRE_NONE + 1; !code && i < PRETOKENIZERS; i++) {
        for (const char *const *name = pretokenizers[i].names; *name; name++) {
            if (text && same(text, n, *name)) {
                t->pre = (enum pretokenizer)i;
                str_free(&known);
                return 0;
            }
            str_addf(&known, "%s%s", known.n ? ", " : "", *name);
        }
    }
    if (!code) code = str_error(&known, e);
    if (!code) {
        code = err_set(e,
                       "%s: key " KEY("pre") ": found %s, wanted one of %s; give the model's "
                                             "tokenizer.json instead",
                       g->path, text ? err_quote(text, n) : "nothing", known.p);
    }
    str_free(&known);
    return code;
}

static int read_gpt2(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    int code = read_pre(t, g, e);
    if (code) return code;
    t->kind = TOKENIZER_BYTE_BPE;
    t->ignore_merges = pretokenizers[t->pre].ignore_merges;
    t->adds_bos = pretokenizers[t->pre].adds_bos;
    bool prefix = false;
    code = gguf_get_bool(&prefix, g, KEY("add_space_prefix"), false, e);
    if (!code && prefix) {
        code = err_set(e,
                       "%s: key " KEY("add_space_prefix") ": found true, wanted false with a "
                                                          "gpt2 tokenizer",
                       g->path);
    }
    if (!code) code = read_pieces(t, g, e);
    return code ? code : read_merges(t, g, e);
}

static int read_kind(struct tokenizer *t, const struct gguf *g, bool *absent, struct err *e)
{
    const char *text = NULL;
    size_t n = 0;
    int code = gguf_get_string(&text, &n, g, KEY("model"), false, e);
    if (code) return code;
    *absent = !text;
    if (!text) {
        return err_set(e,
                       "%s: key " KEY("model") ": found nothing, wanted a tokenizer; name one "
                                               "with --tokenizer or model.tokenizer",
                       g->path);
    }
    if (same(text, n, "llama")) {
        code = read_llama(t, g, e);
    } else if (same(text, n, "gpt2")) {
        code = read_gpt2(t, g, e);
    } else {
        code = err_set(e,
                       "%s: key " KEY("model") ": found %s, wanted llama (SentencePiece BPE) or "
                                               "gpt2 (byte-level BPE)",
                       g->path, err_quote(text, n));
    }
    return code ? code : read_special(t, g, e);
}

int gguf_vocab_read(struct tokenizer *t, const char *path, bool *absent, struct err *e)
{
    struct gguf g;
    *absent = false;
    int code = gguf_open(&g, path, e);
    if (code) return code;
    code = read_kind(t, &g, absent, e);
    gguf_close(&g);
    return code;
}
