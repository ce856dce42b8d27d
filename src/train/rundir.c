#include "src/train/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/str.h"

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

/* Where names cannot be exchanged, a kill between two renames leaves the old directory aside. */
static void recover_old(const struct rundir *r, const char *name)
{
    char path[PATH_BYTES], old[PATH_BYTES + 8];
    struct err ignored;
    if (rundir_path(path, r, name, &ignored)) return;
    snprintf(old, sizeof old, "%s.old", path);
    if (!dir_exists(old)) return;
    if (dir_exists(path) || rename(old, path) != 0) remove_directory(old);
}

/* Remove unfinished work of a killed run. The lock is held: nobody else is writing here. */
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

/* ---- making and leaving it ------------------------------------------------------------------- */

/* The uppermost directory on the way to `path` that is missing, or "". */
static void find_missing(char out[PATH_BYTES], const char *path)
{
    snprintf(out, PATH_BYTES, "%s", path);
    for (char *p = out + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (access(out, F_OK) != 0) return;
        *p = '/';
    }
    if (access(out, F_OK) == 0) *out = 0;
}

/* A run that was refused leaves nothing new. Directories that hold something by now stay. */
static void remove_made(struct rundir *r)
{
    char path[PATH_BYTES];
    if (!*r->made) return;
    snprintf(path, sizeof path, "%s", r->path);
    size_t least = strlen(r->made), n = strlen(path);
    while (n >= least) {
        while (n > 1 && path[n - 1] == '/') path[--n] = 0;
        if (n < least || rmdir(path) != 0) break;
        while (n > 0 && path[n - 1] != '/') path[--n] = 0;
    }
    *r->made = 0;
}

int rundir_open(struct rundir *r, const char *path, bool is_private, struct err *e)
{
    *r = (struct rundir){ .is_private = is_private, .lock.fd = -1 };
    int n = snprintf(r->path, sizeof r->path, "%s", path);
    if (n <= 0 || n >= PATH_BYTES) return err_set(e, "%s is not a path", err_quotez(path));
    find_missing(r->made, path);
    int code = dir_make(path, is_private ? 0700 : 0777, e);
    if (!code) code = runlock_take(&r->lock, path, e);
    if (!code) code = remove_leftovers(r, e);
    if (code) rundir_close(r);
    return code;
}

void rundir_close(struct rundir *r)
{
    runlock_release(&r->lock, !r->begun);
    if (!r->begun) remove_made(r);
}

/* ---- what is there --------------------------------------------------------------------------- */

int rundir_path(char out[PATH_BYTES], const struct rundir *r, const char *name, struct err *e)
{
    return path_join(out, r->path, name, e);
}

mode_t rundir_mode(const struct rundir *r)
{
    return r->is_private ? 0600 : 0666;
}

static int is_there(bool *there, const char *dir, const char *name, struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, dir, name, e);
    if (code) return code;
    *there = access(path, F_OK) == 0;
    bool missing = !*there && (errno == ENOENT || errno == ENOTDIR);
    return *there || missing ? 0 : err_errno(e, "%s", path);
}

/* A run's first files are .lock and config.yaml; either alone, or an adapter, may be anybody's. */
int rundir_used(bool *used, const char *path, struct err *e)
{
    struct rundir dir = { .lock.fd = -1 };
    bool locked = false, config = false;
    uint64_t step;
    size_t n = 0;
    snprintf(dir.path, sizeof dir.path, "%s", path);
    int code = is_there(used, path, "run.json", e);
    if (!code) code = is_there(&locked, path, ".lock", e);
    if (!code) code = is_there(&config, path, "config.yaml", e);
    if (!code && dir_exists(path)) code = rundir_list(&step, 1, &n, &dir, e);
    *used |= (locked && config) || n > 0;
    return code;
}

static bool is_same(const char *path, const char *other)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

/* Files that may lie where a run begins: logs of the job, files that nobody put there on purpose,
 * and what a run leaves that was killed at its beginning. */
static bool may_be_beside(const char *name, const char *path)
{
    static const char *const tails[] = { ".log", ".out", ".err" };
    static const char *const names[] = { ".",        "..",         ".lock",     ".DS_Store",
                                         ".gitkeep", ".gitignore", "lost+found" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (str_ends_with(name, tails[i]) && !dir_exists(path)) return true;
    return is_temporary(name) || strncmp(name, ".nfs", 4) == 0;
}

/* The error for the first thing in a directory that a run must not begin beside. */
static int refuse_strange(const char *dir, const char *config, struct err *e)
{
    DIR *d = opendir(dir);
    if (!d) return err_errno(e, "%s", dir);
    const struct dirent *entry;
    int code;
    while (!(code = dir_next(&entry, d, dir, e)) && entry) {
        char path[PATH_BYTES];
        code = path_join(path, dir, entry->d_name, e);
        if (code) break;
        bool given = config && is_same(path, config);
        if (given && strcmp(entry->d_name, "config.yaml") == 0) {
            code = err_usage(e,
                             "%s is the configuration given, and a run writes its resolved one "
                             "under that name; give yours another name, or choose another "
                             "output.dir",
                             path);
            break;
        }
        if (given || may_be_beside(entry->d_name, path)) continue;
        code = err_usage(
            e,
            "%s is not empty and not the directory of a run: it holds %s; choose a new "
            "or an empty directory, such as %s/run",
            dir, err_quotez(entry->d_name), dir);
        break;
    }
    closedir(d);
    return code;
}

/* The nearest directory above that exists must allow one to be made in it. */
static int check_above(const char *path, struct err *e)
{
    char above[PATH_BYTES];
    enum path_kind kind;
    struct stat st;
    if (lstat(path, &st) == 0)
        return err_usage(e, "%s: is a symbolic link to nothing, wanted a directory", path);
    find_missing(above, path);
    size_t n = strlen(above);
    while (n > 1 && above[n - 1] == '/') n--;
    while (n > 0 && above[n - 1] != '/') n--;
    while (n > 1 && above[n - 1] == '/') n--;
    above[n] = 0;
    const char *at = n ? above : ".";
    int code = path_look(&kind, at, e);
    if (code) return code;
    if (kind != PATH_DIRECTORY) return err_set(e, "%s: is a file, wanted a directory", at);
    return access(at, W_OK | X_OK) == 0 ? 0 : err_errno(e, "%s", path);
}

int rundir_look(const char *path, const char *config, struct err *e)
{
    enum path_kind kind;
    char who[256];
    bool used = false;
    if (!*path || strlen(path) >= PATH_BYTES)
        return err_usage(e, "%s is not a path", err_quotez(path));
    int code = path_look(&kind, path, e);
    if (code) return code;
    if (kind == PATH_NOTHING) return check_above(path, e);
    if (kind != PATH_DIRECTORY) return err_usage(e, "%s: is a file, wanted a directory", path);
    if (access(path, W_OK | X_OK) != 0) return err_errno(e, "%s: cannot write", path);
    if (runlock_busy(who, sizeof who, path)) return runlock_refuse(path, who, e);
    code = rundir_used(&used, path, e);
    return code || used ? code : refuse_strange(path, config, e);
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
