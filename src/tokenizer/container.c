/* The kind of a tokenizer's file. Its name is only a habit (tokenizer.model may hold
 * SentencePiece's protobuf or tiktoken's ranks; tokenizer.model.v3 holds the former), so the
 * content decides. */
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/file.h"
#include "src/base/str.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

bool is_tiktoken(const uint8_t *bytes, size_t n)
{
    const uint8_t *line = n ? memchr(bytes, '\n', n < 64 ? n : 64) : NULL;
    if (!line || line == bytes) return false;
    const uint8_t *space = memchr(bytes, ' ', (size_t)(line - bytes));
    if (!space || space == bytes || space + 1 == line) return false;
    for (const uint8_t *p = bytes; p < space; p++) {
        bool base64 = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                      (*p >= 'A' && *p <= 'Z') || *p == '+' || *p == '/' || *p == '=';
        if (!base64) return false;
    }
    for (const uint8_t *p = space + 1; p < line; p++) {
        if ((*p < '0' || *p > '9') && *p != '\r') return false;
    }
    return true;
}

/* A message whose first field is a piece: field 1 holds bytes, and in them field 1 holds bytes. */
static bool is_sentencepiece(const uint8_t *p, size_t n)
{
    struct reader r = reader_of(p, n);
    if (n < 4 || reader_u8(&r) != 0x0a) return false;
    uint64_t message = reader_varint(&r);
    if (r.short_read || message > reader_left(&r) || reader_u8(&r) != 0x0a) return false;
    uint64_t text = reader_varint(&r);
    return !r.short_read && text < message;
}

/* A safetensors file begins with the length of its header, whose first byte may be any letter. */
static bool is_safetensors(const uint8_t *p, size_t n)
{
    struct reader r = reader_of(p, n);
    uint64_t header = reader_u64(&r);
    return !r.short_read && n > 8 && p[8] == '{' && header <= n - 8;
}

/* A JSON object, as a tokenizer.json is. */
static bool is_json_object(const uint8_t *p, size_t n)
{
    size_t i = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (i < n && strchr(" \t\r\n", p[i]) && p[i]) i++;
    if (i == n || p[i++] != '{') return false;
    while (i < n && strchr(" \t\r\n", p[i]) && p[i]) i++;
    return i < n && (p[i] == '"' || p[i] == '}');
}

static enum container look(const uint8_t *p, size_t n)
{
    if (n >= 4 && memcmp(p, "GGUF", 4) == 0) return CONTAINER_GGUF;
    if (is_safetensors(p, n)) return CONTAINER_UNKNOWN;
    if (is_sentencepiece(p, n) || is_tiktoken(p, n)) return CONTAINER_SPM;
    return is_json_object(p, n) ? CONTAINER_HF : CONTAINER_UNKNOWN;
}

int container_of(enum container *c, const char *path, struct err *e)
{
    struct map m;
    int code = map_open(&m, path, e);
    if (code) return code;
    *c = look(m.data, m.size);
    map_close(&m);
    if (*c != CONTAINER_UNKNOWN) return 0;
    *c = str_ends_with(path, ".gguf")   ? CONTAINER_GGUF
         : str_ends_with(path, ".json") ? CONTAINER_HF
                                        : CONTAINER_SPM; /* its reader says what is wrong */
    return 0;
}

bool tokenizer_is_file(const char *path)
{
    struct map m;
    struct err ignored;
    bool usual = str_ends_with(path, ".gguf") || str_ends_with(path, ".model") ||
                 str_ends_with(path, ".json");
    if (usual || map_open(&m, path, &ignored)) return usual;
    bool known = look(m.data, m.size) != CONTAINER_UNKNOWN;
    map_close(&m);
    return known;
}
