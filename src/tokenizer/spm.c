/* SentencePiece's tokenizer.model: a protobuf message.
 * Source: https://github.com/google/sentencepiece, src/sentencepiece_model.proto; the meaning of
 * the fields is from sentencepiece_processor.cc, model_interface.cc and normalizer.cc.
 *
 * It reads only BPE with the identity normaliser. Messages that occur twice are merged and unknown
 * fields are skipped, as in protobuf. */
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/tokenizer/parts.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

struct field {
    uint64_t number;
    enum wire wire;
    uint64_t value;       /* varint and fixed */
    const uint8_t *bytes; /* length-delimited */
    size_t n;
    size_t at; /* in the file */
};

struct text_span {
    const uint8_t *bytes;
    size_t n;
};

struct spm {
    struct tokenizer *t;
    const char *path;
    const uint8_t *start; /* of the file */
    uint64_t model_type;
    bool byte_fallback, as_suffix;
    bool dummy_prefix, remove_extra, escape;
    size_t charsmap, denormalizer; /* bytes of compiled rules */
    struct text_span bos, eos;
};

static const char *wire_name(unsigned wire)
{
    static const char *const names[] = { "an integer",         "8 bytes",
                                         "a length and bytes", "a group",
                                         "the end of a group", "4 bytes" };
    return wire < sizeof names / sizeof names[0] ? names[wire] : "an unknown wire type";
}

static int damaged(const struct spm *s, size_t at, struct err *e)
{
    return err_set(e,
                   "%s: byte %zu: found a field that the file does not hold or that is not "
                   "protobuf, wanted a SentencePiece model: damaged, or a download that was cut "
                   "off",
                   s->path, at);
}

/* Read the next field of a message; *more is false at its end. */
static int next_field(struct spm *s, struct reader *r, struct field *f, bool *more, struct err *e)
{
    *more = reader_left(r) > 0;
    if (!*more) return 0;
    f->at = (size_t)(r->data - s->start) + r->at;
    uint64_t tag = reader_varint(r);
    f->number = tag >> 3;
    f->wire = tag & 7;
    switch (f->wire) {
    case WIRE_VARINT:
        f->value = reader_varint(r);
        break;
    case WIRE_64:
        f->value = reader_u64(r);
        break;
    case WIRE_32:
        f->value = reader_u32(r);
        break;
    case WIRE_BYTES:
        f->n = (size_t)reader_varint(r);
        f->bytes = reader_take(r, f->n);
        break;
    default:
        r->short_read = true;
    }
    return r->short_read || f->number == 0 ? damaged(s, f->at, e) : 0;
}

static int want_wire(const struct spm *s, const struct field *f, enum wire wire, const char *name,
                     struct err *e)
{
    if (f->wire == wire) return 0;
    return err_set(e, "%s: byte %zu: %s: found %s, wanted %s", s->path, f->at, name,
                   wire_name(f->wire), wire_name(wire));
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static int add_piece(struct spm *s, const struct text_span *text, float score, uint64_t type,
                     size_t at, struct err *e)
{
    struct tokenizer *t = s->t;
    if (text->n == 0) {
        return err_set(e, "%s: byte %zu: piece %zu: found no text, wanted at least one byte",
                       s->path, at, t->vocab.n);
    }
    if (type < TOKEN_NORMAL || type > TOKEN_BYTE) {
        return err_set(e, "%s: byte %zu: piece %zu: found type %llu, wanted 1 to 6", s->path, at,
                       t->vocab.n, (unsigned long long)type);
    }
    if (type == TOKEN_UNKNOWN) {
        if (t->unk >= 0) {
            return err_set(e, "%s: byte %zu: piece %zu: found a second unknown piece, wanted one",
                           s->path, at, t->vocab.n);
        }
        t->unk = (int32_t)t->vocab.n;
    }
    return vocab_add(&t->vocab, (const char *)text->bytes, text->n, score, (enum token_type)type,
                     s->path, e);
}

static int read_piece(struct spm *s, const struct field *message, struct err *e)
{
    struct reader r = reader_of(message->bytes, message->n);
    struct text_span text = { 0 };
    uint64_t type = TOKEN_NORMAL;
    float score = 0;
    struct field f;
    bool more;
    int code;
    while (!(code = next_field(s, &r, &f, &more, e)) && more) {
        if (f.number == 1) {
            code = want_wire(s, &f, WIRE_BYTES, "piece", e);
            text = (struct text_span){ f.bytes, f.n };
        } else if (f.number == 2) {
            code = want_wire(s, &f, WIRE_32, "score", e);
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
        } else if (f.number == 3) {
            code = want_wire(s, &f, WIRE_VARINT, "type", e);
            type = f.value;
        }
        if (code) return code;
    }
    return code ? code : add_piece(s, &text, score, type, message->at, e);
}

/* ---- trainer and normaliser ------------------------------------------------------------------ */

static int read_trainer(struct spm *s, const struct field *message, struct err *e)
{
    struct reader r = reader_of(message->bytes, message->n);
    struct field f;
    bool more;
    int code;
    while (!(code = next_field(s, &r, &f, &more, e)) && more) {
        switch (f.number) {
        case 3:
            code = want_wire(s, &f, WIRE_VARINT, "model_type", e);
            s->model_type = f.value;
            break;
        case 24:
            code = want_wire(s, &f, WIRE_VARINT, "treat_whitespace_as_suffix", e);
            s->as_suffix = f.value != 0;
            break;
        case 35:
            code = want_wire(s, &f, WIRE_VARINT, "byte_fallback", e);
            s->byte_fallback = f.value != 0;
            break;
        case 46:
            code = want_wire(s, &f, WIRE_BYTES, "bos_piece", e);
            s->bos = (struct text_span){ f.bytes, f.n };
            break;
        case 47:
            code = want_wire(s, &f, WIRE_BYTES, "eos_piece", e);
            s->eos = (struct text_span){ f.bytes, f.n };
            break;
        }
        if (code) return code;
    }
    return code;
}

/* *charsmap += the bytes of compiled normalisation rules. */
static int read_normalizer(struct spm *s, const struct field *message, bool own, struct err *e)
{
    struct reader r = reader_of(message->bytes, message->n);
    struct field f;
    bool more;
    int code;
    while (!(code = next_field(s, &r, &f, &more, e)) && more) {
        bool *flag = f.number == 3   ? &s->dummy_prefix
                     : f.number == 4 ? &s->remove_extra
                     : f.number == 5 ? &s->escape
                                     : NULL;
        if (f.number == 2) {
            code = want_wire(s, &f, WIRE_BYTES, "precompiled_charsmap", e);
            *(own ? &s->charsmap : &s->denormalizer) = f.n;
        } else if (flag && own) {
            code = want_wire(s, &f, WIRE_VARINT, "normalizer_spec", e);
            *flag = f.value != 0;
        }
        if (code) return code;
    }
    return code;
}

static int refuse_unsupported(const struct spm *s, struct err *e)
{
    static const char *const names[] = { "UNIGRAM", "BPE", "WORD", "CHAR" };
    const char *why = NULL;
    if (s->model_type != MODEL_BPE) {
        bool known = s->model_type >= 1 && s->model_type <= 4;
        return err_set(e,
                       "%s: trainer_spec.model_type: found %s, wanted BPE, which is what Llama "
                       "models use",
                       s->path, known ? names[s->model_type - 1] : "an unknown type");
    }
    if (s->charsmap || s->denormalizer) {
        why = "normalizer_spec.precompiled_charsmap: found normalisation rules, wanted the "
              "identity normaliser";
    } else if (!s->escape) {
        why = "normalizer_spec.escape_whitespaces: found false, wanted true";
    } else if (s->as_suffix) {
        why = "trainer_spec.treat_whitespace_as_suffix: found true, wanted false";
    }
    return why ? err_set(e, "%s: %s", s->path, why) : 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* The piece of that name, if it is a control piece. */
static int32_t control_piece(const struct tokenizer *t, const struct text_span *name,
                             const char *usual)
{
    const char *text = name->bytes ? (const char *)name->bytes : usual;
    int32_t id = vocab_find(&t->vocab, text, name->bytes ? name->n : strlen(usual));
    return id >= 0 && t->vocab.pieces[id].type == TOKEN_CONTROL ? id : -1;
}

static int finish(struct spm *s, struct err *e)
{
    struct tokenizer *t = s->t;
    if (t->vocab.n == 0) {
        return err_set(e, "%s: found no pieces, wanted a SentencePiece model", s->path);
    }
    int code = refuse_unsupported(s, e);
    if (code) return code;
    if (t->unk < 0) {
        return err_set(e, "%s: found %zu pieces, none of type UNKNOWN, wanted one", s->path,
                       t->vocab.n);
    }
    t->kind = TOKENIZER_SPM;
    t->by_score = true;
    t->byte_fallback = s->byte_fallback;
    t->prefix = s->dummy_prefix ? PREFIX_EACH : PREFIX_NONE;
    t->trim = s->remove_extra;
    t->bos = control_piece(t, &s->bos, "<s>");
    t->adds_bos = t->bos >= 0;
    int32_t eos = control_piece(t, &s->eos, "</s>");
    return eos >= 0 ? tokenizer_add_stop(t, eos, e) : 0;
}

static int read_model(struct spm *s, struct reader *r, struct err *e)
{
    struct field f;
    bool more;
    int code;
    while (!(code = next_field(s, r, &f, &more, e)) && more) {
        if (f.number < 1 || f.number > 5 || f.number == 4) continue;
        code = want_wire(s, &f, WIRE_BYTES, "a part of the model", e);
        if (code) return code;
        if (f.number == 1) code = read_piece(s, &f, e);
        if (f.number == 2) code = read_trainer(s, &f, e);
        if (f.number == 3 || f.number == 5) code = read_normalizer(s, &f, f.number == 3, e);
        if (code) return code;
    }
    return code ? code : finish(s, e);
}

int spm_read(struct tokenizer *t, const char *path, struct err *e)
{
    struct map m;
    int code = map_open(&m, path, e);
    if (code) return code;
    struct spm s = { .t = t,
                     .path = path,
                     .start = m.data,
                     .model_type = MODEL_UNIGRAM,
                     .dummy_prefix = true,
                     .remove_extra = true,
                     .escape = true };
    struct reader r = reader_of(m.data, m.size);
    if (is_lfs_pointer(m.data, m.size)) {
        code = lfs_refuse(path, e);
    } else if (is_tiktoken(m.data, m.size)) {
        code = err_set(e,
                       "%s: found tiktoken's format (Llama 3 as Meta publishes it), wanted a "
                       "SentencePiece model; use the tokenizer.json of the Hugging Face "
                       "release",
                       path);
    } else {
        code = read_model(&s, &r, e);
    }
    map_close(&m);
    return code;
}
