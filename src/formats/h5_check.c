#include "src/formats/h5_check.h"

#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"

enum {
    NAME_MOST = 256,
    DEPTH_MOST = 8,
    OBJECTS_MOST = 4096, /* far above ours: a walk that finds more goes in circles */
    LEAF_K = 4, /* libhdf5's defaults, as in the superblock: twice as many entries at most */
    INTERNAL_K = 16,
    ENTRY_BYTES = 40, /* of a symbol table */
    TREE_BYTES = 24 + (2 * INTERNAL_K + 1) * 8 + 2 * INTERNAL_K * 8,
    TABLE_BYTES = 8 + 2 * LEAF_K * ENTRY_BYTES,
    HEAP_END = 1, /* where a heap's list of free places ends */
};
static const uint64_t NOWHERE = UINT64_MAX;

struct h5_walk {
    const char *path;
    const uint8_t *data; /* after the block; addresses count from here */
    uint64_t bytes;
    size_t block, objects;
    struct err *e;
};

static int strange(const struct h5_walk *w, uint64_t at, const char *what)
{
    return err_set(w->e, "%s: byte %llu: found %s that lorac does not write: not one of its files",
                   w->path, (unsigned long long)(at + w->block), what);
}

/* A reader of the n bytes at an address; false when they are not all in the file. */
static bool reader_at(struct reader *r, const struct h5_walk *w, uint64_t at, uint64_t n)
{
    if (at > w->bytes || n > w->bytes - at) return false;
    *r = reader_of(w->data + at, (size_t)n);
    return true;
}

static bool took(struct reader *r, const void *bytes, size_t n)
{
    const uint8_t *p = reader_take(r, n);
    return p && memcmp(p, bytes, n) == 0;
}
#define TOOK(r, text) took(r, text, sizeof(text) - 1)

/* ---- data sets ------------------------------------------------------------------------------- */

struct h5_array {
    size_t values;     /* of its shape */
    size_t item_bytes; /* of its type */
    bool shape, type, layout;
};

static bool read_shape(struct h5_array *d, struct reader *r)
{
    uint8_t version = reader_u8(r), rank = reader_u8(r), flags = reader_u8(r), kind = reader_u8(r);
    d->values = 1;
    if (version == 2) { /* an empty text, which has no value */
        d->values = 0;
        return rank == 0 && flags == 0 && kind == 2;
    }
    reader_u32(r);
    if (version != 1 || rank > 4 || flags != (rank > 0)) return false;
    uint64_t dims[4];
    for (unsigned i = 0; i < rank; i++) {
        dims[i] = reader_u64(r);
        if (!mem_mul(&d->values, d->values, dims[i])) return false;
    }
    for (unsigned i = 0; i < rank; i++) /* the largest it may grow to */
        if (reader_u64(r) != dims[i]) return false;
    return !r->short_read;
}

/* The types of h5.h, as libhdf5 spells them, and texts of any length. */
static bool read_type(struct h5_array *d, struct reader *r)
{
    static const struct {
        const char *bytes;
        uint8_t n, item;
    } types[] = {
        { "\x11\x20\x1f\x00\x04\0\0\0\0\0\x20\0\x17\x08\0\x17\x7f\0\0\0", 20, 4 },
        { "\x11\x20\x3f\x00\x08\0\0\0\0\0\x40\0\x34\x0b\0\x34\xff\x03\0\0", 20, 8 },
        { "\x10\x08\0\0\x08\0\0\0\0\0\x40\0", 12, 8 },
        { "\x10\x08\0\0\x04\0\0\0\0\0\x20\0", 12, 4 },
        { "\x10\0\0\0\x01\0\0\0\0\0\x08\0", 12, 1 },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct reader copy = *r;
        if (!took(&copy, types[i].bytes, types[i].n)) continue;
        d->item_bytes = types[i].item;
        return true;
    }
    if (!TOOK(r, "\x13\x11\0\0")) return false;
    d->item_bytes = reader_u32(r);
    return d->item_bytes > 0;
}

/* The fill value for bytes that were never written: the file must give none. */
static bool read_fill(struct reader *r)
{
    uint8_t version = reader_u8(r), alloc = reader_u8(r), when = reader_u8(r), given = reader_u8(r);
    return version == 2 && alloc <= 3 && when <= 2 && given <= 1 && reader_u32(r) == 0 &&
           !r->short_read;
}

/* The place of the bytes; their right number is known only after all messages. */
static bool read_layout(uint64_t *at, uint64_t *bytes, struct reader *r)
{
    if (!TOOK(r, "\3\1")) return false; /* contiguous */
    *at = reader_u64(r);
    *bytes = reader_u64(r);
    return !r->short_read;
}

static bool bytes_fit(const struct h5_walk *w, const struct h5_array *d, uint64_t at,
                      uint64_t bytes)
{
    size_t wanted;
    if (!d->shape || !d->type || !d->layout) return false;
    if (!mem_mul(&wanted, d->values, d->item_bytes)) return false;
    if (wanted == 0) return at == NOWHERE || at <= w->bytes;
    return bytes == wanted && at <= w->bytes && bytes <= w->bytes - at;
}

/* ---- object headers -------------------------------------------------------------------------- */

enum message {
    MESSAGE_NOTHING = 0x0,
    MESSAGE_SHAPE = 0x1,
    MESSAGE_TYPE = 0x3,
    MESSAGE_FILL = 0x5,
    MESSAGE_LAYOUT = 0x8,
    MESSAGE_GROUP = 0x11,
};

struct h5_object {
    struct h5_array set;
    uint64_t data, data_bytes; /* of a data set */
    uint64_t tree, heap;       /* of a group */
    bool is_group;
};

static bool read_message(struct h5_object *o, unsigned type, struct reader *r)
{
    struct h5_array *d = &o->set;
    bool *seen = NULL, fine = true;
    switch (type) {
    case MESSAGE_NOTHING:
        return true;
    case MESSAGE_SHAPE:
        seen = &d->shape;
        fine = read_shape(d, r);
        break;
    case MESSAGE_TYPE:
        seen = &d->type;
        fine = read_type(d, r);
        break;
    case MESSAGE_FILL:
        return read_fill(r);
    case MESSAGE_LAYOUT:
        seen = &d->layout;
        fine = read_layout(&o->data, &o->data_bytes, r);
        break;
    case MESSAGE_GROUP:
        seen = &o->is_group;
        o->tree = reader_u64(r);
        o->heap = reader_u64(r);
        fine = !r->short_read;
        break;
    default:
        return false;
    }
    if (*seen) return false; /* the same message again */
    *seen = true;
    return fine;
}

static int read_object(struct h5_object *o, struct h5_walk *w, uint64_t at)
{
    struct reader r;
    *o = (struct h5_object){ 0 };
    if (++w->objects > OBJECTS_MOST) return strange(w, at, "more objects");
    if (!reader_at(&r, w, at, 16)) return strange(w, at, "the address of an object header");
    bool first = TOOK(&r, "\1\0");
    uint16_t messages = reader_u16(&r);
    uint32_t references = reader_u32(&r), size = reader_u32(&r);
    if (!first || references != 1 || size % 8 || !reader_at(&r, w, at + 16, size)) {
        return strange(w, at, "an object header");
    }
    for (unsigned i = 0; i < messages; i++) {
        uint16_t type = reader_u16(&r), bytes = reader_u16(&r);
        uint8_t flags = reader_u8(&r);
        bool zeros = TOOK(&r, "\0\0\0");
        const uint8_t *body = reader_take(&r, bytes);
        struct reader inner = reader_of(body, bytes);
        if (!body || !zeros || flags > 1 || bytes % 8 || !read_message(o, type, &inner)) {
            return strange(w, at, "a message in an object header");
        }
    }
    bool set = o->set.shape || o->set.type || o->set.layout;
    if (reader_left(&r) || set == o->is_group) return strange(w, at, "an object header");
    if (set && !bytes_fit(w, &o->set, o->data, o->data_bytes)) {
        return strange(w, at, "a data set whose bytes are not where its shape says");
    }
    return 0;
}

/* ---- groups ---------------------------------------------------------------------------------- */

struct heap {
    const char *names;
    uint64_t bytes;
};

static int read_heap(struct heap *h, const struct h5_walk *w, uint64_t at)
{
    struct reader r, list;
    if (!reader_at(&r, w, at, 32) || !TOOK(&r, "HEAP\0\0\0\0")) return strange(w, at, "a heap");
    h->bytes = reader_u64(&r);
    uint64_t next = reader_u64(&r), place = reader_u64(&r);
    if (!reader_at(&list, w, place, h->bytes) || h->bytes % 8) return strange(w, at, "a heap");
    h->names = (const char *)list.data;
    uint64_t before = 0; /* the list goes forward, so it ends */
    while (next != HEAP_END) {
        bool inside = next % 8 == 0 && next >= before && next < h->bytes && h->bytes - next >= 16;
        if (!inside) return strange(w, place, "a heap's list of free places");
        list.at = (size_t)next;
        uint64_t after = reader_u64(&list), free_bytes = reader_u64(&list);
        if (free_bytes < 16 || free_bytes > h->bytes - next) {
            return strange(w, place, "a heap's list of free places");
        }
        before = next + free_bytes;
        next = after;
    }
    return 0;
}

/* The text at a place in a heap, or NULL. */
static const char *heap_name(const struct heap *h, uint64_t at)
{
    if (at >= h->bytes) return NULL;
    size_t left = (size_t)(h->bytes - at);
    const char *name = h->names + at;
    return memchr(name, 0, left < NAME_MOST + 1 ? left : NAME_MOST + 1) ? name : NULL;
}

static int walk_group(struct h5_walk *w, uint64_t tree, uint64_t heap, unsigned depth);

/* Walk the object of an entry. The entry also holds the tree and heap of a group, which must agree
 * with it. */
static int walk_entry(struct h5_walk *w, struct reader *r, const struct heap *h,
                      const char **before, unsigned depth, uint64_t table)
{
    const char *name = heap_name(h, reader_u64(r));
    uint64_t at = reader_u64(r);
    uint32_t kind = reader_u32(r), zero = reader_u32(r);
    uint64_t tree = reader_u64(r), heap = reader_u64(r);
    bool ordered = name && *name && !strchr(name, '/') && (!*before || strcmp(*before, name) < 0);
    if (!ordered || kind > 1 || zero) return strange(w, table, "an entry of a symbol table");
    *before = name;
    struct h5_object o;
    int code = read_object(&o, w, at);
    if (code) return code;
    if (o.is_group != (kind == 1)) return strange(w, table, "an entry of a symbol table");
    if (!o.is_group) return 0;
    if (o.tree != tree || o.heap != heap) return strange(w, table, "an entry of a symbol table");
    return walk_group(w, tree, heap, depth + 1);
}

static int walk_table(struct h5_walk *w, uint64_t at, const struct heap *h, const char **before,
                      unsigned depth)
{
    struct reader r;
    bool there = reader_at(&r, w, at, TABLE_BYTES) && TOOK(&r, "SNOD\1\0");
    unsigned n = there ? reader_u16(&r) : 0;
    if (n == 0 || n > 2 * LEAF_K) return strange(w, at, "a symbol table");
    int code = 0;
    for (unsigned i = 0; i < n && !code; i++) code = walk_entry(w, &r, h, before, depth, at);
    return code;
}

static int walk_group(struct h5_walk *w, uint64_t tree, uint64_t heap, unsigned depth)
{
    struct reader r;
    struct heap h = { 0 };
    const char *before = NULL;
    if (depth > DEPTH_MOST) return strange(w, tree, "groups nested deeper");
    int code = read_heap(&h, w, heap);
    if (code) return code;
    bool there = reader_at(&r, w, tree, TREE_BYTES) && TOOK(&r, "TREE\0\0"); /* level 0 */
    unsigned n = there ? reader_u16(&r) : 0;
    uint64_t left = reader_u64(&r), right = reader_u64(&r);
    if (!there || n > 2 * INTERNAL_K || left != NOWHERE || right != NOWHERE) {
        return strange(w, tree, "a tree of names");
    }
    for (unsigned i = 0; i < n && !code; i++) {
        const char *key = heap_name(&h, reader_u64(&r));
        uint64_t table = reader_u64(&r);
        if (!key) return strange(w, tree, "a tree of names");
        code = walk_table(w, table, &h, &before, depth);
        /* A key is the last name before it; libhdf5 searches by keys. */
        struct reader ahead = r;
        key = heap_name(&h, reader_u64(&ahead));
        if (!code && (!key || strcmp(key, before) != 0)) {
            return strange(w, tree, "a tree of names");
        }
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int h5_check(const struct map *m, size_t block, const char *path, struct err *e)
{
    CHECK(m->size >= block);
    struct h5_walk w = { path, m->data + block, m->size - block, block, 0, e };
    struct reader r = { 0 };
    bool there = reader_at(&r, &w, 0, 96) && TOOK(&r, "\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0");
    uint16_t leaf = reader_u16(&r), internal = reader_u16(&r);
    uint32_t flags = reader_u32(&r);
    uint64_t base = reader_u64(&r), free_space = reader_u64(&r);
    uint64_t end = reader_u64(&r), driver = reader_u64(&r);
    if (!there || leaf != LEAF_K || internal != INTERNAL_K || flags || base != block ||
        free_space != NOWHERE || end != m->size || driver != NOWHERE) {
        return strange(&w, 0, "a superblock");
    }
    uint64_t name = reader_u64(&r), at = reader_u64(&r);
    uint32_t kind = reader_u32(&r), zero = reader_u32(&r);
    uint64_t tree = reader_u64(&r), heap = reader_u64(&r);
    struct h5_object root;
    int code = read_object(&root, &w, at);
    if (code) return code;
    if (name || kind != 1 || zero || !root.is_group || root.tree != tree || root.heap != heap) {
        return strange(&w, 0, "a root group");
    }
    return walk_group(&w, tree, heap, 1);
}
