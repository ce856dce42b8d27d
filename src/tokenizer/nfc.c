#include "src/tokenizer/nfc.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"

/* NFC is composition without the pairs that Unicode excludes from it. */
static const utf8proc_option_t NFC = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
enum { CLASSES = 256, DECOMPOSED_MOST = 32 };

void nfc_release(struct nfc *f)
{
    str_free(&f->text);
    mem_free(f->changes);
    mem_free(f->cluster);
    mem_free(f->sorted);
    *f = (struct nfc){ 0 };
}

/* Characters that NFC keeps and that never join the character before them; Unicode promises that
 * this stays so. They are most of most texts: Latin letters, Chinese characters, Hangul
 * syllables. */
static bool is_plain(uint32_t c)
{
    return c < 0x300 || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) ||
           (c >= 0xac00 && c <= 0xd7a3);
}

/* 0 for starters; marks on one starter are put in the order of their classes. */
static unsigned class_of(int32_t c)
{
    return (unsigned)utf8proc_get_property(c)->combining_class & (CLASSES - 1);
}

/* ---- a cluster: a starter and its marks ------------------------------------------------------ */

static int add_to_cluster(struct nfc *f, int32_t c, struct err *e)
{
    if (f->n == f->cluster_cap) {
        size_t cap = f->cluster_cap ? 2 * f->cluster_cap : 64;
        int32_t *cluster = mem_resize(f->cluster, cap, sizeof *cluster, e);
        if (!cluster) return e->code;
        f->cluster = cluster;
        int32_t *sorted = mem_resize(f->sorted, cap, sizeof *sorted, e);
        if (!sorted) return e->code;
        f->sorted = sorted;
        f->cluster_cap = cap;
    }
    f->cluster[f->n++] = c;
    return 0;
}

/* A stable sort by class, by counting. A starter has class 0 and stays first. */
static void sort_marks(struct nfc *f)
{
    size_t place[CLASSES + 1] = { 0 };
    bool sorted = true;
    unsigned before = 0;
    for (size_t i = 0; i < f->n; i++) {
        unsigned class = class_of(f->cluster[i]);
        sorted &= class >= before;
        before = class;
        place[class + 1]++;
    }
    if (sorted) return;
    for (size_t k = 0; k < CLASSES; k++) place[k + 1] += place[k];
    for (size_t i = 0; i < f->n; i++) f->sorted[place[class_of(f->cluster[i])]++] = f->cluster[i];
    memcpy(f->cluster, f->sorted, f->n * sizeof *f->cluster);
}

static void compose(struct nfc *f)
{
    if (f->n < 2) return;
    sort_marks(f);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(f->cluster, (utf8proc_ssize_t)f->n, NFC);
    CHECK(n > 0 && (size_t)n <= f->n);
    f->n = (size_t)n;
}

static void write_cluster(struct nfc *f)
{
    char bytes[4];
    for (size_t i = 0; i < f->n; i++) {
        str_add(&f->text, bytes, utf8_write(bytes, (uint32_t)f->cluster[i]));
    }
    f->n = 0;
}

/* Whether a starter joins the one before it (Hangul's vowels and finals, signs of Indic scripts)
 * and so becomes a part of it. */
static bool join_starters(struct nfc *f, int32_t c)
{
    int32_t pair[2] = { f->cluster[0], c };
    if (f->n != 1 || utf8proc_normalize_utf32(pair, 2, NFC) != 1) return false;
    f->cluster[0] = pair[0];
    return true;
}

/* ---- stretches ------------------------------------------------------------------------------- */

/* The bytes written since the last call stand for the text up to `to`. */
static int close_stretch(struct nfc *f, const char *text, size_t to, struct err *e)
{
    size_t source = to - f->from, n = f->text.n - f->at;
    if (str_error(&f->text, e)) return e->code;
    bool same = n == source && (n == 0 || memcmp(f->text.p + f->at, text + f->from, n) == 0);
    if (!same && f->n_changes == f->changes_cap) {
        size_t cap = f->changes_cap ? 2 * f->changes_cap : 64;
        struct nfc_change *changes = mem_resize(f->changes, cap, sizeof *changes, e);
        if (!changes) return e->code;
        f->changes = changes;
        f->changes_cap = cap;
    }
    if (!same) {
        f->changes[f->n_changes++] = (struct nfc_change){ (uint32_t)f->at, (uint32_t)n,
                                                          (uint32_t)f->from, (uint32_t)source };
    }
    f->from = to;
    f->at = f->text.n;
    return 0;
}

/* Add the character c of text[at]. */
static int add_character(struct nfc *f, const char *text, size_t at, uint32_t c, struct err *e)
{
    int32_t parts[DECOMPOSED_MOST];
    int unused = 0, code = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((int32_t)c, parts, DECOMPOSED_MOST, NFC, &unused);
    CHECK(n > 0 && n <= DECOMPOSED_MOST);
    for (utf8proc_ssize_t i = 0; !code && i < n; i++) {
        if (f->n && class_of(parts[i]) == 0) {
            compose(f);
            if (join_starters(f, parts[i])) continue;
            write_cluster(f);
            if (i == 0) code = close_stretch(f, text, at, e);
        }
        if (!code) code = add_to_cluster(f, parts[i], e);
    }
    return code;
}

/* Copy the plain characters at text[*at]: all of them at the end of the text, otherwise all but the
 * last, which may join the next character. */
static int copy_plain(struct nfc *f, const char *text, size_t *at, size_t n, struct err *e)
{
    size_t end = *at, last = *at, step;
    uint32_t c;
    for (; end < n; end += step) {
        step = utf8_decode(&c, text + end, n - end);
        if (!is_plain(c)) break;
        last = end;
    }
    if (end == n) last = n;
    str_add(&f->text, text + *at, last - *at);
    *at = last;
    return close_stretch(f, text, last, e);
}

int nfc_form(struct nfc *f, const char *text, size_t n, struct err *e)
{
    str_clear(&f->text);
    f->n = f->n_changes = f->from = f->at = 0;
    for (size_t i = 0; i < n;) {
        if (copy_plain(f, text, &i, n, e)) return e->code;
        uint32_t c;
        for (bool first = true; i < n; first = false) {
            size_t step = utf8_decode(&c, text + i, n - i);
            if (!first && is_plain(c)) break;
            if (add_character(f, text, i, c, e)) return e->code;
            i += step;
        }
        compose(f);
        write_cluster(f);
        if (close_stretch(f, text, i, e)) return e->code;
    }
    return str_error(&f->text, e);
}

/* ---- where it comes from --------------------------------------------------------------------- */

/* How many changes begin before `at`. */
static size_t changes_before(const struct nfc *f, size_t at)
{
    size_t low = 0, high = f->n_changes;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (f->changes[mid].at < at) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

size_t nfc_source_start(const struct nfc *f, size_t at)
{
    size_t k = changes_before(f, at + 1);
    if (k == 0) return at;
    const struct nfc_change *c = &f->changes[k - 1];
    size_t end = (size_t)c->at + c->n;
    return at < end ? c->from : (size_t)c->from + c->source + (at - end);
}

size_t nfc_source_end(const struct nfc *f, size_t at)
{
    size_t k = changes_before(f, at);
    if (k == 0) return at;
    const struct nfc_change *c = &f->changes[k - 1];
    size_t end = (size_t)c->at + c->n;
    return (size_t)c->from + c->source + (at > end ? at - end : 0);
}
