#include "src/data/prepared.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/formats/h5.h"

enum { FORMAT_VERSION = 2, COPY_BYTES = 1 << 20, KEY_CHARS = SHA256_HEX - 1 };
static const char format_name[] = "lorac-data", suffix[] = ".h5";

/* `at` is read straight into memory. */
_Static_assert(sizeof(size_t) == sizeof(int64_t), "a 64-bit machine");

/* ---- the key --------------------------------------------------------------------------------- */

/* Each setting has its own line, so that two settings cannot be confused. Texts are preceded by
 * their length. */
static void add_text(struct str *s, const char *name, const char *text)
{
    str_addf(s, "%s %zu %s\n", name, text ? strlen(text) : 0, text ? text : "-");
}

static void add_digest(struct str *s, const char *name, const uint8_t digest[SHA256_BYTES])
{
    char hex[SHA256_HEX];
    hex_of(hex, digest);
    add_text(s, name, hex);
}

static int add_source(struct str *s, const char *side, const struct data_source *source,
                      const uint8_t digest[SHA256_BYTES], struct err *e)
{
    uint8_t template[SHA256_BYTES];
    int code = template_digest(template, source->template, e);
    if (code) return code;
    add_text(s, "side", side);
    add_digest(s, "file", digest);
    add_text(s, "format", data_format_name(source->records.format));
#define ADD(name) add_text(s, #name, source->records.columns.name);
    RECORD_COLUMNS(ADD)
#undef ADD
    add_digest(s, "template", template);
    return 0;
}

int prepared_key(char key[SHA256_HEX], const struct data_options *o, const struct tokenizer *tok,
                 const uint8_t (*digests)[SHA256_BYTES], struct err *e)
{
    struct str s = { 0 };
    uint8_t digest[SHA256_BYTES] = { 0 };
    int code = tok ? tokenizer_digest(tok, digest, e) : 0;
    add_text(&s, format_name, LORAC_VERSION);
    str_addf(&s, "format version %d\n", FORMAT_VERSION);
    add_digest(&s, "tokenizer", digest);
    for (size_t i = 0; !code && i < o->n_train; i++) {
        code = add_source(&s, "train", &o->train[i], digests[i], e);
    }
    for (size_t i = 0; !code && i < o->n_validation; i++) {
        code = add_source(&s, "validation", &o->validation[i], digests[o->n_train + i], e);
    }
    str_addf(&s, "validation %a seed %llu\n", o->n_validation ? 0 : o->validation_frac,
             (unsigned long long)(o->n_validation || o->validation_frac == 0 ? 0 : o->seed));
    str_addf(&s, "split rule %d\n", SPLIT_RULE);
    str_addf(&s, "train_on %d eos %d special %d\n", (int)o->render.train_on, o->render.train_on_eos,
             o->render.parse_special);
    str_addf(&s, "max_length %zu overlong %d vocabulary %zu\n", o->max_length, (int)o->overlong,
             o->vocab_size);
    str_addf(&s, "skip %d %a deduplicate %d\n", o->skip_errors,
             o->skip_errors ? o->max_skipped_frac : 0, o->deduplicate);
    if (!code) code = str_error(&s, e);
    if (!code) code = sha256_of(digest, s.p, s.n, e);
    if (!code) hex_of(key, digest);
    str_free(&s);
    return code;
}

int prepared_dir(char out[PATH_BYTES], const char *dir, struct err *e)
{
    if (dir) return path_join(out, dir, "", e);
    if (cache_path(out, "data", e) == 0) return 0;
    return err_usage(e, "%s; name a directory with data.cache_dir", e->msg);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int copy(struct h5_writer *w, uint64_t to, struct scratch *s, struct err *e)
{
    char *buf = mem_alloc(COPY_BYTES, 1, e);
    int code = buf ? 0 : e->code;
    for (uint64_t at = 0; !code && at < s->n; at += COPY_BYTES) {
        size_t n = s->n - at < COPY_BYTES ? (size_t)(s->n - at) : COPY_BYTES;
        code = scratch_read(buf, s, at, n, e);
        if (!code) code = h5_write(w, to + at, buf, n, e);
    }
    mem_free(buf);
    return code;
}

/* "train/ids" */
static const char *name_of(char out[64], const char *side, const char *what)
{
    snprintf(out, 64, "%s/%s", side, what);
    return out;
}

static int write_side(struct h5_writer *w, struct build_side *s, struct err *e)
{
    char name[64];
    struct spool *spool = &s->spool;
    uint64_t at, n = spool->n, ends = s->origins.n_sources, begins = n + 1;
    int64_t none = 0;
    int code = 0;
#define PUT(column, type, stored)                                                                  \
    if (!code)                                                                                     \
        code = h5_place(w, &at, name_of(name, s->name, #column), H5_TYPE_##stored,                 \
                        spool->column.n / sizeof(type), e);                                        \
    if (!code) code = copy(w, at, &spool->column, e);
    EXAMPLE_COLUMNS(PUT)
#undef PUT
    const void *begin = spool->at ? (const void *)spool->at : &none;
    if (!code) code = h5_put(w, name_of(name, s->name, "at"), H5_TYPE_I64, begin, 1, &begins, e);
    if (!code) {
        code = h5_put(w, name_of(name, s->name, "line"), H5_TYPE_I32, s->origins.line, 1, &n, e);
    }
    if (!code) {
        code = h5_put(w, name_of(name, s->name, "ends"), H5_TYPE_I64, s->origins.ends, 1, &ends, e);
    }
    if (!code && spool->item) {
        uint64_t items = spool->n_items + 1;
        code = h5_put(w, name_of(name, s->name, "items"), H5_TYPE_I64, spool->item, 1, &items, e);
    }
    uint64_t faults = FAULTS;
    if (!code) {
        code = h5_put(w, name_of(name, s->name, "counts/faults"), H5_TYPE_I64, s->counts.faults, 1,
                      &faults, e);
    }
    for (size_t i = 0; !code && i < COUNTS; i++) {
        const struct count_row *row = counts_in_file[i];
        snprintf(name, sizeof name, "%s/counts/%s", s->name, row->field);
        code = h5_put_i64(w, name, (int64_t)count_of(&s->counts, row), e);
    }
    return code;
}

int prepared_write(const char *path, struct build *b, const char *key,
                   const uint8_t sha256[SHA256_BYTES], const char *notes, struct err *e)
{
    struct h5_writer w;
    char hex[SHA256_HEX];
    uint64_t bytes = 1 << 20;
    for (int s = SIDE_TRAIN; s < SIDES; s++) {
        const struct spool *spool = &b->side[s].spool;
        bytes += spool_bytes(spool) + 3 * sizeof(int64_t) * spool->n;
    }
    hex_of(hex, sha256);
    int code = space_need(path, bytes, "the prepared data set takes",
                          "name a directory with more room with data.cache_dir", e);
    if (!code) code = h5_create(&w, path, 0600, e);
    if (code) return code;
    code = h5_put_text(&w, "format", format_name, sizeof format_name - 1, e);
    if (!code) code = h5_put_i64(&w, "format_version", FORMAT_VERSION, e);
    if (!code) code = h5_put_text(&w, "version", LORAC_VERSION, strlen(LORAC_VERSION), e);
    if (!code) code = h5_put_text(&w, "key", key, strlen(key), e);
    if (!code) code = h5_put_text(&w, "data_sha256", hex, strlen(hex), e);
    if (!code) code = h5_put_text(&w, "notes", notes, strlen(notes), e);
    for (int s = SIDE_TRAIN; !code && s < SIDES; s++) code = write_side(&w, &b->side[s], e);
    if (!code) code = h5_commit(&w, e);
    h5_abort(&w);
    return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int wrong(const char *path, const char *what, struct err *e)
{
    return err_set(e, "%s: %s; remove it and it will be made again", path, what);
}

/* Read an array of 64-bit numbers of known length into new memory. */
static void *get_row(const struct h5_reader *r, const char *name, enum h5_type type, size_t n,
                     size_t size, struct err *e)
{
    uint64_t dims[] = { n };
    void *row = mem_alloc(n, size, e);
    if (!row || h5_get(row, r, name, type, 1, dims, e) == 0) return row;
    mem_free(row);
    return NULL;
}

/* Whether every example lies within the n tokens. */
static bool in_order(const size_t *at, size_t n, size_t tokens)
{
    if (at[0] != 0 || at[n] != tokens) return false;
    for (size_t i = 0; i < n; i++)
        if (at[i] > at[i + 1]) return false;
    return true;
}

static int read_counts(struct data_counts *c, const struct h5_reader *r, const char *side,
                       struct err *e)
{
    char name[64];
    int code = 0;
    for (size_t i = 0; !code && i < COUNTS; i++) {
        int64_t v;
        snprintf(name, sizeof name, "%s/counts/%s", side, counts_in_file[i]->field);
        code = h5_get_i64(&v, r, name, e);
        if (!code) *count_field(c, counts_in_file[i]) = (size_t)v;
    }
    uint64_t faults = FAULTS;
    if (code) return code;
    return h5_get(c->faults, r, name_of(name, side, "counts/faults"), H5_TYPE_I64, 1, &faults, e);
}

static int read_origins(struct origins *o, const struct h5_reader *r, const char *side, size_t n,
                        struct err *e)
{
    char name[64];
    int code = h5_length(&o->n_sources, r, name_of(name, side, "ends"), H5_TYPE_I64, e);
    if (code) return code;
    o->ends = get_row(r, name, H5_TYPE_I64, o->n_sources, sizeof *o->ends, e);
    if (!o->ends) return e->code;
    o->line = get_row(r, name_of(name, side, "line"), H5_TYPE_I32, n, sizeof *o->line, e);
    if (!o->line) return e->code;
    size_t before = 0;
    for (size_t i = 0; i < o->n_sources; i++) {
        if (o->ends[i] < before || o->ends[i] > n) return wrong(r->path, "ends out of order", e);
        before = o->ends[i];
    }
    return o->n_sources && before == n ? 0 : wrong(r->path, "examples without a source", e);
}

static int read_items(struct examples *x, const struct h5_reader *r, const char *side,
                      struct err *e)
{
    char name[64];
    bool has;
    size_t n;
    int code = h5_has(&has, r, name_of(name, side, "items"), e);
    if (code || !has) return code;
    code = h5_length(&n, r, name, H5_TYPE_I64, e);
    if (code) return code;
    if (n == 0) return wrong(r->path, "no items", e);
    x->item = get_row(r, name, H5_TYPE_I64, n, sizeof *x->item, e);
    if (!x->item) return e->code;
    x->n_items = n - 1;
    return in_order(x->item, x->n_items, x->n) ? 0 : wrong(r->path, "items out of order", e);
}

/* Read the arrays into memory, except the large ones, which are used in the mapped file. */
static int read_side(struct examples *x, struct origins *o, struct data_counts *c,
                     const struct map *m, const struct h5_reader *r, const char *side,
                     struct err *e)
{
    char name[64];
    uint64_t at;
    size_t n, tokens;
    int code = h5_length(&n, r, name_of(name, side, "at"), H5_TYPE_I64, e);
    if (!code && n == 0) code = wrong(r->path, "no examples", e);
    if (code) return code;
    x->mapped = true;
    x->at = get_row(r, name, H5_TYPE_I64, n, sizeof *x->at, e);
    if (!x->at) return e->code;
    x->n = n - 1;
    code = h5_length(&tokens, r, name_of(name, side, "ids"), H5_TYPE_I32, e);
    if (!code && !in_order(x->at, x->n, tokens)) code = wrong(r->path, "examples out of order", e);
#define FIND(column, type, stored)                                                                 \
    if (!code) code = h5_find(&at, r, name_of(name, side, #column), H5_TYPE_##stored, tokens, e);  \
    if (!code) x->column = (type *)(uintptr_t)(m->data + at);
    EXAMPLE_COLUMNS(FIND)
#undef FIND
    if (!code) code = read_items(x, r, side, e);
    if (!code) code = read_origins(o, r, side, x->n, e);
    return code ? code : read_counts(c, r, side, e);
}

/* The pages are released piece by piece, because a data set may be larger than memory. */
static int check_ids(const struct examples *x, size_t vocabulary, const char *path, struct err *e)
{
    enum { PIECE = 1 << 20 };
    size_t n = examples_tokens(x), most = vocabulary ? vocabulary : (size_t)INT32_MAX + 1;
    for (size_t at = 0; at < n; at += PIECE) {
        size_t now = n - at < PIECE ? n - at : PIECE;
        uint32_t largest = 0; /* a negative id is a large one */
        for (size_t i = at; i < at + now; i++) {
            uint32_t id = (uint32_t)x->ids[i];
            largest = id > largest ? id : largest;
        }
        if (now && largest >= most) return wrong(path, "token ids outside the vocabulary", e);
        pages_release(x->ids + at, now * sizeof *x->ids);
    }
    return 0;
}

static int check_text(const struct h5_reader *r, const char *name, const char *wanted,
                      struct err *e)
{
    struct str s = { 0 };
    int code = h5_get_text(&s, r, name, e);
    if (!code && (s.n != strlen(wanted) || memcmp(s.p, wanted, s.n) != 0)) {
        code = err_set(e, "%s: %s: found %s, wanted %s; remove it and it will be made again",
                       r->path, name, err_quote(s.p ? s.p : "", s.n), wanted);
    }
    str_free(&s);
    return code;
}

static int read_digest(uint8_t digest[SHA256_BYTES], const struct h5_reader *r, struct err *e)
{
    struct str s = { 0 };
    int code = h5_get_text(&s, r, "data_sha256", e);
    for (size_t i = 0; !code && i < SHA256_BYTES; i++) {
        unsigned byte;
        if (s.n != KEY_CHARS || sscanf(s.p + 2 * i, "%2x", &byte) != 1)
            code = wrong(r->path, "data_sha256: found no digest", e);
        else
            digest[i] = (uint8_t)byte;
    }
    str_free(&s);
    return code;
}

int prepared_open(struct dataset *d, struct str *notes, const char *path, const char *key,
                  size_t vocabulary, struct err *e)
{
    struct h5_reader r;
    int64_t version = 0;
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = check_text(&r, "format", format_name, e);
    if (!code) code = h5_get_i64(&version, &r, "format_version", e);
    if (!code && version != FORMAT_VERSION) code = wrong(path, "of another version of lorac", e);
    if (!code) code = check_text(&r, "key", key, e);
    if (!code) code = read_digest(d->sha256, &r, e);
    if (!code) code = map_open(&d->map, path, e);
    if (!code && d->map.size != r.bytes) code = wrong(path, "changed while it was read", e);
    if (!code) {
        code = read_side(&d->train, &d->train_origins, &d->train_counts, &d->map, &r, "train", e);
    }
    if (!code) {
        code = read_side(&d->validation, &d->validation_origins, &d->validation_counts, &d->map, &r,
                         "validation", e);
    }
    if (!code) code = check_ids(&d->train, vocabulary, path, e);
    if (!code) code = check_ids(&d->validation, vocabulary, path, e);
    if (!code && d->train_origins.n_sources != d->n_shares) {
        code = wrong(path, "a different number of sources", e);
    }
    if (!code) code = h5_get_text(notes, &r, "notes", e);
    if (!code && !(d->prepared = mem_strdup(path, e))) code = e->code;
    h5_close(&r);
    return code;
}

/* ---- removing -------------------------------------------------------------------------------- */

/* Whether lorac made the file: its name is a key and the suffix, or that of a part left by a killed
 * process. */
static bool is_ours(const char *name)
{
    size_t hex = strspn(name, "0123456789abcdef");
    return hex == KEY_CHARS && strncmp(name + hex, suffix, sizeof suffix - 1) == 0;
}

int prepared_purge(size_t *files, uint64_t *bytes, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    *files = 0;
    *bytes = 0;
    DIR *d = opendir(dir);
    if (!d) return errno == ENOENT ? 0 : err_errno(e, "%s", dir);
    int code = 0;
    for (struct dirent *entry; !code && (entry = readdir(d));) {
        struct stat st;
        if (!is_ours(entry->d_name)) continue;
        code = path_join(path, dir, entry->d_name, e);
        if (code || lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        if (unlink(path) != 0) code = err_errno(e, "%s: cannot remove", path);
        *files += !code;
        *bytes += code ? 0 : (uint64_t)st.st_size;
    }
    closedir(d);
    return code;
}
