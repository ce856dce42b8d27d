/* Files: reading through maps, writing by replacement.
 *
 * Every file that lorac publishes goes through struct save: a temporary file beside the target is
 * written, fsynced and renamed over it, and the directory is fsynced. A kill or an error at any
 * point leaves the old file or the new one, never a part. A failed fsync is a failed save. */
#ifndef LORAC_BASE_FILE_H
#define LORAC_BASE_FILE_H

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum { PATH_BYTES = 4096 };

/* A regular file mapped read-only. An empty file has data == NULL and size 0. */
struct map {
    const uint8_t *data;
    size_t size;
    struct stat st; /* device, inode, size, mtime: the identity that hash caches use */
};

/* Errors name the path; directories, FIFOs and devices are refused. */
int map_open(struct map *m, const char *path, struct err *e);
void map_close(struct map *m);

/* The n bytes at p of a file mapped read-only are not needed for now: their whole pages no longer
 * count as this process's memory; they are read again at the next access. */
void pages_release(const void *p, size_t n);

/* True for the text that git leaves in the place of a large file whose content was not fetched (Git
 * LFS), which is frequent when a model was cloned without git-lfs. */
bool is_lfs_pointer(const void *bytes, size_t n);
int lfs_refuse(const char *path, struct err *e);

/* Append the whole of a regular file of at most `most` bytes to out. */
int file_read(struct str *out, const char *path, size_t most, struct err *e);

/* The kind of what is at a path, symbolic links followed; an error only if it cannot be found
 * out. */
enum path_kind { PATH_NOTHING, PATH_FILE, PATH_DIRECTORY, PATH_OTHER };
int path_look(enum path_kind *kind, const char *path, struct err *e);

/* Whether there is a regular file, symbolic links followed. True also if that cannot be found out
 * (an I/O error, a directory that may not be searched): opening it then says why. */
bool file_exists(const char *path);
bool dir_exists(const char *path);

/* 0 if nothing has that name; else an error that says so, or why it cannot be found out. */
int path_must_be_free(const char *path, const char *remedy, struct err *e);

/* The next entry of a directory, NULL at the end: readdir() that distinguishes errors from the
 * end. */
int dir_next(const struct dirent **entry, DIR *d, const char *path, struct err *e);

/* out = dir/name; an error when it does not fit PATH_BYTES. */
int path_join(char out[PATH_BYTES], const char *dir, const char *name, struct err *e);
/* The part after the last slash. */
const char *path_base(const char *path);

/* Make a directory, and the missing ones above it, whose modes follow only the umask. */
int dir_make(const char *path, mode_t mode, struct err *e);

/* The length of the beginning of `path` that exists; then, remove the directories of the path
 * beyond it again, from the last one on, as long as they are empty. */
size_t path_existing(const char *path);
void dir_remove_empty(const char *path, size_t existing);

/* Lock a directory against other writers that lock it, until dir_unlock() or the end of the
 * process. An error if another process holds the lock; none, and *fd -1, if the file system has no
 * locks. */
int dir_lock(int *fd, const char *path, struct err *e);
/* The same, but that another process holds the lock is not an error: *held says so. */
int dir_lock_try(int *fd, bool *held, const char *path, struct err *e);
void dir_unlock(int fd);

/* How many bytes the file system of `path`, which exists or will be made, has room for. False where
 * it cannot be asked. */
bool space_free(uint64_t *bytes, const char *path);
/* An error unless the file system of `path`, which exists or will be made, has room for `bytes`
 * more bytes: "PATH: 1.2 GiB are free, WHAT 3.4 GiB; REMEDY". If it cannot be asked, that is not an
 * error. */
int space_need(const char *path, uint64_t bytes, const char *what, const char *remedy,
               struct err *e);
/* out = NAME in lorac's cache directory: $XDG_CACHE_HOME/lorac, or ~/.cache/lorac. An error when
 * neither variable holds an absolute path. The directory may not exist yet. */
int cache_path(char out[PATH_BYTES], const char *name, struct err *e);

/* True when path `inner` is `outer` or lies below it, symbolic links resolved. `outer` must exist;
 * if `inner` does not, the nearest directory above it that does is taken. */
bool path_within(const char *inner, const char *outer);

struct save {
    int fd;
    mode_t mode;
    char path[PATH_BYTES], tmp[PATH_BYTES + 32];
    uint64_t written;
};

/* Lock the temporary file `fd` of this process, and remove those that dead processes left behind
 * for the same `path` (PATH.tmp.NUMBER without a lock). */
void save_claim(const char *path, int fd);

/* Begin replacing `path`. mode 0600 stays private; any other mode is masked by the umask. */
int save_begin(struct save *s, const char *path, mode_t mode, struct err *e);
int save_write(struct save *s, const void *bytes, size_t n, struct err *e);
/* Flush, rename, make durable. On failure the temporary file is gone and the target untouched. */
int save_commit(struct save *s, struct err *e);
/* Give up: remove the temporary file. Harmless after save_commit(). */
void save_abort(struct save *s);

/* save_begin(), write and save_commit() for content that is in memory. */
int file_replace(const char *path, const void *bytes, size_t n, mode_t mode, struct err *e);

/* Publish a finished temporary file that a library wrote: fsync it, rename it to `path`, fsync the
 * directory. */
int file_publish(const char *tmp, const char *path, struct err *e);

#endif
