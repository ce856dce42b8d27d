#include "src/base/bytes.h"

#include <string.h>

bool reader_need(struct reader *r, uint64_t n)
{
    if (r->short_read || n > reader_left(r)) r->short_read = true;
    return !r->short_read;
}

const uint8_t *reader_take(struct reader *r, uint64_t n)
{
    if (!reader_need(r, n)) return NULL;
    const uint8_t *p = r->data + r->at;
    r->at += (size_t)n;
    return p;
}

static uint64_t little_endian(struct reader *r, unsigned bytes)
{
    const uint8_t *p = reader_take(r, bytes);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)little_endian(r, 1);
}
uint16_t reader_u16(struct reader *r)
{
    return (uint16_t)little_endian(r, 2);
}
uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)little_endian(r, 4);
}
uint64_t reader_u64(struct reader *r)
{
    return little_endian(r, 8);
}

float reader_f32(struct reader *r)
{
    uint32_t bits = reader_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

double reader_f64(struct reader *r)
{
    uint64_t bits = reader_u64(r);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

uint64_t reader_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) { /* the tenth byte ends the number, whatever it is */
        uint8_t byte = reader_u8(r);
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    r->short_read = true;
    return 0;
}
