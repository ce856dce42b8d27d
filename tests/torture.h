/* Between lorac and the C library: every call that can fail for reasons outside the program is
 * counted, and at a chosen one the process dies, or the call fails, or it and all later ones fail.
 *
 * Included by one program, whose definitions take the place of the library's also for the shared
 * libraries it uses (libhdf5, jansson, libyaml, libcrypto, the C library's own malloc). Allocations
 * of the threading and BLAS libraries never fail, because these end the process when one does.
 *
 * Only one thread calls: threads that are begun while a plan is in force are run to their end at
 * once, so that the n-th call is the same call in every run. */
#ifndef LORAC_TESTS_TORTURE_H
#define LORAC_TESTS_TORTURE_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/ticker.h"
#include "tests/sanitized.h"

enum kind { CALLS_FILES, CALLS_MEMORY };

/* What is to happen; all zero: nothing, and nothing is counted. */
struct plan {
    bool on;
    enum kind kind; /* of the calls that count */
    long die_at;    /* at this call, counted from 1, the process is gone */
    long fail_at;   /* at this one there is an error */
    bool fail_on;   /* and at all later ones */
};

enum { KILLED = 137 };

static struct plan plan;
static long calls;        /* so far, of the plan's kind */
static bool fired;        /* whether the plan has done something */
static const char *place; /* the function at which it first did */

/* One more call; true when it has to fail, with errno set. */
static bool disturbed(enum kind kind, const char *name, int error)
{
    if (!plan.on || plan.kind != kind) return false;
    calls++;
    if (calls == plan.die_at) _exit(KILLED);
    if (!plan.fail_at || (plan.fail_on ? calls < plan.fail_at : calls != plan.fail_at))
        return false;
    if (!fired) place = name;
    fired = true;
    errno = error;
    return true;
}

#define FILES(error) disturbed(CALLS_FILES, __func__, error)

/* The library's own function of the caller's name. */
#define REAL(type)                                                                                 \
    static __typeof__(type) real;                                                                  \
    if (!real) {                                                                                   \
        void *at = dlsym(RTLD_NEXT, __func__);                                                     \
        memcpy(&real, &at, sizeof at);                                                             \
    }

/* ---- files ----------------------------------------------------------------------------------- */

static int open_as(const char *name, int dir, const char *path, int flags, mode_t mode)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (disturbed(CALLS_FILES, name, writes ? ENOSPC : EIO)) return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;                                    \
        va_end(ap);                                                                                \
        return open_as(#name, AT_FDCWD, path, flags, mode);                                        \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                               \
    int name(int dir, const char *path, int flags, ...)                                            \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;                                    \
        va_end(ap);                                                                                \
        return open_as(#name, dir, path, flags, mode);                                             \
    }
OPENAT(openat)
OPENAT(openat64)

/* A closed descriptor is closed, whatever close() says. */
int close(int fd)
{
    bool fails = FILES(EIO);
    int result = (int)syscall(SYS_close, fd);
    return fails ? (errno = EIO, -1) : result;
}

ssize_t read(int fd, void *to, size_t n)
{
    return FILES(EIO) ? -1 : syscall(SYS_read, fd, to, n);
}
ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    return FILES(EIO) ? -1 : syscall(SYS_pread64, fd, to, n, at);
}
ssize_t pread64(int fd, void *to, size_t n, off_t at)
{
    return FILES(EIO) ? -1 : syscall(SYS_pread64, fd, to, n, at);
}

/* Of a write that dies or fails, half is done. */
static bool at_once(void)
{
    return plan.on && plan.kind == CALLS_FILES &&
           (calls + 1 == plan.die_at || calls + 1 == plan.fail_at);
}
ssize_t write(int fd, const void *from, size_t n)
{
    if (at_once()) syscall(SYS_write, fd, from, n / 2);
    return FILES(ENOSPC) ? -1 : syscall(SYS_write, fd, from, n);
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (at_once()) syscall(SYS_pwrite64, fd, from, n / 2, at);
    return FILES(ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, from, n, at);
}
ssize_t pwrite64(int fd, const void *from, size_t n, off_t at)
{
    if (at_once()) syscall(SYS_pwrite64, fd, from, n / 2, at);
    return FILES(ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, from, n, at);
}
int fsync(int fd)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}
int ftruncate(int fd, off_t size)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off_t size)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int posix_fallocate(int fd, off_t at, off_t n)
{
    if (FILES(ENOSPC)) return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, at, n) == 0 ? 0 : errno;
}
int flock(int fd, int how)
{
    return FILES(ENOLCK) ? -1 : (int)syscall(SYS_flock, fd, how);
}
int rename(const char *from, const char *to)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (FILES(EIO)) return -1;
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
int unlink(const char *path)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
int unlinkat(int dir, const char *path, int flags)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_unlinkat, dir, path, flags);
}
int rmdir(const char *path)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
int mkdir(const char *path, mode_t mode)
{
    return FILES(ENOSPC) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int access(const char *path, int how)
{
    return FILES(EIO) ? -1 : (int)syscall(SYS_faccessat, AT_FDCWD, path, how);
}
int stat(const char *path, struct stat *st)
{
    REAL(int (*)(const char *, struct stat *))
    return FILES(EIO) ? -1 : real(path, st);
}
int fstat(int fd, struct stat *st)
{
    REAL(int (*)(int, struct stat *))
    return FILES(EIO) ? -1 : real(fd, st);
}
DIR *opendir(const char *path)
{
    REAL(DIR * (*)(const char *))
    return FILES(EIO) ? NULL : real(path);
}
struct dirent *readdir(DIR *d)
{
    REAL(struct dirent * (*)(DIR *))
    return FILES(EIO) ? NULL : real(d);
}
FILE *fopen(const char *path, const char *mode)
{
    REAL(FILE * (*)(const char *, const char *))
    return FILES(ENOSPC) ? NULL : real(path, mode);
}
int fflush(FILE *f)
{
    REAL(int (*)(FILE *))
    bool fails = f != stderr && FILES(ENOSPC);
    int result = real(f);
    return fails ? (errno = ENOSPC, EOF) : result;
}

/* ---- memory ---------------------------------------------------------------------------------- */

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    if (disturbed(CALLS_MEMORY, __func__, ENOMEM)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}

#if SANITIZED
static void find_spared(void) {}
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

/* The libraries that do not survive a failure. OpenMP's and BLAS's print and exit, by design;
 * libcrypto 3.0 crashes when memory fails while it begins; libhdf5 1.10.8 crashes there, and calls
 * exit() where it makes a data set (both measured). */
struct code {
    uintptr_t from, to;
};
static struct code spared[16], libc;
static size_t n_spared;

static int note_spared(struct dl_phdr_info *info, size_t size, void *unused)
{
    static const char *const names[] = { "libgomp",   "libomp",  "openblas", "libblas",
                                         "libcrypto", "libhdf5", "ld-linux" };
    (void)size, (void)unused;
    for (int p = 0; p < info->dlpi_phnum; p++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[p];
        uintptr_t from = info->dlpi_addr + h->p_vaddr;
        struct code code = { from, from + h->p_memsz };
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X)) continue;
        if (strstr(info->dlpi_name, "/libc.so")) libc = code;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strstr(info->dlpi_name, names[i]) && n_spared < 16) spared[n_spared++] = code;
    }
    return 0;
}
static void find_spared(void)
{
    void *frame;
    backtrace(&frame, 1); /* loads its library now */
    dl_iterate_phdr(note_spared, NULL);
}
static bool within(struct code code, const void *at)
{
    return (uintptr_t)at >= code.from && (uintptr_t)at < code.to;
}
/* The caller of the C library: LLVM's OpenMP crashes when vsnprintf() gets no memory. */
static const void *asked_by(const void *caller)
{
    void *frames[16];
    if (!within(libc, caller)) return caller;
    int n = backtrace(frames, 16), i = 0;
    while (i < n && !within(libc, frames[i])) i++;
    while (i < n && within(libc, frames[i])) i++;
    return i < n ? frames[i] : caller;
}
static bool no_memory(const char *name, const void *caller)
{
    if (!plan.on || plan.kind != CALLS_MEMORY) return false;
    caller = asked_by(caller);
    for (size_t i = 0; i < n_spared; i++)
        if (within(spared[i], caller)) return false;
    return disturbed(CALLS_MEMORY, name, ENOMEM);
}

void *malloc(size_t n)
{
    return no_memory(__func__, __builtin_return_address(0)) ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return no_memory(__func__, __builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return no_memory(__func__, __builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}
#endif

/* ---- libhdf5 --------------------------------------------------------------------------------- */

/* It crashes when memory fails while it begins (1.10.8, measured). h5_init() begins it after a
 * probe for memory; between the two nothing fails here. */
int H5open(void);
int H5Eset_auto2(int64_t stack, void *report, void *data);
int H5open(void)
{
    REAL(int (*)(void))
    bool on = plan.on;
    plan.on = false;
    int result = real();
    plan.on = on;
    return result;
}
int H5Eset_auto2(int64_t stack, void *report, void *data)
{
    REAL(int (*)(int64_t, void *, void *))
    bool on = plan.on;
    plan.on = false;
    int result = real(stack, report, data);
    plan.on = on;
    return result;
}

/* ---- threads --------------------------------------------------------------------------------- */

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    REAL(int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))
    if (!plan.on) return real(thread, attr, run, arg);
    if (disturbed(CALLS_MEMORY, __func__, EAGAIN)) return EAGAIN;
    run(arg);
    *thread = 0;
    return 0;
}
int pthread_join(pthread_t thread, void **result)
{
    REAL(int (*)(pthread_t, void **))
    return thread == 0 ? 0 : real(thread, result);
}

/* In the place of src/base/ticker.c: what ticks has no end of its own, and makes calls at moments
 * that are different in each run. */
int ticker_start(struct ticker *t, double every_s, void (*tick)(void *to), void *to, struct err *e)
{
    *t = (struct ticker){ .every_s = every_s, .tick = tick, .to = to };
    return plan.on && disturbed(CALLS_MEMORY, __func__, EAGAIN) ? err_set(e, "cannot start") : 0;
}
void ticker_stop(struct ticker *t)
{
    t->running = false;
}

#endif
