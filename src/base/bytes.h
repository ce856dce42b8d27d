/* A bounded reader over untrusted bytes.
 *
 * Every binary parser reads through it. A read beyond the end fails for good (`short_read` stays
 * set, later reads give zeros), so a parser may read a record and check once. Nothing is ever
 * allocated from a count before reader_need() has shown that the bytes are there. */
#ifndef LORAC_BASE_BYTES_H
#define LORAC_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *data;
    size_t size, at;
    bool short_read;
};

static inline struct reader reader_of(const void *data, size_t size)
{
    return (struct reader){ .data = data, .size = size };
}

static inline size_t reader_left(const struct reader *r)
{
    return r->size - r->at;
}

/* True when n more bytes are there; otherwise the reader has failed. */
bool reader_need(struct reader *r, uint64_t n);

/* A pointer to the next n bytes, or NULL. */
const uint8_t *reader_take(struct reader *r, uint64_t n);

/* Little-endian values; 0 after a short read. */
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
float reader_f32(struct reader *r);
double reader_f64(struct reader *r);

/* Protobuf's base-128 integer of at most ten bytes; a longer one fails like a short read. */
uint64_t reader_varint(struct reader *r);

#endif
