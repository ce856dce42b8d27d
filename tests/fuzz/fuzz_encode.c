/* Texts through valid tokenizers of both kinds: byte-level ids give back exactly the text, or its
 * NFC by Qwen2's. The first byte of the input says which tokenizer. */
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "tests/fuzz/tokenize.h"

static void add_piece(struct str *s, const char *text, size_t n, int id)
{
    if (id) str_addc(s, ',');
    json_add_string(s, text, n);
    str_addf(s, ":%d", id);
}

static const char *const merges[] = { "a a", "aa aa", "h e", "l l", "he ll", "hell o" };
enum { MERGES = sizeof merges / sizeof *merges };

static void add_merges(struct str *s, int *id)
{
    for (size_t i = 0; i < MERGES; i++) {
        char joined[32];
        int left = (int)strcspn(merges[i], " ");
        snprintf(joined, sizeof joined, "%.*s%s", left, merges[i], merges[i] + left + 1);
        add_piece(s, joined, strlen(joined), (*id)++);
    }
    str_addz(s, "},\"merges\":[");
    for (size_t i = 0; i < MERGES; i++) str_addf(s, "%s\"%s\"", i ? "," : "", merges[i]);
    str_addz(s, "]}");
}

/* GPT-2's spelling of a byte: itself where it is printable, else from U+0100 on. */
static size_t spell(char out[4], int byte, int *next)
{
    bool plain = (byte > 32 && byte < 127) || (byte >= 161 && byte != 173);
    int c = plain ? byte : 256 + (*next)++;
    if (c < 128) return (out[0] = (char)c), 1;
    out[0] = (char)(0xc0 | (c >> 6));
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

static void byte_level(struct str *s, const char *pre, bool nfc)
{
    int id = 0, next = 0;
    str_addf(s, "{%s\"pre_tokenizer\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{",
             nfc ? "\"normalizer\":{\"type\":\"NFC\"}," : "", pre);
    for (int b = 0; b < 256; b++) {
        char text[4];
        size_t n = spell(text, b, &next);
        add_piece(s, text, n, id++);
    }
    add_merges(s, &id);
    str_addc(s, '}');
}

static void spm_style(struct str *s)
{
    int id = 0;
    str_addz(s, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
                "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\","
                "\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\"model\":{"
                "\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{");
    add_piece(s, "<unk>", 5, id++);
    for (int b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        add_piece(s, text, 6, id++);
    }
    add_piece(s, "\xe2\x96\x81", 3, id++);
    for (char c = 'a'; c <= 'z'; c++) add_piece(s, &c, 1, id++);
    add_merges(s, &id);
    str_addc(s, '}');
}

static struct tokenizer *open_made(struct str *s)
{
    struct tokenizer *t;
    struct err e;
    const char *path = fuzz_put("tokenizer.json", s->p, s->n);
    if (tokenizer_open(&t, path, &e)) check_failed(e.msg, __FILE__, __LINE__);
    str_free(s);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
#define SPLIT(number)                                                                              \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" number "| "          \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"       \
    "\"behavior\":\"Isolated\",\"invert\":false},"                                                 \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
    static const char *const pres[] = {
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}"
        ","
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]}",
        SPLIT("\\\\p{N}{1,3}"),
        SPLIT("\\\\p{N}"),
    };
    enum { PRES = sizeof pres / sizeof *pres, QWEN2 = PRES - 1 };
    static struct tokenizer *made[PRES + 1];
    for (size_t i = 0; i <= PRES && !made[i]; i++) {
        struct str s = { 0 };
        if (i < PRES)
            byte_level(&s, pres[i], i == QWEN2);
        else
            spm_style(&s);
        made[i] = open_made(&s);
    }
    if (n == 0) return 0;
    size_t which = data[0] % (PRES + 1);
    fuzz_encode(made[which], (const char *)data + 1, n - 1, which < QWEN2);
    return 0;
}
