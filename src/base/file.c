#include "src/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/base/term.h"

/* Open a regular file for reading; st describes what was opened. O_NONBLOCK: a FIFO must be
 * refused, not waited for. */
static int open_regular(const char *path, struct stat *st, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        err_errno(e, "%s", path);
        return -1;
    }
    if (fstat(fd, st) != 0) {
        err_errno(e, "%s", path);
    } else if (!S_ISREG(st->st_mode)) {
        err_set(e, "%s: is %s, wanted a regular file", path,
                S_ISDIR(st->st_mode) ? "a directory" : "not a regular file");
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

int map_open(struct map *m, const char *path, struct err *e)
{
    *m = (struct map){ 0 };
    int fd = open_regular(path, &m->st, e);
    if (fd < 0) return e->code;
    m->size = (size_t)m->st.st_size;
    void *p = m->size ? mmap(NULL, m->size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    int failed = errno;
    close(fd);
    if (p == MAP_FAILED) {
        errno = failed;
        return err_errno(e, "%s: cannot map %zu bytes", path, m->size);
    }
    m->data = p;
    return 0;
}

void map_close(struct map *m)
{
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
    m->data = NULL;
    m->size = 0;
}

void pages_release(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p, to = from + n;
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED); /* may fail */
}

bool is_lfs_pointer(const void *bytes, size_t n)
{
    static const char head[] = "version https://git-lfs.github.com/spec/";
    return n >= sizeof head - 1 && memcmp(bytes, head, sizeof head - 1) == 0;
}

int lfs_refuse(const char *path, struct err *e)
{
    return err_set(e, "%s: found a Git LFS pointer, wanted the file itself; run 'git lfs pull'",
                   path);
}

int file_read(struct str *out, const char *path, size_t most, struct err *e)
{
    struct stat st;
    int fd = open_regular(path, &st, e);
    if (fd < 0) return e->code;
    int code = 0;
    char buf[16384];
    for (size_t total = 0;;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) code = err_errno(e, "%s", path);
        if (n <= 0) break;
        total += (size_t)n;
        if (total > most) {
            code = err_set(e, "%s: larger than %zu bytes, which is too large for this kind of file",
                           path, most);
            break;
        }
        str_add(out, buf, (size_t)n);
    }
    close(fd);
    return code ? code : str_error(out, e);
}

int path_look(enum path_kind *kind, const char *path, struct err *e)
{
    struct stat st;
    *kind = PATH_NOTHING;
    if (stat(path, &st) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(e, "%s", path);
    }
    *kind = S_ISDIR(st.st_mode) ? PATH_DIRECTORY : S_ISREG(st.st_mode) ? PATH_FILE : PATH_OTHER;
    return 0;
}

bool file_exists(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0) return S_ISREG(st.st_mode);
    return errno != ENOENT && errno != ENOTDIR; /* opening the file will say why */
}

bool dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int path_must_be_free(const char *path, const char *remedy, struct err *e)
{
    struct stat st;
    if (stat(path, &st) == 0) return err_set(e, "%s: exists already; %s", path, remedy);
    return errno == ENOENT ? 0 : err_errno(e, "%s", path);
}

int dir_next(const struct dirent **entry, DIR *d, const char *path, struct err *e)
{
    errno = 0;
    *entry = readdir(d);
    return *entry || errno == 0 ? 0 : err_errno(e, "%s: cannot list it", path);
}

int path_join(char out[PATH_BYTES], const char *dir, const char *name, struct err *e)
{
    size_t n = strlen(dir);
    const char *slash = n && dir[n - 1] == '/' ? "" : "/";
    int len = snprintf(out, PATH_BYTES, "%s%s%s", n ? dir : ".", slash, name);
    if (len < 0 || len >= PATH_BYTES) {
        return err_set(e, "%s: path too long with %s", err_quotez(dir), err_quotez(name));
    }
    return 0;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
    char part[PATH_BYTES];
    int len = snprintf(part, sizeof part, "%s", path);
    if (len <= 0 || len >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    while (len > 1 && part[len - 1] == '/') part[--len] = 0;
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char end = *p;
        *p = 0;
        if (mkdir(part, end ? 0777 : mode) != 0 && errno != EEXIST) return err_errno(e, "%s", part);
        *p = end;
        if (!end) break;
    }
    struct stat st;
    if (stat(path, &st) != 0) return err_errno(e, "%s", path);
    return S_ISDIR(st.st_mode) ? 0 : err_set(e, "%s: is a file, wanted a directory", path);
}

/* Cut the last name off; false when none is before it. */
static bool cut_last(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    path[n] = 0;
    return n > 0;
}

size_t path_existing(const char *path)
{
    struct stat st;
    char part[PATH_BYTES];
    snprintf(part, sizeof part, "%s", path);
    while (lstat(part, &st) != 0)
        if (!cut_last(part)) return 0;
    return strlen(part);
}

void dir_remove_empty(const char *path, size_t existing)
{
    char part[PATH_BYTES];
    snprintf(part, sizeof part, "%s", path);
    while (strlen(part) > existing && rmdir(part) == 0)
        if (!cut_last(part)) return;
}

/* out = the path with symbolic links resolved; if it does not exist, that of the nearest directory
 * above it that does. */
static bool resolve_existing(char out[PATH_MAX], const char *path)
{
    char part[PATH_BYTES];
    int n = snprintf(part, sizeof part, "%s", path);
    if (n < 0 || n >= PATH_BYTES) return false;
    while (!realpath(part, out)) {
        char *slash = strrchr(part, '/');
        if (errno != ENOENT || !strcmp(part, ".")) return false;
        if (slash) {
            slash[slash == part] = 0; /* "/" stays */
        } else {
            snprintf(part, sizeof part, ".");
        }
    }
    return true;
}

int cache_path(char out[PATH_BYTES], const char *name, struct err *e)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = base && *base == '/';
    char dir[PATH_BYTES];
    if (!own && !(home && *home == '/')) {
        return err_set(e,
                       "no cache directory: neither XDG_CACHE_HOME nor HOME is an absolute path");
    }
    int n = snprintf(dir, sizeof dir, own ? "%s/lorac" : "%s/.cache/lorac", own ? base : home);
    if (n >= PATH_BYTES) return err_set(e, "the path of the cache directory is too long");
    return path_join(out, dir, name, e);
}

bool path_within(const char *inner, const char *outer)
{
    char a[PATH_MAX], b[PATH_MAX];
    if (!resolve_existing(a, inner) || !realpath(outer, b)) return false;
    size_t n = strlen(b);
    return strncmp(a, b, n) == 0 && (a[n] == 0 || a[n] == '/' || n == 1);
}

int dir_lock_try(int *fd, bool *held, const char *path, struct err *e)
{
    *held = false;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return err_errno(e, "%s", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    *held = errno == EWOULDBLOCK;
    dir_unlock(*fd);
    *fd = -1;
    return 0;
}

int dir_lock(int *fd, const char *path, struct err *e)
{
    bool held;
    int code = dir_lock_try(fd, &held, path, e);
    if (code || !held) return code;
    return err_set(e, "%s: another lorac is writing here; wait for it, or choose another place",
                   path);
}

void dir_unlock(int fd)
{
    if (fd >= 0) close(fd);
}

bool space_free(uint64_t *bytes, const char *path)
{
    char at[PATH_MAX];
    struct statvfs v;
    if (!resolve_existing(at, path) || statvfs(at, &v) != 0 || v.f_blocks == 0) return false;
    return !__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, bytes);
}

int space_need(const char *path, uint64_t bytes, const char *what, const char *remedy,
               struct err *e)
{
    char free_text[HUMAN_BYTES], need_text[HUMAN_BYTES];
    uint64_t room;
    if (!space_free(&room, path) || bytes <= room) return 0;
    return err_set(e, "%s: %s are free, %s %s; %s", path, human_bytes(free_text, (double)room),
                   what, human_bytes(need_text, (double)bytes), remedy);
}

/* fsync the directory that holds `path`, so that a rename in it survives a power cut. */
static int sync_parent(const char *path, struct err *e)
{
    char dir[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    int n = slash ? (int)(slash - path) : 1;
    snprintf(dir, sizeof dir, "%.*s", n ? n : 1, slash ? path : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, "%s", dir);
    int code = 0;
    if (fsync(fd) != 0 && errno != EINVAL) code = err_errno(e, "%s: cannot make it durable", dir);
    close(fd);
    return code;
}

/* Whether a name is BASE.tmp.NUMBER. */
static bool is_tmp_of(const char *name, const char *base)
{
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, ".tmp.", 5) != 0) return false;
    const char *number = name + n + 5;
    return *number && number[strspn(number, "0123456789")] == 0;
}

static void remove_if_dead(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(dir, name, 0);
    close(fd);
}

void save_claim(const char *path, int fd)
{
    char dir[PATH_BYTES];
    const char *base = path_base(path);
    int n = (int)(base - path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return; /* dead owners are not known */
    snprintf(dir, sizeof dir, "%.*s", n ? n : 1, n ? path : ".");
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d));)
        if (is_tmp_of(entry->d_name, base)) remove_if_dead(dirfd(d), entry->d_name);
    closedir(d);
}

int save_begin(struct save *s, const char *path, mode_t mode, struct err *e)
{
    *s = (struct save){ .fd = -1, .mode = mode };
    int n = snprintf(s->path, sizeof s->path, "%s", path);
    if (n <= 0 || n >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    snprintf(s->tmp, sizeof s->tmp, "%s.tmp.%ld", path, (long)getpid());
    unlink(s->tmp); /* a leftover may have another mode, and a link leads elsewhere */
    s->fd = open(s->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (s->fd < 0) return err_errno(e, "%s: cannot write", path);
    save_claim(path, s->fd);
    return 0;
}

int save_write(struct save *s, const void *bytes, size_t n, struct err *e)
{
    const char *p = bytes;
    while (n) {
        size_t chunk = n < (1u << 30) ? n : 1u << 30;
        ssize_t done = pwrite(s->fd, p, chunk, (off_t)s->written);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return err_errno(e, "%s: cannot write", s->path);
        p += done;
        n -= (size_t)done;
        s->written += (uint64_t)done;
    }
    return 0;
}

int save_commit(struct save *s, struct err *e)
{
    int code = 0;
    if (fsync(s->fd) != 0) code = err_errno(e, "%s: cannot make it durable", s->path);
    if (close(s->fd) != 0 && !code) code = err_errno(e, "%s: cannot write", s->path);
    s->fd = -1;
    if (!code && rename(s->tmp, s->path) != 0) code = err_errno(e, "%s: cannot rename", s->path);
    if (code) {
        unlink(s->tmp);
        return code;
    }
    return sync_parent(s->path, e);
}

void save_abort(struct save *s)
{
    if (s->fd < 0) return;
    close(s->fd);
    unlink(s->tmp);
    s->fd = -1;
}

int file_replace(const char *path, const void *bytes, size_t n, mode_t mode, struct err *e)
{
    struct save s;
    int code = save_begin(&s, path, mode, e);
    if (!code) code = save_write(&s, bytes, n, e);
    if (!code) return save_commit(&s, e);
    save_abort(&s);
    return code;
}

int file_publish(const char *tmp, const char *path, struct err *e)
{
    int fd = open(tmp, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, "%s", tmp);
    int code = 0;
    if (fsync(fd) != 0) code = err_errno(e, "%s: cannot make it durable", path);
    close(fd);
    if (!code && rename(tmp, path) != 0) code = err_errno(e, "%s: cannot rename", path);
    if (code) {
        unlink(tmp);
        return code;
    }
    return sync_parent(path, e);
}
