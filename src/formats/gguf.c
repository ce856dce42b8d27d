#include "src/formats/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

enum {
    NAME_MOST = 64,     /* bytes of a tensor's name, by the specification */
    COUNT_MOST = 65536, /* keys, and tensors: far above any model's, small enough to allocate */
    RANK_MOST = 4,
    ALIGN_DEFAULT = 32,
    ALIGN_LEAST = 8, /* the specification's limit, and the need of a mapped 64-bit number */
    KV_LEAST = 8 + 1 + 4 + 1,       /* bytes of the shortest key with its value */
    INFO_LEAST = 8 + 1 + 4 + 4 + 8, /* bytes of the shortest tensor description */
};

/* ggml's tensor types by number. */
static const struct ggml_type {
    const char *name;
    uint16_t values, bytes;
    enum storage_type type;
} ggml_types[] = {
#define STORAGE(id, name, kind, ggml, ftype, safetensors, torch, values, bytes, ...)               \
    [ggml] = { #id, values, bytes, STORAGE_##id },
#define OTHER_GGML(name, number, values, bytes) [number] = { name, values, bytes, STORAGE_OTHER },
#include "kernels/storage.def"
};
enum { GGML_TYPES = sizeof ggml_types / sizeof ggml_types[0] };

/* Bytes of one metadata item; 0 for what has no fixed size. */
static const uint8_t item_bytes[] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2,    [GGUF_U32] = 4,
    [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_STRING] = 0, [GGUF_ARRAY] = 0,
    [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};
enum { GGUF_TYPES = sizeof item_bytes };

/* ---- reading --------------------------------------------------------------------------------- */

struct scan {
    struct gguf *g;
    struct reader r;
    uint64_t alignment;
    uint64_t next; /* where the next tensor must begin, counted from the start of the data */
};

static uint64_t pad_up(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

static int cut_off(const struct scan *s, const char *inside, size_t at, struct err *e)
{
    return err_set(e,
                   "%s: %s at byte %zu needs more bytes than the %zu of the file: damaged, or a "
                   "download that was cut off",
                   s->g->path, inside, at, s->r.size);
}

static int read_magic(struct scan *s, struct err *e)
{
    const struct gguf *g = s->g;
    if (is_lfs_pointer(g->map.data, g->map.size)) return lfs_refuse(g->path, e);
    const uint8_t *magic = reader_take(&s->r, 4);
    if (magic && memcmp(magic, "GGUF", 4) == 0) return 0;
    return err_set(e, "%s: not a GGUF file: found %s, wanted it to begin with \"GGUF\"", g->path,
                   err_quote((const char *)g->map.data, magic ? 4 : g->map.size));
}

static int check_version(const struct scan *s, uint32_t version, struct err *e)
{
    /* Version 2 differs from 3 only in that files are never big-endian. */
    if (version == 2 || version == 3) return 0;
    if ((version & 0xffff) == 0) {
        return err_set(e,
                       "%s: found a big-endian GGUF file, wanted a little-endian one; convert it "
                       "with gguf_convert_endian.py of llama.cpp",
                       s->g->path);
    }
    return err_set(e,
                   "%s: found GGUF version %" PRIu32 ", wanted 2 or 3; convert the model anew with "
                   "a current llama.cpp",
                   s->g->path, version);
}

static int read_counts(struct scan *s, struct err *e)
{
    struct gguf *g = s->g;
    int code = read_magic(s, e);
    if (code) return code;
    uint32_t version = reader_u32(&s->r);
    uint64_t n_tensors = reader_u64(&s->r), n_kv = reader_u64(&s->r);
    if (s->r.short_read) return cut_off(s, "the header", 4, e);
    code = check_version(s, version, e);
    if (code) return code;
    size_t left = reader_left(&s->r);
    if (n_kv > COUNT_MOST || n_kv > left / KV_LEAST) {
        return err_set(e,
                       "%s: header: found a count of %" PRIu64 " metadata keys, which %zu bytes "
                       "(and our limit of %d) cannot hold",
                       g->path, n_kv, left, COUNT_MOST);
    }
    if (n_tensors > COUNT_MOST || n_tensors > left / INFO_LEAST) {
        return err_set(e,
                       "%s: header: found a count of %" PRIu64 " tensors, which %zu bytes (and "
                       "our limit of %d) cannot hold",
                       g->path, n_tensors, left, COUNT_MOST);
    }
    g->n_kv = (size_t)n_kv;
    g->n_tensors = (size_t)n_tensors;
    return 0;
}

/* Step over an array of strings and check that every length in it stays inside the file. */
static bool strings_valid(struct reader *r, uint64_t n)
{
    for (uint64_t i = 0; i < n && !r->short_read; i++) reader_take(r, reader_u64(r));
    return !r->short_read;
}

static int read_array(struct scan *s, struct gguf_kv *kv, struct err *e)
{
    size_t at = s->r.at;
    uint32_t item = reader_u32(&s->r);
    kv->n = reader_u64(&s->r);
    if (s->r.short_read) return cut_off(s, err_quotez(kv->key), at, e);
    if (item == GGUF_ARRAY || item >= GGUF_TYPES) {
        return err_set(e,
                       "%s: key %s: found an array of %s (type %" PRIu32 ") at byte %zu, wanted "
                       "numbers, booleans or strings",
                       s->g->path, err_quotez(kv->key),
                       item == GGUF_ARRAY ? "arrays" : "an unknown type", item, at);
    }
    kv->item = (enum gguf_type)item;
    size_t least = item == GGUF_STRING ? 8 : item_bytes[item];
    size_t start = s->r.at, left = reader_left(&s->r);
    bool fits = kv->n <= left / least;
    if (fits && item == GGUF_STRING) fits = strings_valid(&s->r, kv->n);
    if (fits && item != GGUF_STRING) fits = reader_take(&s->r, kv->n * least) != NULL;
    if (!fits) {
        return err_set(e,
                       "%s: key %s: found an array of %" PRIu64 " items at byte %zu, which the "
                       "%zu bytes up to the end of the file do not hold",
                       s->g->path, err_quotez(kv->key), kv->n, at, left);
    }
    kv->raw = s->r.data + start;
    kv->raw_bytes = s->r.at - start;
    return 0;
}

static int read_value(struct scan *s, struct gguf_kv *kv, struct err *e)
{
    size_t at = s->r.at;
    uint32_t type = reader_u32(&s->r);
    if (s->r.short_read) return cut_off(s, err_quotez(kv->key), at, e);
    if (type >= GGUF_TYPES) {
        return err_set(e,
                       "%s: key %s: found unknown value type %" PRIu32 " at byte %zu, wanted 0 "
                       "to %d",
                       s->g->path, err_quotez(kv->key), type, at, GGUF_TYPES - 1);
    }
    kv->type = kv->item = (enum gguf_type)type;
    if (type == GGUF_ARRAY) return read_array(s, kv, e);
    uint64_t n = type == GGUF_STRING ? reader_u64(&s->r) : item_bytes[type];
    kv->raw = reader_take(&s->r, n);
    if (!kv->raw) return cut_off(s, err_quotez(kv->key), at, e);
    kv->n = type == GGUF_STRING ? n : 1;
    kv->raw_bytes = (size_t)n;
    return 0;
}

static int read_kv(struct scan *s, size_t i, struct err *e)
{
    struct gguf_kv *kv = &s->g->kv[i];
    size_t at = s->r.at;
    uint64_t n = reader_u64(&s->r);
    const uint8_t *key = reader_take(&s->r, n);
    if (!key) return cut_off(s, "a metadata key", at, e);
    if (n == 0 || memchr(key, 0, (size_t)n)) {
        return err_set(e, "%s: metadata key %zu at byte %zu: found %s, wanted a name", s->g->path,
                       i + 1, at, n ? err_quote((const char *)key, (size_t)n) : "no bytes");
    }
    kv->key = mem_strndup((const char *)key, (size_t)n, e);
    return kv->key ? read_value(s, kv, e) : e->code;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* An error when one of the n texts (sorted here) occurs twice. */
static int refuse_twins(const struct gguf *g, const char **texts, size_t n, const char *what,
                        struct err *e)
{
    if (n) qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(texts[i - 1], texts[i]) == 0) {
            return err_set(e, "%s: %s %s is there twice", g->path, what, err_quotez(texts[i]));
        }
    }
    return 0;
}

static int refuse_duplicates(const struct gguf *g, struct err *e)
{
    size_t most = g->n_kv > g->n_tensors ? g->n_kv : g->n_tensors;
    const char **texts = mem_alloc(most, sizeof *texts, e);
    if (!texts) return e->code;
    for (size_t i = 0; i < g->n_kv; i++) texts[i] = g->kv[i].key;
    int code = refuse_twins(g, texts, g->n_kv, "key", e);
    for (size_t i = 0; i < g->n_tensors; i++) texts[i] = g->tensors[i].name;
    if (!code) code = refuse_twins(g, texts, g->n_tensors, "tensor", e);
    mem_free(texts);
    return code;
}

static int read_alignment(struct scan *s, struct err *e)
{
    s->alignment = ALIGN_DEFAULT;
    const struct gguf_kv *kv = gguf_key(s->g, "general.alignment");
    if (!kv) return 0;
    struct reader r = reader_of(kv->raw, kv->raw_bytes);
    if (kv->type == GGUF_U32) s->alignment = reader_u32(&r);
    bool power = (s->alignment & (s->alignment - 1)) == 0;
    if (kv->type != GGUF_U32) {
        return err_set(e,
                       "%s: key \"general.alignment\": found another type, wanted a 32-bit power "
                       "of two of at least %d",
                       s->g->path, ALIGN_LEAST);
    }
    if (!power || s->alignment < ALIGN_LEAST) {
        return err_set(e,
                       "%s: key \"general.alignment\": found %zu, wanted a power of two of at "
                       "least %d",
                       s->g->path, (size_t)s->alignment, ALIGN_LEAST);
    }
    return 0;
}

static int refuse_split(const struct gguf *g, struct err *e)
{
    size_t count = 0, no = 0;
    int code = gguf_get_size(&count, g, "split.count", false, e);
    if (!code) code = gguf_get_size(&no, g, "split.no", false, e);
    if (code || count <= 1) return code;
    return err_set(e,
                   "%s: found part %zu of a model split into %zu files, wanted one file; join "
                   "them with 'llama-gguf-split --merge'",
                   g->path, no + 1, count);
}

/* The bytes of a tensor; false when no file can hold them. */
static bool tensor_bytes(struct tensor *t, const struct ggml_type *type)
{
    size_t bytes = type->bytes;
    for (unsigned i = 0; i < t->rank; i++) {
        uint64_t n = i == t->rank - 1 ? t->dims[i] / type->values : t->dims[i];
        if (!mem_mul(&bytes, bytes, n)) return false;
    }
    t->bytes = bytes;
    return true;
}

static int check_shape(const struct scan *s, struct tensor *t, const struct ggml_type *type,
                       struct err *e)
{
    for (unsigned i = 0; i < t->rank; i++) {
        if (t->dims[i] == 0) {
            return err_set(e, "%s: tensor %s: found a dimension of 0, wanted 1 or more", s->g->path,
                           err_quotez(t->name));
        }
    }
    uint64_t row = t->rank ? t->dims[t->rank - 1] : 1;
    if (row % type->values) {
        return err_set(e,
                       "%s: tensor %s: found rows of %" PRIu64 " values, wanted a multiple of "
                       "the %d of a %s block",
                       s->g->path, err_quotez(t->name), row, type->values, type->name);
    }
    if (!tensor_bytes(t, type) || t->bytes > s->r.size || s->next > s->r.size - t->bytes) {
        return err_set(e,
                       "%s: tensor %s: its shape needs more bytes than the %zu of the file: "
                       "damaged, or a download that was cut off",
                       s->g->path, err_quotez(t->name), s->r.size);
    }
    return 0;
}

static int read_name(struct scan *s, struct tensor *t, size_t i, struct err *e)
{
    size_t at = s->r.at;
    uint64_t n = reader_u64(&s->r);
    const uint8_t *text = reader_take(&s->r, n);
    if (!text) return cut_off(s, "a tensor's name", at, e);
    if (n == 0 || n > NAME_MOST || memchr(text, 0, (size_t)n)) {
        return err_set(e,
                       "%s: tensor %zu at byte %zu: found the name %s of %" PRIu64 " bytes, "
                       "wanted 1 to %d bytes without NUL",
                       s->g->path, i + 1, at, err_quote((const char *)text, (size_t)n), n,
                       NAME_MOST);
    }
    char *name = s->g->names + i * (NAME_MOST + 1);
    memcpy(name, text, (size_t)n);
    t->name = name;
    return 0;
}

static int read_info(struct scan *s, size_t i, struct err *e)
{
    struct tensor *t = &s->g->tensors[i];
    size_t at = s->r.at;
    int code = read_name(s, t, i, e);
    if (code) return code;
    t->rank = reader_u32(&s->r);
    if (!s->r.short_read && t->rank > RANK_MOST) {
        return err_set(e, "%s: tensor %s: found %u dimensions, wanted at most %d", s->g->path,
                       err_quotez(t->name), t->rank, RANK_MOST);
    }
    for (unsigned d = t->rank; d > 0; d--) t->dims[d - 1] = reader_u64(&s->r);
    uint32_t number = reader_u32(&s->r);
    uint64_t offset = reader_u64(&s->r);
    if (s->r.short_read) return cut_off(s, "a tensor description", at, e);
    if (number >= GGML_TYPES || !ggml_types[number].name) {
        return err_set(e, "%s: tensor %s: found unknown tensor type %" PRIu32, s->g->path,
                       err_quotez(t->name), number);
    }
    const struct ggml_type *type = &ggml_types[number];
    t->type = type->type;
    t->type_name = type->name;
    code = check_shape(s, t, type, e);
    if (code) return code;
    if (offset != s->next) {
        return err_set(e,
                       "%s: tensor %s: found offset %" PRIu64 ", wanted %" PRIu64 ", where the "
                       "tensor before it ends",
                       s->g->path, err_quotez(t->name), offset, s->next);
    }
    s->next = pad_up(offset + t->bytes, s->alignment);
    return 0;
}

/* Point every tensor at its bytes and compare the sum with the size of the file. */
static int place_tensors(struct scan *s, struct err *e)
{
    struct gguf *g = s->g;
    uint64_t at = s->r.at, end = at;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct tensor *t = &g->tensors[i];
        at = pad_up(end, s->alignment);
        end = at + t->bytes;
        if (end > g->map.size) {
            return err_set(e,
                           "%s: tensor %s: lies at bytes %" PRIu64 " to %" PRIu64 ", but the "
                           "file has only %zu: damaged, or a download that was cut off",
                           g->path, err_quotez(t->name), at, end, g->map.size);
        }
        t->data = g->map.data + at;
    }
    if (g->map.size > pad_up(end, s->alignment)) {
        return err_set(e,
                       "%s: found %zu bytes, wanted %" PRIu64 ": there is something after the "
                       "last tensor",
                       g->path, g->map.size, end);
    }
    return 0;
}

static int read_all(struct scan *s, struct err *e)
{
    struct gguf *g = s->g;
    int code = read_counts(s, e);
    if (code) return code;
    g->kv = mem_alloc(g->n_kv, sizeof *g->kv, e);
    g->tensors = mem_alloc(g->n_tensors, sizeof *g->tensors, e);
    g->names = mem_alloc(g->n_tensors, NAME_MOST + 1, e);
    if (!g->kv || !g->tensors || !g->names) return e->code;
    for (size_t i = 0; i < g->n_kv; i++) {
        code = read_kv(s, i, e);
        if (code) return code;
    }
    code = read_alignment(s, e);
    for (size_t i = 0; !code && i < g->n_tensors; i++) code = read_info(s, i, e);
    if (!code) code = refuse_duplicates(g, e);
    if (!code) code = refuse_split(g, e);
    return code ? code : place_tensors(s, e);
}

int gguf_open(struct gguf *g, const char *path, struct err *e)
{
    *g = (struct gguf){ 0 };
    int code = map_open(&g->map, path, e);
    if (code) return code;
    struct scan s = { .g = g, .r = reader_of(g->map.data, g->map.size) };
    g->path = mem_strdup(path, e);
    code = g->path ? read_all(&s, e) : e->code;
    if (code) gguf_close(g);
    return code;
}

void gguf_close(struct gguf *g)
{
    for (size_t i = 0; g->kv && i < g->n_kv; i++) mem_free(g->kv[i].key);
    mem_free(g->kv);
    mem_free(g->tensors);
    mem_free(g->names);
    mem_free(g->path);
    map_close(&g->map);
    *g = (struct gguf){ 0 };
}

/* ---- typed access ---------------------------------------------------------------------------- */

const struct tensor *gguf_find(const struct gguf *g, const char *name)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (strcmp(g->tensors[i].name, name) == 0) return &g->tensors[i];
    }
    return NULL;
}

const struct gguf_kv *gguf_key(const struct gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_kv; i++) {
        if (g->kv[i].key && strcmp(g->kv[i].key, key) == 0) return &g->kv[i];
    }
    return NULL;
}

static int key_wanted(const struct gguf *g, const char *key, const char *found, const char *wanted,
                      struct err *e)
{
    return err_set(e, "%s: key %s: found %s, wanted %s", g->path, err_quotez(key), found, wanted);
}

static const char *kind(enum gguf_type t)
{
    switch (t) {
    case GGUF_STRING:
        return "a string";
    case GGUF_ARRAY:
        return "an array";
    case GGUF_BOOL:
        return "a boolean";
    case GGUF_F32:
    case GGUF_F64:
        return "a floating-point number";
    default:
        return "an integer";
    }
}

/* *kv is the entry, or NULL when it is absent and not required. */
static int look_up(const struct gguf_kv **kv, const struct gguf *g, const char *key, bool required,
                   const char *wanted, struct err *e)
{
    *kv = gguf_key(g, key);
    return *kv || !required ? 0 : key_wanted(g, key, "nothing", wanted, e);
}

/* False when the value is not an integer; a negative number is given as its two's complement, with
 * *negative set. */
static bool integer_of(uint64_t *v, bool *negative, const struct gguf_kv *kv)
{
    struct reader r = reader_of(kv->raw, kv->raw_bytes);
    *negative = false;
    switch (kv->type) {
    case GGUF_U8:
        *v = reader_u8(&r);
        return true;
    case GGUF_U16:
        *v = reader_u16(&r);
        return true;
    case GGUF_U32:
        *v = reader_u32(&r);
        return true;
    case GGUF_U64:
        *v = reader_u64(&r);
        return true;
    case GGUF_I8:
        *v = (uint64_t)(int8_t)reader_u8(&r);
        break;
    case GGUF_I16:
        *v = (uint64_t)(int16_t)reader_u16(&r);
        break;
    case GGUF_I32:
        *v = (uint64_t)(int32_t)reader_u32(&r);
        break;
    case GGUF_I64:
        *v = reader_u64(&r);
        break;
    default:
        return false;
    }
    *negative = (int64_t)*v < 0;
    return true;
}

int gguf_get_size(size_t *out, const struct gguf *g, const char *key, bool required, struct err *e)
{
    static const char wanted[] = "an integer of 0 or more";
    const struct gguf_kv *kv;
    int code = look_up(&kv, g, key, required, wanted, e);
    if (code || !kv) return code;
    uint64_t v;
    bool negative;
    if (!integer_of(&v, &negative, kv)) return key_wanted(g, key, kind(kv->type), wanted, e);
    if (negative || v > SIZE_MAX) {
        return key_wanted(g, key, negative ? "a negative number" : "too large a number", wanted, e);
    }
    *out = (size_t)v;
    return 0;
}

int gguf_get_double(double *out, const struct gguf *g, const char *key, bool required,
                    struct err *e)
{
    static const char wanted[] = "a finite floating-point number";
    const struct gguf_kv *kv;
    int code = look_up(&kv, g, key, required, wanted, e);
    if (code || !kv) return code;
    if (kv->type != GGUF_F32 && kv->type != GGUF_F64) {
        return key_wanted(g, key, kind(kv->type), wanted, e);
    }
    struct reader r = reader_of(kv->raw, kv->raw_bytes);
    double v = kv->type == GGUF_F32 ? (double)reader_f32(&r) : reader_f64(&r);
    if (!isfinite(v)) return key_wanted(g, key, "an infinity or NaN", wanted, e);
    *out = v;
    return 0;
}

int gguf_get_bool(bool *out, const struct gguf *g, const char *key, bool required, struct err *e)
{
    static const char wanted[] = "a boolean (0 or 1)";
    const struct gguf_kv *kv;
    int code = look_up(&kv, g, key, required, wanted, e);
    if (code || !kv) return code;
    if (kv->type != GGUF_BOOL) return key_wanted(g, key, kind(kv->type), wanted, e);
    if (kv->raw[0] > 1) return key_wanted(g, key, "another byte", wanted, e);
    *out = kv->raw[0] == 1;
    return 0;
}

int gguf_get_string(const char **text, size_t *n, const struct gguf *g, const char *key,
                    bool required, struct err *e)
{
    static const char wanted[] = "a string";
    const struct gguf_kv *kv;
    int code = look_up(&kv, g, key, required, wanted, e);
    if (code || !kv) return code;
    if (kv->type != GGUF_STRING) return key_wanted(g, key, kind(kv->type), wanted, e);
    *text = (const char *)kv->raw;
    *n = (size_t)kv->n;
    return 0;
}

int gguf_strings(struct gguf_strings *it, uint64_t *n, const struct gguf *g, const char *key,
                 struct err *e)
{
    static const char wanted[] = "an array of strings";
    const struct gguf_kv *kv;
    int code = look_up(&kv, g, key, true, wanted, e);
    if (code) return code;
    if (kv->type != GGUF_ARRAY) return key_wanted(g, key, kind(kv->type), wanted, e);
    if (kv->item != GGUF_STRING) return key_wanted(g, key, "an array of numbers", wanted, e);
    *it = (struct gguf_strings){ kv->raw, kv->raw + kv->raw_bytes };
    *n = kv->n;
    return 0;
}

bool gguf_strings_next(struct gguf_strings *it, const char **text, size_t *n)
{
    struct reader r = reader_of(it->p, (size_t)(it->end - it->p));
    if (reader_left(&r) == 0) return false;
    uint64_t len = reader_u64(&r);
    *text = (const char *)reader_take(&r, len);
    *n = (size_t)len;
    it->p += r.at;
    return !r.short_read;
}

int gguf_numbers(const uint8_t **raw, uint64_t *n, const struct gguf *g, const char *key,
                 enum gguf_type item, struct err *e)
{
    static const char *const wanted[] = {
        [GGUF_U8] = "an array of u8",   [GGUF_I8] = "an array of i8",
        [GGUF_U16] = "an array of u16", [GGUF_I16] = "an array of i16",
        [GGUF_U32] = "an array of u32", [GGUF_I32] = "an array of i32",
        [GGUF_F32] = "an array of f32", [GGUF_BOOL] = "an array of booleans",
        [GGUF_U64] = "an array of u64", [GGUF_I64] = "an array of i64",
        [GGUF_F64] = "an array of f64",
    };
    CHECK((unsigned)item < GGUF_TYPES && item_bytes[item]);
    *raw = NULL;
    *n = 0;
    const struct gguf_kv *kv = gguf_key(g, key);
    if (!kv) return 0;
    if (kv->type != GGUF_ARRAY) return key_wanted(g, key, kind(kv->type), wanted[item], e);
    if (kv->item != item) return key_wanted(g, key, "an array of another type", wanted[item], e);
    *raw = kv->raw;
    *n = kv->n;
    return 0;
}
