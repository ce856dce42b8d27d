/* The parts around the model in a tokenizer.json: normaliser, pre-tokeniser, decoder,
 * post-processor. Only the shapes that Llama models come with are known. Everything else is refused
 * by name, because skipping a part would give ids that are nearly right.
 *
 *   SentencePiece-style   normalizer [Prepend U+2581,] Replace " " by U+2581; no pre_tokenizer
 *                         or no normalizer; pre_tokenizer Metaspace
 *   GPT-2                 pre_tokenizer ByteLevel with its regex
 *   SmolLM2               pre_tokenizer Digits, ByteLevel with its regex
 *   Llama 3, Qwen2        pre_tokenizer Split by a known regex, ByteLevel without one
 * and with the byte-level ones normalizer NFC, as Qwen2 has it, or none. */
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/tokenizer/parts.h"

/* The parts of a component, or of a Sequence of components. */
struct hf_parts {
    const char *path, *key; /* "tokenizer.json", "normalizer" */
    const json_t *one, *many;
    size_t n;
};

static int parts_of(struct hf_parts *p, const json_t *root, const char *key, const char *list,
                    const char *path, struct err *e)
{
    const json_t *v = json_object_get(root, key);
    *p = (struct hf_parts){ .path = path, .key = key };
    if (!v || json_is_null(v)) return 0;
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!type) {
        return err_set(e, "%s: %s: found %s without a type, wanted a component", path, key,
                       json_kind(v));
    }
    if (strcmp(type, "Sequence") != 0) {
        p->one = v;
        p->n = 1;
        return 0;
    }
    p->many = json_object_get(v, list);
    if (!json_is_array(p->many)) {
        return err_set(e, "%s: %s.%s: found %s, wanted an array", path, key, list,
                       json_kind(p->many));
    }
    p->n = json_array_size(p->many);
    return 0;
}

static const json_t *part(const struct hf_parts *p, size_t i)
{
    if (i >= p->n) return NULL;
    return p->one ? p->one : json_array_get(p->many, i);
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    return type ? type : "";
}

static bool is(const struct hf_parts *p, size_t i, const char *type)
{
    return i < p->n && strcmp(type_of(part(p, i)), type) == 0;
}

static bool has_text(const json_t *o, const char *key, const char *want)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) && json_string_length(v) == strlen(want) &&
           strcmp(json_string_value(v), want) == 0;
}

static int unknown_part(const struct hf_parts *p, size_t i, const char *wanted, struct err *e)
{
    const json_t *o = part(p, i);
    return err_set(e, "%s: %s: found %s, wanted %s", p->path, p->key,
                   o ? err_quotez(type_of(o)) : "nothing", wanted);
}

/* ---- SentencePiece-style --------------------------------------------------------------------- */

/* Replace { pattern: { String: from }, content: to } */
static bool is_replace(const json_t *o, const char *from, const char *to)
{
    return strcmp(type_of(o), "Replace") == 0 && has_text(o, "content", to) &&
           has_text(json_object_get(o, "pattern"), "String", from);
}

static int read_normalizer(struct tokenizer *t, const struct hf_parts *p, struct err *e)
{
    size_t i = 0;
    t->prefix = PREFIX_NONE;
    if (is(p, 0, "Prepend") && has_text(part(p, 0), "prepend", META_SPACE)) {
        t->prefix = PREFIX_EACH;
        i++;
    }
    if (i + 1 != p->n || !is_replace(part(p, i), " ", META_SPACE)) {
        return unknown_part(p, i < p->n && is_replace(part(p, i), " ", META_SPACE) ? i + 1 : i,
                            "Llama 2's: Prepend U+2581 and Replace \" \" with U+2581", e);
    }
    t->normalizer = true;
    return 0;
}

static int read_metaspace(struct tokenizer *t, const struct hf_parts *p, struct err *e)
{
    static const struct {
        const char *name;
        enum prefix prefix;
    } schemes[] = { { "always", PREFIX_EACH },
                    { "first", PREFIX_FIRST },
                    { "never", PREFIX_NONE } };
    const json_t *o = part(p, 0);
    const char *scheme = "always";
    char where[PATH_BYTES + 64];
    snprintf(where, sizeof where, "%s: %s", p->path, p->key);
    bool add = true, split = true;
    int code = json_get_string(&scheme, o, "prepend_scheme", where, e);
    if (!code) code = json_get_bool(&add, o, "add_prefix_space", where, e);
    if (!code) code = json_get_bool(&split, o, "split", where, e);
    if (code) return code;
    if (!has_text(o, "replacement", META_SPACE)) {
        return err_set(e, "%s.replacement: found another one, wanted U+2581", where);
    }
    size_t i = 0;
    while (i < 3 && strcmp(scheme, schemes[i].name) != 0) i++;
    if (i == 3 || (!add && schemes[i].prefix != PREFIX_NONE)) {
        return err_set(e, "%s.prepend_scheme: found %s%s, wanted always, first or never", where,
                       err_quotez(scheme), add ? "" : " with add_prefix_space false");
    }
    t->prefix = schemes[i].prefix;
    t->prefix_unless_space = true;
    t->split_words = split;
    return 0;
}

static int check_spm_decoder(const json_t *root, const char *path, struct err *e)
{
    static const char *const known[] = { "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace" };
    struct hf_parts p;
    int code = parts_of(&p, root, "decoder", "decoders", path, e);
    for (size_t i = 0; !code && i < p.n; i++) {
        size_t k = 0;
        while (k < 5 && !is(&p, i, known[k])) k++;
        if (k == 5) code = unknown_part(&p, i, "Replace, ByteFallback, Fuse, Strip", e);
    }
    return code;
}

static int read_spm(struct tokenizer *t, const struct hf_parts *normalizer,
                    const struct hf_parts *pre, const json_t *root, struct err *e)
{
    int code;
    if (normalizer->n && pre->n) {
        return unknown_part(pre, 0, "none after a normaliser", e);
    }
    if (normalizer->n) {
        code = read_normalizer(t, normalizer, e);
    } else if (is(pre, 0, "Metaspace") && pre->n == 1) {
        code = read_metaspace(t, pre, e);
    } else {
        return unknown_part(
            pre, 0, "Metaspace, or ByteLevel as GPT-2, SmolLM2, Llama 3 and Qwen2 have it", e);
    }
    if (code) return code;
    if (!t->byte_fallback) {
        return err_set(e,
                       "%s: model.byte_fallback: found false, wanted true with a "
                       "SentencePiece-style tokenizer",
                       pre->path);
    }
    if (t->ignore_merges) {
        return err_set(e,
                       "%s: model.ignore_merges: found true, wanted false with a "
                       "SentencePiece-style tokenizer",
                       pre->path);
    }
    return check_spm_decoder(root, pre->path, e);
}

/* ---- byte-level ------------------------------------------------------------------------------ */

static int read_split(struct tokenizer *t, const struct hf_parts *p, const json_t *o, struct err *e)
{
    const json_t *regex = json_object_get(json_object_get(o, "pattern"), "Regex");
    const char *text = json_string_value(regex);
    bool plain = has_text(o, "behavior", "Isolated") && !json_is_true(json_object_get(o, "invert"));
    for (size_t i = 0; text && plain && i < PRETOKENIZERS; i++) {
        if (!pretokenizers[i].regex || strcmp(text, pretokenizers[i].regex) != 0) continue;
        t->pre = (enum pretokenizer)i;
        return 0;
    }
    return err_set(e,
                   "%s: %s: found a Split by %s, wanted the pattern of Llama 3, Qwen2 or GPT-2, "
                   "Isolated",
                   p->path, p->key, text ? err_quotez(text) : "no Regex");
}

/* ByteLevel as the last part; *regex: whether it splits by GPT-2's pattern. */
static int read_byte_level(const struct hf_parts *p, const json_t *o, bool *regex, struct err *e)
{
    char where[PATH_BYTES + 64];
    snprintf(where, sizeof where, "%s: %s", p->path, p->key);
    bool prefix = true;
    *regex = true;
    int code = json_get_bool(&prefix, o, "add_prefix_space", where, e);
    if (!code) code = json_get_bool(regex, o, "use_regex", where, e);
    if (code || !prefix) return code;
    return err_set(e, "%s.add_prefix_space: found true, wanted false with ByteLevel", where);
}

static int read_byte_pre(struct tokenizer *t, const struct hf_parts *p, struct err *e)
{
    static const char wanted[] = "ByteLevel, Digits and ByteLevel, or Split and ByteLevel";
    bool regex;
    if (!is(p, p->n - 1, "ByteLevel") || p->n > 2) {
        return unknown_part(p, p->n > 2 ? 2 : p->n - 1, wanted, e);
    }
    int code = read_byte_level(p, part(p, p->n - 1), &regex, e);
    if (code) return code;
    if (p->n == 1 && regex) {
        t->pre = PRE_GPT2;
        return 0;
    }
    const json_t *first = part(p, 0);
    if (p->n == 2 && is(p, 0, "Digits") && regex &&
        json_is_true(json_object_get(first, "individual_digits"))) {
        t->pre = PRE_SMOLLM;
        return 0;
    }
    if (p->n == 2 && is(p, 0, "Split") && !regex) return read_split(t, p, first, e);
    return unknown_part(p, 0, regex ? wanted : "Split before a ByteLevel without use_regex", e);
}

static int read_byte_bpe(struct tokenizer *t, const struct hf_parts *normalizer,
                         const struct hf_parts *pre, const json_t *root, struct err *e)
{
    t->nfc = is(normalizer, 0, "NFC");
    if (normalizer->n > t->nfc) {
        return unknown_part(normalizer, t->nfc, "none or NFC with ByteLevel", e);
    }
    if (t->byte_fallback) {
        return err_set(e, "%s: model.byte_fallback: found true, wanted false with ByteLevel",
                       pre->path);
    }
    t->kind = TOKENIZER_BYTE_BPE;
    int code = read_byte_pre(t, pre, e);
    if (code) return code;
    struct hf_parts decoder;
    code = parts_of(&decoder, root, "decoder", "decoders", pre->path, e);
    if (code || decoder.n == 0 || (decoder.n == 1 && is(&decoder, 0, "ByteLevel"))) return code;
    return unknown_part(&decoder, 0, "ByteLevel", e);
}

int hf_read_shape(struct tokenizer *t, const json_t *root, const char *path, struct err *e)
{
    struct hf_parts normalizer, pre;
    int code = parts_of(&normalizer, root, "normalizer", "normalizers", path, e);
    if (!code) code = parts_of(&pre, root, "pre_tokenizer", "pretokenizers", path, e);
    if (code) return code;
    for (size_t i = 0; i < pre.n; i++) {
        if (is(&pre, i, "ByteLevel")) return read_byte_bpe(t, &normalizer, &pre, root, e);
    }
    return read_spm(t, &normalizer, &pre, root, e);
}

/* ---- post-processor -------------------------------------------------------------------------- */

/* TemplateProcessing whose single form begins with a special token: that is BOS. */
static int read_template(struct tokenizer *t, const struct hf_parts *p, const json_t *o,
                         struct err *e)
{
    const json_t *first = json_array_get(json_object_get(o, "single"), 0);
    const json_t *name = json_object_get(json_object_get(first, "SpecialToken"), "id");
    if (!json_is_string(name)) return 0;
    int32_t id = vocab_find(&t->vocab, json_string_value(name), json_string_length(name));
    if (id < 0) {
        return err_set(e, "%s: %s.single: found the special token %s, wanted one of the vocabulary",
                       p->path, p->key, err_quotez(json_string_value(name)));
    }
    t->bos = id;
    t->adds_bos = true;
    tokenizer_mark_special(t, id);
    return 0;
}

int hf_read_post(struct tokenizer *t, const json_t *root, const char *path, struct err *e)
{
    struct hf_parts p;
    int code = parts_of(&p, root, "post_processor", "processors", path, e);
    for (size_t i = 0; !code && i < p.n; i++) {
        if (is(&p, i, "TemplateProcessing")) {
            code = read_template(t, &p, part(&p, i), e);
        } else if (!is(&p, i, "ByteLevel")) {
            code = unknown_part(&p, i, "TemplateProcessing or ByteLevel", e);
        }
    }
    return code;
}
