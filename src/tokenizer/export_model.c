/* SentencePiece's protobuf, with the fields that spm.c reads and that SentencePiece itself needs.
 * Source: https://github.com/google/sentencepiece, src/sentencepiece_model.proto. */
#include <string.h>

#include "src/tokenizer/export.h"

enum { MODEL_BPE = 2 };

static void put_varint(struct str *out, uint64_t v)
{
    while (v >= 0x80) {
        str_addc(out, (char)(v | 0x80));
        v >>= 7;
    }
    str_addc(out, (char)v);
}

static void put_int(struct str *out, unsigned field, int64_t v)
{
    put_varint(out, field << 3);
    put_varint(out, (uint64_t)v); /* negative numbers as their 64 bits */
}

static void put_bytes(struct str *out, unsigned field, const char *bytes, size_t n)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, n);
    str_add(out, bytes, n);
}

static void put_float(struct str *out, unsigned field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_varint(out, field << 3 | 5);
    for (unsigned i = 0; i < 4; i++) str_addc(out, (char)(bits >> 8 * i));
}

static void put_piece(struct str *out, struct str *scratch, const struct tokenizer *t, int32_t id)
{
    char buffer[32];
    size_t n;
    const char *text = export_text(buffer, t, id, &n);
    enum token_type type = t->vocab.pieces[id].type;
    str_clear(scratch);
    for (size_t i = 0; i < n;
         i++) { /* SentencePiece looks for user-defined pieces in its spelling */
        if (type == TOKEN_USER && text[i] == ' ') {
            str_addz(scratch, META_SPACE);
        } else {
            str_addc(scratch, text[i]);
        }
    }
    struct str message = { 0 };
    put_bytes(&message, 1, scratch->p, scratch->n);
    put_float(&message, 2, t->vocab.pieces[id].score);
    if (type != TOKEN_NORMAL) put_int(&message, 3, type);
    if (message.failed || scratch->failed) out->failed = true;
    put_bytes(out, 1, message.p, message.n);
    str_free(&message);
}

static void put_named(struct str *out, const struct tokenizer *t, unsigned id_field,
                      unsigned piece_field, int32_t id)
{
    put_int(out, id_field, id);
    if (id < 0) return;
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    put_bytes(out, piece_field, text, n);
}

void export_model(struct str *out, const struct tokenizer *t)
{
    struct str part = { 0 };
    for (size_t i = 0; i < t->vocab.n; i++) put_piece(out, &part, t, (int32_t)i);

    str_clear(&part); /* trainer_spec */
    put_int(&part, 3, MODEL_BPE);
    put_int(&part, 4, (int64_t)t->vocab.n);
    put_int(&part, 35, t->byte_fallback);
    put_named(&part, t, 40, 45, t->unk);
    put_named(&part, t, 41, 46, t->bos);
    put_named(&part, t, 42, 47, t->eos);
    put_int(&part, 43, -1); /* no padding */
    put_bytes(out, 2, part.p, part.n);

    str_clear(&part); /* normalizer_spec */
    put_bytes(&part, 1, "identity", 8);
    put_int(&part, 3, t->prefix != PREFIX_NONE);
    put_int(&part, 4, t->trim);
    put_int(&part, 5, 1);
    put_bytes(out, 3, part.p, part.n);
    if (part.failed) out->failed = true;
    str_free(&part);
}
