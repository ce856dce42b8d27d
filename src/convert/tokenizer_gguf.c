#include "src/convert/tokenizer_gguf.h"

#include <string.h>

#include "src/tokenizer/tokenizer.h"

#define KEY(name)  "tokenizer.ggml." name
#define META_SPACE "\xe2\x96\x81" /* U+2581 */

/* The text of a token in the file. llama.cpp looks for user-defined tokens in the text as it came,
 * so spaces in them stay spaces, as its converter writes them. */
static void token_text(struct str *out, const struct tokenizer *t, int32_t id)
{
    size_t n;
    const char *text = tokenizer_piece(t, id, &n);
    bool user = tokenizer_type(t, id) == TOKEN_USER && tokenizer_kind(t) == TOKENIZER_SPM;
    str_clear(out);
    str_addz(out, "");
    while (n) {
        const char *mark = user ? memmem(text, n, META_SPACE, strlen(META_SPACE)) : NULL;
        size_t to = mark ? (size_t)(mark - text) : n;
        str_add(out, text, to);
        if (mark) str_addc(out, ' ');
        if (mark) to += strlen(META_SPACE);
        text += to, n -= to;
    }
}

/* A row without a piece: [PAD330], or where a piece has that text already [PAD330_1] and so on. */
static void padding_text(struct str *out, const struct tokenizer *t, size_t row)
{
    str_clear(out);
    str_addf(out, "[PAD%zu]", row);
    for (unsigned i = 1; !out->failed && tokenizer_find_piece(t, out->p, out->n) >= 0; i++) {
        str_clear(out);
        str_addf(out, "[PAD%zu_%u]", row, i);
    }
}

static int put_tokens(struct gguf_writer *w, const struct tokenizer *t, size_t V, struct err *e)
{
    size_t size = tokenizer_size(t);
    struct str s = { 0 };
    gguf_put_array(w, KEY("tokens"), GGUF_STRING, V);
    for (size_t i = 0; i < V; i++) {
        if (i < size) {
            token_text(&s, t, (int32_t)i);
        } else {
            padding_text(&s, t, i);
        }
        gguf_item_string(w, s.failed ? "" : s.p, s.failed ? 0 : s.n);
    }
    if (tokenizer_kind(t) == TOKENIZER_SPM) {
        gguf_put_array(w, KEY("scores"), GGUF_F32, V);
        for (size_t i = 0; i < V; i++)
            gguf_item_f32(w, i < size ? tokenizer_score(t, (int32_t)i) : 0);
    }
    gguf_put_array(w, KEY("token_type"), GGUF_I32, V);
    for (size_t i = 0; i < V; i++)
        gguf_item_i32(w, i < size ? (int32_t)tokenizer_type(t, (int32_t)i) : TOKEN_UNUSED);
    int code = str_error(&s, e);
    str_free(&s);
    return code;
}

static int put_merges(struct gguf_writer *w, const struct tokenizer *t, struct err *e)
{
    struct str s = { 0 };
    size_t count = 0, n;
    int32_t left, right;
    while (tokenizer_merge(t, count, &left, &right)) count++;
    gguf_put_array(w, KEY("merges"), GGUF_STRING, count);
    for (size_t i = 0; i < count && tokenizer_merge(t, i, &left, &right); i++) {
        str_clear(&s);
        const char *piece = tokenizer_piece(t, left, &n);
        str_add(&s, piece, n);
        str_addc(&s, ' ');
        piece = tokenizer_piece(t, right, &n);
        str_add(&s, piece, n);
        gguf_item_string(w, s.failed ? "" : s.p, s.failed ? 0 : s.n);
    }
    int code = str_error(&s, e);
    str_free(&s);
    return code;
}

/* eos, then the template's own end, then other tokens that end generation: there are three places.
 * An id without a row is never generated, so it can be left out. */
static void put_stops(struct gguf_writer *w, const struct tokenizer *t, size_t V, int32_t end,
                      struct str *remarks)
{
    static const char *const keys[] = { KEY("eos_token_id"), KEY("eot_token_id"),
                                        KEY("eom_token_id") };
    enum { PLACES = sizeof keys / sizeof *keys };
    const int32_t *stops;
    int32_t chosen[PLACES];
    size_t n = tokenizer_stops(t, &stops), put = 0, lost = 0;
    for (size_t i = 0; i < n + 1; i++) {
        int32_t id = i == 0 ? tokenizer_eos(t) : i == 1 ? end : stops[i - 1];
        bool known = id < 0 || (size_t)id >= V;
        for (size_t j = 0; j < put; j++) known |= chosen[j] == id;
        if (known) continue;
        lost += put == PLACES;
        if (put < PLACES) chosen[put++] = id;
    }
    for (size_t i = 0; i < put; i++) gguf_put_u32(w, keys[i], (uint32_t)chosen[i]);
    if (!remarks || !lost) return;
    str_addf(remarks,
             "a GGUF file has places for three tokens that end an answer; %zu more are left "
             "out\n",
             lost);
}

static void put_ids(struct gguf_writer *w, const struct tokenizer *t, size_t V, int32_t end,
                    struct str *remarks)
{
    int32_t bos = tokenizer_bos(t), unk = tokenizer_unknown(t);
    if (bos >= 0) gguf_put_u32(w, KEY("bos_token_id"), (uint32_t)bos);
    put_stops(w, t, V, end, remarks);
    if (unk >= 0 && (size_t)unk < V) gguf_put_u32(w, KEY("unknown_token_id"), (uint32_t)unk);
    gguf_put_bool(w, KEY("add_bos_token"), tokenizer_adds_bos(t));
}

/* Check whether every token that is in use has a row in a model of V rows. */
static int check_rows(const struct tokenizer *t, size_t V, struct str *remarks, struct err *e)
{
    size_t size = tokenizer_size(t), n;
    if (size <= V) return 0;
    int32_t needed = tokenizer_needs(t, V);
    const char *text = tokenizer_piece(t, needed >= 0 ? needed : (int32_t)V, &n);
    if (needed >= 0) {
        return err_set(
            e,
            "the tokenizer has %zu ids, the model's vocabulary %zu, and the token %s with "
            "the id %d is in use; they do not belong together: name the model's own "
            "tokenizer with --tokenizer",
            size, V, err_quote(text, n), (int)needed);
    }
    if (remarks) {
        str_addf(remarks,
                 "%zu token%s that the model has no row for %s left out of the file, from %s "
                 "(id %zu) on\n",
                 size - V, size - V == 1 ? "" : "s", size - V == 1 ? "is" : "are",
                 err_quote(text, n), V);
    }
    return 0;
}

/* llama.cpp adds its space after every special token, or never. */
static void note_prefix(const struct tokenizer *t, struct str *remarks)
{
    bool first_only = tokenizer_adds_prefix(t) && !tokenizer_prefixes(t, 0);
    if (!remarks || !first_only) return;
    str_addz(
        remarks,
        "llama.cpp puts a space after every special token, this tokenizer only at the "
        "beginning of a text (legacy: false): served from the GGUF file, a chat gives other ids "
        "than in training; serve the Hugging Face directory where that matters\n");
}

/* llama.cpp does not normalise texts. */
static void note_normalizer(const struct tokenizer *t, struct str *remarks)
{
    if (!remarks || !tokenizer_normalizes(t)) return;
    str_addz(remarks,
             "llama.cpp does not bring texts into Unicode's NFC, this tokenizer does: served from "
             "the GGUF file, texts with decomposed characters give other ids than in training\n");
}

int gguf_put_tokenizer(struct gguf_writer *w, const struct tokenizer *t, size_t V, const char *chat,
                       int32_t end, struct str *remarks, struct err *e)
{
    bool spm = tokenizer_kind(t) == TOKENIZER_SPM;
    const char *name = tokenizer_pre_name(t);
    int code = check_rows(t, V, remarks, e);
    if (!code && spm && !tokenizer_scores_fit(t)) {
        code = err_set(e,
                       "%s: its merges give ids that the scores of a GGUF file cannot express; "
                       "write a Hugging Face directory instead",
                       tokenizer_path(t));
    }
    if (code) return code;
    gguf_put_string(w, KEY("model"), spm ? "llama" : "gpt2", spm ? 5 : 4);
    gguf_put_string(w, KEY("pre"), name, strlen(name));
    code = put_tokens(w, t, V, e);
    if (!code && !spm) code = put_merges(w, t, e);
    if (code) return code;
    put_ids(w, t, V, end, remarks);
    if (spm) gguf_put_bool(w, KEY("add_space_prefix"), tokenizer_adds_prefix(t));
    if (spm) note_prefix(t, remarks);
    note_normalizer(t, remarks);
    if (chat) gguf_put_string(w, "tokenizer.chat_template", chat, strlen(chat));
    return 0;
}

int gguf_check_tokenizer(const char *path, const struct tokenizer *t, size_t V, struct err *e)
{
    struct tokenizer *back;
    int code = tokenizer_open(&back, path, e);
    if (code) return code;
    int32_t eos = tokenizer_eos(t);
    if (tokenizer_size(back) != V || tokenizer_bos(back) != tokenizer_bos(t) ||
        tokenizer_eos(back) != eos) {
        code = err_set(e, "%s: found %zu tokens, bos %d and eos %d, wanted %zu, %d and %d", path,
                       tokenizer_size(back), (int)tokenizer_bos(back), (int)tokenizer_eos(back), V,
                       (int)tokenizer_bos(t), (int)eos);
    }
    tokenizer_free(back);
    return code;
}
