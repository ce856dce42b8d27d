#include "src/formats/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/formats/h5_check.h"

/* H5Pset_file_locking() came with 1.10.7 and 1.12.1. */
#define HAS_FILE_LOCKING                                                                           \
    (H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0)))

enum {
    BLOCK = 512,
    NAME_MOST = 256,
    REASON_BYTES = 160,
    H5_ALIGN = 64,        /* alignment of every array, so that a mapped file can be used as it is */
    INIT_BYTES = 4 << 20, /* more than libhdf5 needs to start */
    METADATA_ROOM = 1 << 20, /* bytes that the disk must have for libhdf5's own structures */
};
static const char magic[] = "LORACH5\n", version[] = "version 1\n";

/* ---- errors of libhdf5 ----------------------------------------------------------------------- */

/* Keep the innermost reason; for an I/O error, only the system's message. */
static herr_t take_reason(unsigned n, const H5E_error2_t *entry, void *out)
{
    static const char mark[] = "error message = '";
    if (n > 0 || !entry->desc) return 0;
    const char *text = entry->desc, *system = strstr(text, mark);
    if (system) text = system + sizeof mark - 1;
    if (strcmp(text, "string duplication failed") == 0) text = "out of memory";
    size_t len = system ? strcspn(text, "'") : strlen(text);
    snprintf(out, REASON_BYTES, "%.*s", (int)len, text);
    return 0;
}

/* Passes on the result of a call; if it failed, `why` says why. The library forgets the reason with
 * the next call, so it is copied at once. */
static hid_t noted(char why[REASON_BYTES], hid_t result)
{
    if (result >= 0) return result;
    snprintf(why, REASON_BYTES, "libhdf5 gives no reason (it may lack memory)");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, why);
    return result;
}

static int failed(const char *path, const char *what, const char *name, const char *why,
                  struct err *e)
{
    return err_set(e, "%s: %s%s%s: %s", path, what, *name ? " " : "", name, why);
}

int h5_init(struct err *e)
{
    static bool ready;
    if (ready) return 0;
    void *probe = mem_alloc(INIT_BYTES, 1, e);
    if (!probe) return e->code;
    mem_free(probe);
    H5dont_atexit();
    if (H5open() < 0 || H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0) {
        return err_code(e, ERR_MEMORY, "libhdf5 cannot begin: out of memory");
    }
    ready = true;
    return 0;
}

/* Called at every entry: the library must print nothing to stderr (a setting of each thread), and
 * must not clean up at exit, which crashes when a file could not be closed. */
static void quiet(void)
{
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static hid_t file_type(enum h5_type t)
{
    switch (t) {
    case H5_TYPE_F32:
        return H5T_IEEE_F32LE;
    case H5_TYPE_F64:
        return H5T_IEEE_F64LE;
    case H5_TYPE_I64:
        return H5T_STD_I64LE;
    case H5_TYPE_I32:
        return H5T_STD_I32LE;
    case H5_TYPE_U8:
        return H5T_STD_U8LE;
    }
    CHECK(!"a type of h5.h");
    return -1;
}

static hid_t memory_type(enum h5_type t)
{
    switch (t) {
    case H5_TYPE_F32:
        return H5T_NATIVE_FLOAT;
    case H5_TYPE_F64:
        return H5T_NATIVE_DOUBLE;
    case H5_TYPE_I64:
        return H5T_NATIVE_INT64;
    case H5_TYPE_I32:
        return H5T_NATIVE_INT32;
    case H5_TYPE_U8:
        return H5T_NATIVE_UINT8;
    }
    CHECK(!"a type of h5.h");
    return -1;
}

/* Open files without locks, which some file systems do not have: a rename protects the files. */
static hid_t access_list(char why[REASON_BYTES])
{
    hid_t fapl = noted(why, H5Pcreate(H5P_FILE_ACCESS));
    if (fapl < 0) return fapl;
    bool good = noted(why, H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG)) >= 0 &&
                noted(why, H5Pset_alignment(fapl, 1, H5_ALIGN)) >= 0;
    good = good && /* only structures that h5_check.c knows, whatever the library's default is */
           noted(why, H5Pset_libver_bounds(fapl, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST)) >= 0;
#if HAS_FILE_LOCKING
    good = good && noted(why, H5Pset_file_locking(fapl, 0, 1)) >= 0;
#endif
    if (good) return fapl;
    H5Pclose(fapl);
    return -1;
}

/* ---- the user block -------------------------------------------------------------------------- */

static void render_block(char block[BLOCK], uint64_t bytes, const char *hex)
{
    memset(block, 0, BLOCK);
    snprintf(block, BLOCK, "%s%sbytes %020" PRIu64 "\nsha256 %s\n", magic, version, bytes, hex);
}
/* The places of the parts, which have a fixed width. */
enum {
    VERSION_AT = sizeof magic - 1,
    BYTES_AT = VERSION_AT + sizeof version - 1,
    HEX_AT = BYTES_AT + 6 + 20 + 1 + 7,
};

/* Piece by piece, each released at once: a data set may be larger than memory. */
static int hash_behind_block(char hex[SHA256_HEX], const struct map *m, struct err *e)
{
    enum { PIECE = 8 << 20 };
    uint8_t digest[SHA256_BYTES];
    struct sha256 h;
    int code = sha256_begin(&h, e);
    if (code) return code;
    for (size_t at = BLOCK; at < m->size; at += PIECE) {
        size_t n = m->size - at < PIECE ? m->size - at : PIECE;
        sha256_add(&h, m->data + at, n);
        pages_release(m->data + at, n);
    }
    sha256_end(&h, digest);
    hex_of(hex, digest);
    return 0;
}

static int check_block(const struct map *m, const char *path, struct err *e)
{
    const char *found = (const char *)m->data;
    size_t n = sizeof magic - 1;
    if (m->size < BLOCK || memcmp(found, magic, n) != 0) {
        return err_set(e, "%s: found %s, wanted a checkpoint or data set of lorac (\"LORACH5\")",
                       path, err_quote(found, m->size < n ? m->size : n));
    }
    char hex[SHA256_HEX] = "", wanted[BLOCK];
    render_block(wanted, m->size, hex);
    if (memcmp(found, wanted, BYTES_AT) != 0) {
        return err_set(e, "%s: found %s, wanted \"version 1\": written by another version of lorac",
                       path, err_quote(found + VERSION_AT, sizeof version - 2));
    }
    if (memcmp(found, wanted, HEX_AT) != 0) {
        return err_set(e,
                       "%s: found %zu bytes, wanted %s: the file is damaged, or a copy that was "
                       "cut off",
                       path, m->size, err_quote(found + BYTES_AT + 6, 20));
    }
    int code = hash_behind_block(hex, m, e);
    if (code) return code;
    render_block(wanted, m->size, hex);
    if (memcmp(found, wanted, BLOCK) == 0) return 0;
    return err_set(e, "%s: checksum differs: found %.16s..., wanted %s...; the file is damaged",
                   path, hex, err_quote(found + HEX_AT, 16));
}

/* Write the block of a file that libhdf5 has closed. */
static int seal(const struct h5_writer *w, struct err *e)
{
    struct map m;
    char hex[SHA256_HEX], block[BLOCK];
    int code = map_open(&m, w->tmp, e);
    if (code) return code;
    CHECK(m.size > BLOCK);
    code = hash_behind_block(hex, &m, e);
    if (!code) {
        render_block(block, m.size, hex);
        if (pwrite(w->fd, block, BLOCK, 0) != BLOCK)
            code = err_errno(e, "%s: cannot write", w->path);
    }
    map_close(&m);
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* If libhdf5 fails to close a file, its state is broken. So it writes only its own structures, for
 * which room is reserved first; we write the numbers ourselves, into the places that it assigns. */

/* Make the temporary file ourselves, since libhdf5 cannot set a mode. A leftover may have another
 * mode. */
static int make_tmp(struct h5_writer *w, mode_t mode, struct err *e)
{
    unlink(w->tmp);
    w->fd = open(w->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (w->fd < 0) return err_errno(e, "%s: cannot write", w->path);
#if HAS_FILE_LOCKING /* an older libhdf5 locks the file itself and would fail at our lock */
    save_claim(w->path, w->fd);
#endif
    errno = posix_fallocate(w->fd, 0, METADATA_ROOM);
    bool unknown = errno == EOPNOTSUPP || errno == EINVAL; /* some file systems cannot reserve */
    return errno && !unknown ? err_errno(e, "%s: cannot write", w->path) : 0;
}

static hid_t create_file(const char *tmp, char why[REASON_BYTES])
{
    hid_t fapl = access_list(why);
    if (fapl < 0) return -1;
    hid_t file = -1, fcpl = noted(why, H5Pcreate(H5P_FILE_CREATE));
    if (fcpl >= 0 && noted(why, H5Pset_userblock(fcpl, BLOCK)) >= 0 &&
        noted(why, H5Pset_obj_track_times(fcpl, 0)) >= 0) {
        file = noted(why, H5Fcreate(tmp, H5F_ACC_TRUNC, fcpl, fapl));
    }
    if (fcpl >= 0) H5Pclose(fcpl);
    H5Pclose(fapl);
    return file;
}

int h5_create(struct h5_writer *w, const char *path, mode_t mode, struct err *e)
{
    quiet();
    w->file = w->fd = -1;
    int n = snprintf(w->path, sizeof w->path, "%s", path);
    if (n <= 0 || n >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    snprintf(w->tmp, sizeof w->tmp, "%s.tmp.%ld", path, (long)getpid());
    int code = make_tmp(w, mode, e);
    if (!code) {
        char why[REASON_BYTES];
        w->file = create_file(w->tmp, why);
        if (w->file < 0) code = failed(path, "cannot create", "", why, e);
    }
    if (code) h5_abort(w);
    return code;
}

/* A data set that is laid out at once, in one piece, without a time stamp. */
static hid_t create_dataset(hid_t file, const char *name, hid_t type, hid_t space,
                            char why[REASON_BYTES])
{
    hid_t set = -1, dcpl = noted(why, H5Pcreate(H5P_DATASET_CREATE));
    hid_t lcpl = dcpl < 0 ? -1 : noted(why, H5Pcreate(H5P_LINK_CREATE));
    if (lcpl >= 0 && noted(why, H5Pset_layout(dcpl, H5D_CONTIGUOUS)) >= 0 &&
        noted(why, H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY)) >= 0 &&
        noted(why, H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER)) >= 0 &&
        noted(why, H5Pset_obj_track_times(dcpl, 0)) >= 0 &&
        noted(why, H5Pset_create_intermediate_group(lcpl, 1)) >= 0) {
        set = noted(why, H5Dcreate2(file, name, type, space, lcpl, dcpl, H5P_DEFAULT));
    }
    if (lcpl >= 0) H5Pclose(lcpl);
    if (dcpl >= 0) H5Pclose(dcpl);
    return set;
}

static int write_at(const struct h5_writer *w, uint64_t offset, const char *p, size_t n,
                    struct err *e)
{
    while (n) {
        ssize_t done = pwrite(w->fd, p, n < 1u << 30 ? n : 1u << 30, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return err_errno(e, "%s: cannot write", w->path);
        p += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

/* Create a data set of n bytes; takes `space`. *at is their place in the file. */
static int place(struct h5_writer *w, uint64_t *at, const char *name, hid_t type, hid_t space,
                 size_t n, struct err *e)
{
    CHECK(strlen(name) <= NAME_MOST);
    char why[REASON_BYTES] = "no memory for its shape";
    hid_t set = space < 0 ? -1 : create_dataset(w->file, name, type, space, why);
    haddr_t found = set < 0 || n == 0 ? HADDR_UNDEF : H5Dget_offset(set);
    if (set >= 0 && n > 0 && found == HADDR_UNDEF) noted(why, -1);
    bool bad = set < 0 || (n > 0 && found == HADDR_UNDEF);
    if (set >= 0 && noted(why, H5Dclose(set)) < 0) bad = true;
    if (space >= 0) H5Sclose(space);
    *at = found;
    return bad ? failed(w->path, "cannot write", name, why, e) : 0;
}

/* Create a data set and write its n bytes; takes `space`. */
static int put(struct h5_writer *w, const char *name, hid_t type, hid_t space, const void *data,
               size_t n, struct err *e)
{
    uint64_t at;
    int code = place(w, &at, name, type, space, n, e);
    return !code && n > 0 ? write_at(w, at, data, n, e) : code;
}

int h5_put(struct h5_writer *w, const char *name, enum h5_type type, const void *data,
           unsigned rank, const uint64_t *dims, struct err *e)
{
    quiet();
    CHECK(rank <= H5_RANK);
    hsize_t size[H5_RANK];
    size_t bytes = H5Tget_size(file_type(type));
    for (unsigned i = 0; i < rank; i++) {
        size[i] = dims[i];
        CHECK(mem_mul(&bytes, bytes, dims[i]));
    }
    hid_t space = rank ? H5Screate_simple((int)rank, size, NULL) : H5Screate(H5S_SCALAR);
    return put(w, name, file_type(type), space, data, bytes, e);
}

int h5_place(struct h5_writer *w, uint64_t *at, const char *name, enum h5_type type, uint64_t n,
             struct err *e)
{
    quiet();
    hsize_t size = n;
    size_t bytes;
    CHECK(mem_mul(&bytes, H5Tget_size(file_type(type)), n));
    return place(w, at, name, file_type(type), H5Screate_simple(1, &size, NULL), bytes, e);
}

int h5_write(struct h5_writer *w, uint64_t at, const void *bytes, size_t n, struct err *e)
{
    return write_at(w, at, bytes, n, e);
}

int h5_put_i64(struct h5_writer *w, const char *name, int64_t v, struct err *e)
{
    return h5_put(w, name, H5_TYPE_I64, &v, 0, NULL, e);
}

int h5_put_f64(struct h5_writer *w, const char *name, double v, struct err *e)
{
    return h5_put(w, name, H5_TYPE_F64, &v, 0, NULL, e);
}

/* The type of a text of n bytes, n > 0. */
static hid_t text_type(size_t n, char why[REASON_BYTES])
{
    hid_t type = noted(why, H5Tcopy(H5T_C_S1));
    if (type < 0) return type;
    if (noted(why, H5Tset_size(type, n)) >= 0 &&
        noted(why, H5Tset_strpad(type, H5T_STR_NULLPAD)) >= 0 &&
        noted(why, H5Tset_cset(type, H5T_CSET_UTF8)) >= 0) {
        return type;
    }
    H5Tclose(type);
    return -1;
}

int h5_put_text(struct h5_writer *w, const char *name, const char *text, size_t n, struct err *e)
{
    quiet();
    char why[REASON_BYTES];
    hid_t type = text_type(n ? n : 1, why);
    if (type < 0) return failed(w->path, "cannot write", name, why, e);
    /* HDF5 has no strings of length 0, so the empty text is a string without a value. */
    int code = put(w, name, type, H5Screate(n ? H5S_SCALAR : H5S_NULL), text, n, e);
    H5Tclose(type);
    return code;
}

int h5_commit(struct h5_writer *w, struct err *e)
{
    quiet();
    CHECK(w->file >= 0);
    char why[REASON_BYTES];
    bool closed = noted(why, H5Fclose(w->file)) >= 0;
    int code = closed ? 0 : failed(w->path, "cannot write", "", why, e);
    w->file = -1;
    if (!code) code = seal(w, e);
    if (!code) {
        if (close(w->fd) != 0) code = err_errno(e, "%s: cannot write", w->path);
        w->fd = -1;
        if (!code) return file_publish(w->tmp, w->path, e);
        unlink(w->tmp);
    }
    h5_abort(w);
    return code;
}

void h5_abort(struct h5_writer *w)
{
    quiet();
    if (w->file >= 0) {
        /* On a full disk libhdf5 could not write its structures: free the file's space first. */
        if (ftruncate(w->fd, 0) != 0) errno = 0;
        H5Fclose(w->file);
    }
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->tmp);
    }
    w->file = w->fd = -1;
}

/* ---- reading --------------------------------------------------------------------------------- */

static hid_t open_file(const char *path, char why[REASON_BYTES])
{
    hid_t fapl = access_list(why);
    if (fapl < 0) return fapl;
    hid_t file = noted(why, H5Fopen(path, H5F_ACC_RDONLY, fapl));
    H5Pclose(fapl);
    return file;
}

/* Check that libhdf5, which opens by name, opened the file that was checked. */
static int check_same(const struct stat *checked, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) return err_errno(e, "%s", path);
    bool same = st.st_dev == checked->st_dev && st.st_ino == checked->st_ino &&
                st.st_size == checked->st_size && st.st_mtim.tv_sec == checked->st_mtim.tv_sec &&
                st.st_mtim.tv_nsec == checked->st_mtim.tv_nsec;
    return same ? 0 : err_set(e, "%s: was replaced while it was being read; try again", path);
}

int h5_open(struct h5_reader *r, const char *path, struct err *e)
{
    quiet();
    r->file = -1;
    int n = snprintf(r->path, sizeof r->path, "%s", path);
    if (n <= 0 || n >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    struct map m;
    int code = map_open(&m, path, e);
    if (code) return code;
    r->bytes = m.size;
    struct stat checked = m.st;
    code = check_block(&m, path, e);
    if (!code) code = h5_check(&m, BLOCK, path, e);
    map_close(&m);
    if (code) return code;
    char why[REASON_BYTES];
    r->file = open_file(path, why);
    if (r->file < 0) return failed(path, "cannot open", "", why, e);
    code = check_same(&checked, path, e);
    if (code) h5_close(r);
    return code;
}

void h5_close(struct h5_reader *r)
{
    if (r->file >= 0) H5Fclose(r->file);
    r->file = -1;
}

/* Whether every step of the name exists: 1, 0, or -1 if that cannot be found out. */
static int has_path(hid_t file, const char *name, char why[REASON_BYTES])
{
    char part[NAME_MOST + 1];
    int n = snprintf(part, sizeof part, "%s", name);
    CHECK(n > 0 && n <= NAME_MOST);
    for (char *p = part;; p++) {
        if (*p && *p != '/') continue;
        char end = *p;
        *p = 0;
        int there = (int)noted(why, H5Lexists(file, part, H5P_DEFAULT));
        if (there <= 0) return there < 0 ? -1 : 0;
        *p = end;
        if (!end) return 1;
    }
}

int h5_has(bool *has, const struct h5_reader *r, const char *name, struct err *e)
{
    char why[REASON_BYTES];
    quiet();
    int there = has_path(r->file, name, why);
    *has = there > 0;
    return there < 0 ? failed(r->path, "cannot find", name, why, e) : 0;
}

static int open_dataset(hid_t *set, const struct h5_reader *r, const char *name, struct err *e)
{
    quiet();
    *set = -1;
    char why[REASON_BYTES];
    int there = has_path(r->file, name, why);
    if (there < 0) return failed(r->path, "cannot find", name, why, e);
    if (there == 0) return err_set(e, "%s: %s is missing", r->path, name);
    *set = noted(why, H5Dopen2(r->file, name, H5P_DEFAULT));
    return *set < 0 ? failed(r->path, "cannot open", name, why, e) : 0;
}

static bool has_type(hid_t set, hid_t wanted)
{
    hid_t type = H5Dget_type(set);
    bool same = type >= 0 && H5Tequal(type, wanted) > 0;
    if (type >= 0) H5Tclose(type);
    return same;
}

/* -1 when it is not an array of at most H5_RANK dimensions. */
static int shape_of(hsize_t dims[H5_RANK], hid_t set)
{
    hid_t space = H5Dget_space(set);
    if (space < 0) return -1;
    bool array = H5Sget_simple_extent_type(space) != H5S_NULL;
    int rank = array ? H5Sget_simple_extent_ndims(space) : -1;
    if (rank > H5_RANK) rank = -1;
    if (rank > 0) H5Sget_simple_extent_dims(space, dims, NULL);
    H5Sclose(space);
    return rank;
}

static int check_array(hid_t set, const struct h5_reader *r, const char *name, enum h5_type type,
                       unsigned rank, const uint64_t *dims, struct err *e)
{
    if (!has_type(set, file_type(type))) {
        return err_set(e, "%s: %s: found numbers of another type", r->path, name);
    }
    hsize_t found[H5_RANK] = { 0 };
    int n = shape_of(found, set);
    bool same = n == (int)rank;
    for (unsigned i = 0; same && i < rank; i++) same = found[i] == dims[i];
    if (same) return 0;
    char text[2][H5_RANK * 24] = { "", "" };
    for (int i = 0; i < n; i++) {
        size_t len = strlen(text[0]);
        snprintf(text[0] + len, sizeof text[0] - len, i ? ", %" PRIu64 : "%" PRIu64,
                 (uint64_t)found[i]);
    }
    for (unsigned i = 0; i < rank; i++) {
        size_t len = strlen(text[1]);
        snprintf(text[1] + len, sizeof text[1] - len, i ? ", %" PRIu64 : "%" PRIu64, dims[i]);
    }
    return err_set(e, "%s: %s: found shape (%s), wanted (%s)", r->path, name, text[0], text[1]);
}

static int read_all(void *data, hid_t set, hid_t type, const struct h5_reader *r, const char *name,
                    struct err *e)
{
    char why[REASON_BYTES];
    bool read = noted(why, H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data)) >= 0;
    return read ? 0 : failed(r->path, "cannot read", name, why, e);
}

int h5_get(void *data, const struct h5_reader *r, const char *name, enum h5_type type,
           unsigned rank, const uint64_t *dims, struct err *e)
{
    CHECK(rank <= H5_RANK);
    hid_t set;
    int code = open_dataset(&set, r, name, e);
    if (code) return code;
    code = check_array(set, r, name, type, rank, dims, e);
    bool empty = false;
    for (unsigned i = 0; i < rank; i++) empty |= dims[i] == 0;
    if (!code && !empty) code = read_all(data, set, memory_type(type), r, name, e);
    H5Dclose(set);
    return code;
}

int h5_get_i64(int64_t *v, const struct h5_reader *r, const char *name, struct err *e)
{
    return h5_get(v, r, name, H5_TYPE_I64, 0, NULL, e);
}

int h5_get_f64(double *v, const struct h5_reader *r, const char *name, struct err *e)
{
    return h5_get(v, r, name, H5_TYPE_F64, 0, NULL, e);
}

int h5_length(size_t *n, const struct h5_reader *r, const char *name, enum h5_type type,
              struct err *e)
{
    hid_t set;
    int code = open_dataset(&set, r, name, e);
    if (code) return code;
    hsize_t dims[H5_RANK] = { 0 };
    bool row = has_type(set, file_type(type)) && shape_of(dims, set) == 1;
    H5Dclose(set);
    if (!row)
        return err_set(e, "%s: %s: found something else, wanted a row of numbers", r->path, name);
    if (dims[0] > r->bytes) {
        return err_set(e, "%s: %s: found a length of %" PRIu64 " in a file of %" PRIu64 " bytes",
                       r->path, name, (uint64_t)dims[0], r->bytes);
    }
    *n = (size_t)dims[0];
    return 0;
}

int h5_find(uint64_t *at, const struct h5_reader *r, const char *name, enum h5_type type,
            uint64_t n, struct err *e)
{
    hid_t set;
    int code = open_dataset(&set, r, name, e);
    if (code) return code;
    code = check_array(set, r, name, type, 1, &n, e);
    haddr_t found = code || n == 0 ? 0 : H5Dget_offset(set);
    H5Dclose(set);
    if (code) return code;
    uint64_t size = H5Tget_size(file_type(type));
    bool inside = found <= r->bytes && n <= (r->bytes - found) / size; /* undefined is UINT64_MAX */
    if (!inside || found % size) {
        return err_set(e, "%s: %s: its %" PRIu64 " numbers do not lie in the file", r->path, name,
                       n);
    }
    *at = found;
    return 0;
}

/* Read a string of n bytes, the size of its type, into out. */
static int read_text(struct str *out, hid_t set, hid_t type, const struct h5_reader *r,
                     const char *name, struct err *e)
{
    size_t n = H5Tget_size(type), at = out->n;
    if (n > r->bytes) return err_set(e, "%s: %s: longer than its file", r->path, name);
    static const char zeros[4096];
    for (size_t left = n; left;) {
        size_t piece = left < sizeof zeros ? left : sizeof zeros;
        str_add(out, zeros, piece);
        left -= piece;
    }
    int code = str_error(out, e);
    return code ? code : read_all(out->p + at, set, type, r, name, e);
}

int h5_get_text(struct str *out, const struct h5_reader *r, const char *name, struct err *e)
{
    hid_t set;
    int code = open_dataset(&set, r, name, e);
    if (code) return code;
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    H5S_class_t kind = space >= 0 ? H5Sget_simple_extent_type(space) : H5S_NO_CLASS;
    bool text = type >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
    if (!text || (kind != H5S_SCALAR && kind != H5S_NULL)) {
        code = err_set(e, "%s: %s: found something else, wanted a text", r->path, name);
    } else if (kind == H5S_SCALAR) {
        code = read_text(out, set, type, r, name, e);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    H5Dclose(set);
    return code;
}
