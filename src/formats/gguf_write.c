#include <string.h>

#include "src/base/mem.h"
#include "src/formats/gguf.h"

enum { VERSION = 3, ALIGNMENT = 32, NAME_MOST = 64, RANK_MOST = 4 };

static uint64_t pad_up(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void add_int(struct str *s, uint64_t v, unsigned bytes)
{
    char le[8];
    for (unsigned i = 0; i < bytes; i++) le[i] = (char)(v >> (8 * i));
    str_add(s, le, bytes);
}

static void add_f32(struct str *s, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_int(s, bits, 4);
}

static void add_string(struct str *s, const char *text, size_t n)
{
    add_int(s, n, 8);
    str_add(s, text, n);
}

int gguf_writer_begin(struct gguf_writer *w, const char *path, mode_t mode, struct err *e)
{
    *w = (struct gguf_writer){ 0 };
    return save_begin(&w->save, path, mode, e);
}

static void put_key(struct gguf_writer *w, const char *key, enum gguf_type type)
{
    CHECK(w->items_due == 0 && w->data_start == 0);
    add_string(&w->kv, key, strlen(key));
    add_int(&w->kv, type, 4);
    w->n_kv++;
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, key, GGUF_U32);
    add_int(&w->kv, v, 4);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    put_key(w, key, GGUF_F32);
    add_f32(&w->kv, v);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
    put_key(w, key, GGUF_BOOL);
    add_int(&w->kv, v, 1);
}

void gguf_put_string(struct gguf_writer *w, const char *key, const char *text, size_t n)
{
    put_key(w, key, GGUF_STRING);
    add_string(&w->kv, text, n);
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type item, uint64_t n)
{
    put_key(w, key, GGUF_ARRAY);
    add_int(&w->kv, item, 4);
    add_int(&w->kv, n, 8);
    w->items_due = n;
}

static void count_item(struct gguf_writer *w)
{
    CHECK(w->items_due > 0);
    w->items_due--;
}

void gguf_item_string(struct gguf_writer *w, const char *text, size_t n)
{
    count_item(w);
    add_string(&w->kv, text, n);
}

void gguf_item_f32(struct gguf_writer *w, float v)
{
    count_item(w);
    add_f32(&w->kv, v);
}

void gguf_item_i32(struct gguf_writer *w, int32_t v)
{
    count_item(w);
    add_int(&w->kv, (uint32_t)v, 4);
}

void gguf_put_copy(struct gguf_writer *w, const struct gguf_kv *kv)
{
    if (strcmp(kv->key, "general.alignment") == 0) return;
    put_key(w, kv->key, kv->type);
    if (kv->type == GGUF_ARRAY) add_int(&w->kv, kv->item, 4);
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_STRING) add_int(&w->kv, kv->n, 8);
    str_add(&w->kv, (const char *)kv->raw, kv->raw_bytes);
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum storage_type type, unsigned rank,
                     const uint64_t *dims)
{
    CHECK(type < STORAGES && storage_of(type)->ggml >= 0 && rank <= RANK_MOST &&
          w->data_start == 0);
    CHECK(*name && strlen(name) <= NAME_MOST);
    add_string(&w->infos, name, strlen(name));
    add_int(&w->infos, rank, 4);
    size_t values = 1;
    for (unsigned d = rank; d > 0; d--) {
        CHECK(dims[d - 1] > 0 && mem_mul(&values, values, dims[d - 1]));
        add_int(&w->infos, dims[d - 1], 8);
    }
    CHECK((rank ? dims[rank - 1] : 1) % storage_block_values(type) == 0);
    add_int(&w->infos, (uint64_t)storage_of(type)->ggml, 4);
    add_int(&w->infos, w->data_bytes, 8);
    uint64_t end = w->data_bytes + storage_bytes(type, values);
    str_add(&w->ends, (const char *)&end, sizeof end);
    w->data_bytes = pad_up(end);
    w->n_tensors++;
}

static int write_padding(struct gguf_writer *w, struct err *e)
{
    static const char zeros[ALIGNMENT];
    return save_write(&w->save, zeros, pad_up(w->save.written) - w->save.written, e);
}

int gguf_writer_data(struct gguf_writer *w, struct err *e)
{
    CHECK(w->items_due == 0 && w->data_start == 0);
    struct str head = { 0 };
    str_add(&head, "GGUF", 4);
    add_int(&head, VERSION, 4);
    add_int(&head, w->n_tensors, 8);
    add_int(&head, w->n_kv, 8);
    int code = str_error(&head, e);
    if (!code) code = str_error(&w->kv, e);
    if (!code) code = str_error(&w->infos, e);
    if (!code) code = str_error(&w->ends, e);
    if (!code) code = save_write(&w->save, head.p, head.n, e);
    if (!code && w->kv.n) code = save_write(&w->save, w->kv.p, w->kv.n, e);
    if (!code && w->infos.n) code = save_write(&w->save, w->infos.p, w->infos.n, e);
    if (!code) code = write_padding(w, e);
    str_free(&head);
    w->data_start = w->save.written;
    return code;
}

int gguf_writer_add(struct gguf_writer *w, const void *bytes, size_t n, struct err *e)
{
    CHECK(w->data_start > 0);
    return save_write(&w->save, bytes, n, e);
}

int gguf_writer_pad(struct gguf_writer *w, struct err *e)
{
    CHECK(w->n_done < w->n_tensors);
    uint64_t end;
    memcpy(&end, w->ends.p + w->n_done * sizeof end, sizeof end);
    CHECK(w->save.written == w->data_start + end);
    w->n_done++;
    return write_padding(w, e);
}

static void release(struct gguf_writer *w)
{
    str_free(&w->kv);
    str_free(&w->infos);
    str_free(&w->ends);
}

int gguf_writer_commit(struct gguf_writer *w, struct err *e)
{
    CHECK(w->data_start > 0 && w->n_done == w->n_tensors);
    release(w);
    return save_commit(&w->save, e);
}

void gguf_writer_abort(struct gguf_writer *w)
{
    release(w);
    save_abort(&w->save);
}
