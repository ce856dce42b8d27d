#include "src/formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/json.h"
#include "src/base/mem.h"

enum { HEADER_MOST = 100000000, HEADER_ALIGN = 8 };

/* The types of the specification, which has no name for block types. */
static const struct st_type {
    const char *name;
    unsigned bits;
    enum storage_type type;
} st_types[] = {
#define STORAGE(id, name, kind, ggml, ftype, safetensors, torch, values, bytes, ...)               \
    { safetensors, 8 * (bytes), STORAGE_##id },
#define OTHER_SAFETENSORS(name, bits) { name, bits, STORAGE_OTHER },
#include "kernels/storage.def"
};
enum { ST_TYPES = sizeof st_types / sizeof st_types[0] };

/* ---- reading --------------------------------------------------------------------------------- */

struct header {
    const char *path;
    const char *text;
    size_t bytes;
    const uint8_t *data; /* the bytes after the header */
    size_t data_bytes;
};

static int split_file(struct header *h, const struct map *map, struct err *e)
{
    struct reader r = reader_of(map->data, map->size);
    uint64_t n = reader_u64(&r);
    if (r.short_read) {
        return err_set(e, "%s: found %zu bytes, wanted a safetensors file: at least 8", h->path,
                       map->size);
    }
    if (is_lfs_pointer(map->data, map->size)) return lfs_refuse(h->path, e);
    if (n > HEADER_MOST) {
        return err_set(e,
                       "%s: found a header of %" PRIu64 " bytes, wanted at most %d: not a "
                       "safetensors file, or damaged",
                       h->path, n, HEADER_MOST);
    }
    h->text = (const char *)reader_take(&r, n);
    if (!h->text) {
        return err_set(e,
                       "%s: found a header of %" PRIu64 " bytes in a file of %zu: not a "
                       "safetensors file, or a download that was cut off",
                       h->path, n, map->size);
    }
    if (n == 0 || h->text[0] != '{') {
        return err_set(e, "%s: the header begins with %s, wanted \"{\": not a safetensors file",
                       h->path, n ? err_quote(h->text, 1) : "nothing");
    }
    h->bytes = (size_t)n;
    h->data_bytes = reader_left(&r);
    h->data = reader_take(&r, h->data_bytes);
    return 0;
}

static int bad_tensor(const struct header *h, const struct tensor *t, const char *found,
                      const char *wanted, struct err *e)
{
    return err_set(e, "%s: tensor %s: found %s, wanted %s", h->path, err_quotez(t->name), found,
                   wanted);
}

static int read_type(struct tensor *t, unsigned *bits, const json_t *v, const struct header *h,
                     struct err *e)
{
    if (!json_is_string(v)) return bad_tensor(h, t, json_kind(v), "\"dtype\": a string", e);
    const char *name = json_string_value(v);
    for (size_t i = 0; i < ST_TYPES; i++) {
        if (!st_types[i].name || strcmp(name, st_types[i].name) != 0) continue;
        t->type = st_types[i].type;
        t->type_name = st_types[i].name;
        *bits = st_types[i].bits;
        return 0;
    }
    return bad_tensor(h, t, err_quote(name, json_string_length(v)), "a dtype of safetensors", e);
}

/* An integer of 0 or more; false otherwise. */
static bool read_count(uint64_t *out, const json_t *v)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* Sets dims, rank and the number of bytes that they need. */
static int read_shape(struct tensor *t, unsigned bits, const json_t *v, const struct header *h,
                      struct err *e)
{
    static const char wanted[] = "\"shape\": at most 8 integers of 0 or more";
    if (!json_is_array(v)) return bad_tensor(h, t, json_kind(v), wanted, e);
    size_t rank = json_array_size(v), total = bits;
    if (rank > TENSOR_RANK) return bad_tensor(h, t, "more dimensions", wanted, e);
    t->rank = (unsigned)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(v, i);
        if (!read_count(&t->dims[i], dim)) {
            return bad_tensor(h, t, json_is_integer(dim) ? "a negative size" : json_kind(dim),
                              wanted, e);
        }
        if (!mem_mul(&total, total, t->dims[i])) {
            return bad_tensor(h, t, "a shape whose product overflows", "one that fits a file", e);
        }
    }
    if (total % 8) return bad_tensor(h, t, "a part of a byte", "whole bytes", e);
    t->bytes = total / 8;
    return 0;
}

static int read_range(struct tensor *t, const json_t *v, const struct header *h, struct err *e)
{
    uint64_t begin, end;
    if (json_array_size(v) != 2 || !read_count(&begin, json_array_get(v, 0)) ||
        !read_count(&end, json_array_get(v, 1))) {
        return bad_tensor(h, t, "something else", "\"data_offsets\": two integers of 0 or more", e);
    }
    if (begin > end || end > h->data_bytes) {
        return err_set(e,
                       "%s: tensor %s: found bytes %" PRIu64 " to %" PRIu64 " of %zu: damaged, "
                       "or a download that was cut off",
                       h->path, err_quotez(t->name), begin, end, h->data_bytes);
    }
    if (end - begin != t->bytes) {
        return err_set(e,
                       "%s: tensor %s: found a range of %" PRIu64 " bytes, wanted the %" PRIu64
                       " of its shape",
                       h->path, err_quotez(t->name), end - begin, t->bytes);
    }
    t->data = h->data + begin;
    return 0;
}

/* Numbers that lorac computes with are read in place, so their address must be a multiple of their
 * size. */
static int check_alignment(const struct tensor *t, const struct header *h, struct err *e)
{
    size_t size = storage_block_bytes(t->type);
    if (t->type == STORAGE_OTHER || t->bytes == 0 || (uintptr_t)t->data % size == 0) return 0;
    return err_set(e,
                   "%s: tensor %s: does not begin on a multiple of its %zu-byte numbers; write "
                   "the file anew with a current safetensors",
                   h->path, err_quotez(t->name), size);
}

static int read_tensor(struct tensor *t, const json_t *v, const struct header *h, struct err *e)
{
    if (!json_is_object(v)) return bad_tensor(h, t, json_kind(v), "an object", e);
    const char *key;
    json_t *ignored;
    json_object_foreach((json_t *)(uintptr_t)v, key, ignored)
    {
        if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets")) {
            return bad_tensor(h, t, err_quotez(key), "only dtype, shape, data_offsets", e);
        }
    }
    unsigned bits = 0;
    int code = read_type(t, &bits, json_object_get(v, "dtype"), h, e);
    if (!code) code = read_shape(t, bits, json_object_get(v, "shape"), h, e);
    if (!code) code = read_range(t, json_object_get(v, "data_offsets"), h, e);
    return code ? code : check_alignment(t, h, e);
}

/* __metadata__ maps strings to strings. */
static int read_metadata(struct safetensors *f, const json_t *v, const struct header *h,
                         struct err *e)
{
    if (!json_is_object(v)) {
        return err_set(e, "%s: __metadata__: found %s, wanted an object", h->path, json_kind(v));
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        if (!json_is_string(value)) {
            return err_set(e, "%s: __metadata__: %s: found %s, wanted a string", h->path,
                           err_quotez(key), json_kind(value));
        }
        if (strcmp(key, "format") != 0) continue;
        f->format = mem_strndup(json_string_value(value), json_string_length(value), e);
        if (!f->format) return e->code;
    }
    return 0;
}

static int read_members(struct safetensors *f, json_t *root, const struct header *h, struct err *e)
{
    static const char meta[] = "__metadata__";
    const char *key;
    json_t *value;
    size_t name_bytes = 0;
    json_object_foreach(root, key, value) name_bytes += strlen(key) + 1;
    f->tensors = mem_alloc(json_object_size(root), sizeof *f->tensors, e);
    f->names = mem_alloc(name_bytes, 1, e);
    if (!f->tensors || !f->names) return e->code;
    char *name = f->names;
    json_object_foreach(root, key, value)
    {
        int code;
        if (strcmp(key, meta) == 0) {
            code = read_metadata(f, value, h, e);
        } else {
            size_t n = strlen(key) + 1;
            memcpy(name, key, n);
            f->tensors[f->n].name = name;
            code = read_tensor(&f->tensors[f->n++], value, h, e);
            name += n;
        }
        if (code) return code;
    }
    return 0;
}

static int read_header(struct safetensors *f, const struct header *h, struct err *e)
{
    char where[PATH_BYTES + 16];
    snprintf(where, sizeof where, "%s: header", h->path);
    json_t *root = json_parse(h->text, h->bytes, JSON_DUP_REFUSED, where, e);
    if (!root) return e->code;
    int code = read_members(f, root, h, e);
    json_decref(root);
    return code;
}

static int by_data(const void *a, const void *b)
{
    const struct tensor *s = a, *t = b;
    if (s->data != t->data) return s->data < t->data ? -1 : 1;
    return (s->bytes > t->bytes) - (s->bytes < t->bytes);
}

static int by_name(const void *a, const void *b)
{
    const struct tensor *s = a, *t = b;
    return strcmp(s->name, t->name);
}

/* Every byte of the file belongs to exactly one tensor. */
static int check_cover(struct safetensors *f, const struct header *h, struct err *e)
{
    if (f->n) qsort(f->tensors, f->n, sizeof *f->tensors, by_data);
    const uint8_t *next = h->data;
    for (size_t i = 0; i < f->n; i++) {
        const struct tensor *t = &f->tensors[i];
        if (t->data != next) {
            return err_set(e,
                           "%s: tensor %s: begins at byte %zu of the data, wanted %zu, where the "
                           "tensor before it ends",
                           h->path, err_quotez(t->name), (size_t)(t->data - h->data),
                           (size_t)(next - h->data));
        }
        next += t->bytes;
    }
    size_t covered = (size_t)(next - h->data);
    if (covered != h->data_bytes) {
        return err_set(e, "%s: found %zu bytes after the last tensor, wanted none", h->path,
                       h->data_bytes - covered);
    }
    if (f->n) qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
    return 0;
}

int safetensors_open(struct safetensors *f, const char *path, struct err *e)
{
    *f = (struct safetensors){ 0 };
    struct header h = { .path = path };
    int code = map_open(&f->map, path, e);
    if (!code) code = split_file(&h, &f->map, e);
    if (!code) code = read_header(f, &h, e);
    if (!code) code = check_cover(f, &h, e);
    if (code) safetensors_close(f);
    return code;
}

void safetensors_close(struct safetensors *f)
{
    mem_free(f->tensors);
    mem_free(f->names);
    mem_free(f->format);
    map_close(&f->map);
    *f = (struct safetensors){ 0 };
}

const struct tensor *safetensors_find(const struct safetensors *f, const char *name)
{
    if (f->n == 0) return NULL;
    struct tensor wanted = { .name = name };
    return bsearch(&wanted, f->tensors, f->n, sizeof wanted, by_name);
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t entry_bytes(const struct st_entry *t)
{
    CHECK(storage_of(t->type)->safetensors && t->rank <= TENSOR_RANK);
    size_t bytes = storage_block_bytes(t->type);
    for (unsigned i = 0; i < t->rank; i++) CHECK(mem_mul(&bytes, bytes, t->dims[i]));
    return bytes;
}

static void add_entry(struct str *s, const struct st_entry *t, uint64_t begin, uint64_t end)
{
    str_addc(s, ',');
    json_add_string(s, t->name, strlen(t->name));
    str_addf(s, ":{\"dtype\":\"%s\",\"shape\":[", storage_of(t->type)->safetensors);
    for (unsigned i = 0; i < t->rank; i++) str_addf(s, i ? ",%" PRIu64 : "%" PRIu64, t->dims[i]);
    str_addf(s, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

int st_writer_begin(struct st_writer *w, const char *path, const struct st_entry *entries, size_t n,
                    mode_t mode, struct err *e)
{
    *w = (struct st_writer){ .save.fd = -1 };
    struct str s = { 0 };
    str_add(&s, "\0\0\0\0\0\0\0\0", 8);
    str_addz(&s, "{\"__metadata__\":{\"format\":\"pt\"}");
    uint64_t data = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = data;
        CHECK(begin % storage_block_bytes(entries[i].type) == 0);
        data += entry_bytes(&entries[i]);
        add_entry(&s, &entries[i], begin, data);
    }
    str_addc(&s, '}');
    while (!s.failed && s.n % HEADER_ALIGN) str_addc(&s, ' ');
    int code = str_error(&s, e);
    if (!code) {
        CHECK(s.n - 8 <= HEADER_MOST);
        for (unsigned i = 0; i < 8; i++) s.p[i] = (char)((s.n - 8) >> (8 * i));
        w->expected = s.n + data;
        code = save_begin(&w->save, path, mode, e);
    }
    if (!code) code = save_write(&w->save, s.p, s.n, e);
    if (code) save_abort(&w->save);
    str_free(&s);
    return code;
}

int st_writer_add(struct st_writer *w, const void *bytes, size_t n, struct err *e)
{
    CHECK(n <= w->expected - w->save.written);
    return save_write(&w->save, bytes, n, e);
}

int st_writer_commit(struct st_writer *w, struct err *e)
{
    CHECK(w->save.written == w->expected);
    return save_commit(&w->save, e);
}

void st_writer_abort(struct st_writer *w)
{
    save_abort(&w->save);
}
