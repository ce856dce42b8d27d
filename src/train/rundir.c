#include "src/train/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/base/machine.h"

static int refuse_locked(const struct rundir *r, struct err *e)
{
    char who[256] = "";
    ssize_t n = pread(r->lock, who, sizeof who - 1, 0);
    if (n > 0) who[strcspn(who, "\n")] = 0;
    return err_set(e,
                   "%s: another run is writing here (%s); wait for it, or choose another "
                   "output.dir",
                   r->path, n > 0 ? who : "unknown process");
}

/* The step of a checkpoint's name, or -1. */
static int64_t step_of(const char *name)
{
    size_t digits = strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    if (digits < 6 || digits > 18 || strcmp(name + 5 + digits, ".h5") != 0) return -1;
    return strtoll(name + 5, NULL, 10);
}

/* Adapter directories are flat: files only. */
static void remove_directory(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d));) {
        char file[PATH_BYTES];
        struct err ignored;
        if (!path_join(file, path, entry->d_name, &ignored)) unlink(file);
    }
    closedir(d);
    rmdir(path);
}

/* Whether a name is that of a temporary file or directory of ours: what it was for, ".tmp.", the
 * number of the process. */
static bool is_temporary(const char *name)
{
    static const char *const made[] = { "config.yaml", "metrics.jsonl", "run.json", ".adapter",
                                        ".best" };
    char of[64];
    const char *tail = strstr(name, ".tmp.");
    if (!tail || (size_t)(tail - name) >= sizeof of) return false;
    size_t digits = strspn(tail + 5, "0123456789");
    if (!digits || tail[5 + digits]) return false;
    snprintf(of, sizeof of, "%.*s", (int)(tail - name), name);
    if (step_of(of) >= 0) return true;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (strcmp(of, made[i]) == 0) return true;
    return false;
}

/* Where two names cannot be exchanged, a kill between two renames leaves the old directory aside. */
static void recover_old(const struct rundir *r, const char *name)
{
    char path[PATH_BYTES], old[PATH_BYTES + 8];
    struct err ignored;
    if (rundir_path(path, r, name, &ignored)) return;
    snprintf(old, sizeof old, "%s.old", path);
    if (!dir_exists(old)) return;
    if (dir_exists(path) || rename(old, path) != 0) remove_directory(old);
}

/* What a killed run was in the middle of. The lock is held: nobody else is writing here. */
static int remove_leftovers(const struct rundir *r, struct err *e)
{
    DIR *d = opendir(r->path);
    if (!d) return err_errno(e, "%s", r->path);
    const struct dirent *entry;
    int code;
    while (!(code = dir_next(&entry, d, r->path, e)) && entry) {
        char path[PATH_BYTES];
        struct err ignored;
        if (!is_temporary(entry->d_name) || rundir_path(path, r, entry->d_name, &ignored)) continue;
        if (dir_exists(path)) {
            remove_directory(path);
        } else {
            unlink(path);
        }
    }
    closedir(d);
    if (code) return code;
    recover_old(r, "adapter");
    recover_old(r, "best");
    return 0;
}

int rundir_open(struct rundir *r, const char *path, bool is_private, struct err *e)
{
    char name[PATH_BYTES];
    *r = (struct rundir){ .is_private = is_private, .lock = -1 };
    int n = snprintf(r->path, sizeof r->path, "%s", path);
    if (n <= 0 || n >= PATH_BYTES) return err_set(e, "%s is not a path", err_quotez(path));
    int code = dir_make(path, is_private ? 0700 : 0777, e);
    if (!code) code = rundir_path(name, r, ".lock", e);
    if (code) return code;
    r->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock < 0) return err_errno(e, "%s: cannot write", name);
    if (flock(r->lock, LOCK_EX | LOCK_NB) != 0) {
        code = errno == EWOULDBLOCK ? refuse_locked(r, e) : err_errno(e, "%s: cannot lock", name);
        close(r->lock);
        r->lock = -1;
        return code;
    }
    char who[256];
    int len = snprintf(who, sizeof who, "process %ld on %s\n", (long)getpid(), machine_host());
    if (ftruncate(r->lock, 0) != 0 || pwrite(r->lock, who, (size_t)len, 0) != len) {
        code = err_errno(e, "%s: cannot write", name);
    }
    if (!code) code = remove_leftovers(r, e);
    if (code) rundir_close(r);
    return code;
}

void rundir_close(struct rundir *r)
{
    if (r->lock >= 0) close(r->lock); /* the kernel lets go of the lock */
    r->lock = -1;
}

int rundir_path(char out[PATH_BYTES], const struct rundir *r, const char *name, struct err *e)
{
    return path_join(out, r->path, name, e);
}

mode_t rundir_mode(const struct rundir *r)
{
    return r->is_private ? 0600 : 0666;
}

int rundir_used(bool *used, const struct rundir *r, struct err *e)
{
    static const char *const left[] = { "metrics.jsonl", "config.yaml", "run.json", "adapter" };
    char path[PATH_BYTES];
    uint64_t step;
    size_t n = 0;
    *used = false;
    for (size_t i = 0; i < sizeof left / sizeof *left && !*used; i++) {
        int code = rundir_path(path, r, left[i], e);
        if (code) return code;
        *used = access(path, F_OK) == 0;
        if (!*used && errno != ENOENT) return err_errno(e, "%s", path);
    }
    int code = *used ? 0 : rundir_list(&step, 1, &n, r, e);
    *used |= n > 0;
    return code;
}

int rundir_checkpoint(char out[PATH_BYTES], const struct rundir *r, uint64_t step, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "step-%06llu.h5", (unsigned long long)step);
    return rundir_path(out, r, name, e);
}

int rundir_list(uint64_t *steps, size_t most, size_t *n, const struct rundir *r, struct err *e)
{
    *n = 0;
    DIR *d = opendir(r->path);
    if (!d) return err_errno(e, "%s", r->path);
    const struct dirent *entry;
    int code;
    while (!(code = dir_next(&entry, d, r->path, e)) && entry) {
        int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        size_t at = *n; /* insertion: the list is short */
        while (at > 0 && steps[at - 1] < (uint64_t)step) at--;
        if (at >= most) continue;
        size_t moved = *n < most ? *n - at : most - 1 - at;
        memmove(steps + at + 1, steps + at, moved * sizeof *steps);
        steps[at] = (uint64_t)step;
        if (*n < most) ++*n;
    }
    closedir(d);
    return code;
}

enum { PRUNED_MOST = 4096 };

static int remove_checkpoint(const struct rundir *r, uint64_t step, struct err *e)
{
    char path[PATH_BYTES];
    int code = rundir_checkpoint(path, r, step, e);
    return code || unlink(path) == 0 ? code : err_errno(e, "%s: cannot remove", path);
}

int rundir_prune(const struct rundir *r, size_t keep, struct err *e)
{
    uint64_t steps[PRUNED_MOST];
    size_t n;
    int code = rundir_list(steps, PRUNED_MOST, &n, r, e);
    for (size_t i = keep; !code && i < n; i++) code = remove_checkpoint(r, steps[i], e);
    return code;
}

int rundir_prune_after(const struct rundir *r, uint64_t step, size_t *n, struct err *e)
{
    uint64_t steps[PRUNED_MOST];
    size_t all;
    int code = rundir_list(steps, PRUNED_MOST, &all, r, e);
    for (*n = 0; !code && *n < all && steps[*n] > step; ++*n)
        code = remove_checkpoint(r, steps[*n], e);
    return code;
}

int rundir_replace_begin(char tmp[PATH_BYTES], const struct rundir *r, const char *name,
                         struct err *e)
{
    char unique[128];
    snprintf(unique, sizeof unique, ".%s.tmp.%ld", name, (long)getpid());
    int code = rundir_path(tmp, r, unique, e);
    if (code) return code;
    remove_directory(tmp);
    return dir_make(tmp, 0777, e);
}

static int sync_directory(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, "%s", path);
    int code = fsync(fd) != 0 && errno != EINVAL ? err_errno(e, "%s: cannot make it durable", path)
                                                 : 0;
    close(fd);
    return code;
}

int rundir_replace_commit(const char *tmp, const struct rundir *r, const char *name, struct err *e)
{
    char path[PATH_BYTES], old[PATH_BYTES + 8];
    enum path_kind kind;
    int code = rundir_path(path, r, name, e);
    if (!code) code = sync_directory(tmp, e);
    if (!code) code = path_look(&kind, path, e);
    if (code) return code;
    if (kind != PATH_DIRECTORY) {
        if (rename(tmp, path) != 0) return err_errno(e, "%s: cannot rename", path);
        return sync_directory(r->path, e);
    }
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        remove_directory(tmp); /* what was there before */
        return sync_directory(r->path, e);
    }
    /* a file system without exchange: for a moment neither is there */
    snprintf(old, sizeof old, "%s.old", path);
    remove_directory(old);
    if (rename(path, old) != 0) return err_errno(e, "%s: cannot rename", path);
    if (rename(tmp, path) != 0) {
        err_errno(e, "%s: cannot rename", path);
        recover_old(r, name);
        return e->code;
    }
    remove_directory(old);
    return sync_directory(r->path, e);
}

void rundir_replace_abort(const char *tmp)
{
    remove_directory(tmp);
}
