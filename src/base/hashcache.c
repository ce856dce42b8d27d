#include "src/base/hashcache.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/watchdog.h"

enum { CACHE_LINES = 512, CACHE_BYTES = 1 << 20 };

struct hash_job {
    pthread_t thread;
    char *const *files;
    size_t n;
    char (*digests)[SHA256_HEX];
    struct err err;
    volatile bool abandoned;
};

/* "DEVICE INODE SIZE SECONDS.NANOSECONDS " */
static bool identity(char *out, size_t size, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return false;
    snprintf(out, size, "%llx %llu %lld %lld.%09ld ", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
             st.st_mtim.tv_nsec);
    return true;
}

/* The path of the cache's file; with `make`, its directory is made. */
static bool cache_file(char out[PATH_BYTES], bool make)
{
    char dir[PATH_BYTES];
    struct err ignored;
    if (cache_path(out, "sha256", &ignored)) return false;
    snprintf(dir, sizeof dir, "%.*s", (int)(path_base(out) - out - 1), out);
    return !make || dir_make(dir, 0700, &ignored) == 0;
}

/* The line of the text that starts with `begin`, or NULL. */
static const char *find_line(const char *text, const char *begin)
{
    const char *at = strstr(text, begin);
    while (at && at > text && at[-1] != '\n') at = strstr(at + 1, begin);
    return at;
}

static bool cache_find(char digest[SHA256_HEX], const char *id)
{
    char path[PATH_BYTES];
    struct str text = { 0 };
    struct err ignored;
    bool found = false;
    if (cache_file(path, false) && !file_read(&text, path, CACHE_BYTES, &ignored) && text.p) {
        const char *at = find_line(text.p, id);
        if (at && strspn(at + strlen(id), "0123456789abcdef") == SHA256_HEX - 1) {
            memcpy(digest, at + strlen(id), SHA256_HEX - 1);
            digest[SHA256_HEX - 1] = 0;
            found = true;
        }
    }
    str_free(&text);
    return found;
}

bool hash_cached(char digest[SHA256_HEX], const char *path)
{
    char id[128];
    return identity(id, sizeof id, path) && cache_find(digest, id);
}

/* The new line goes first, the newest others after it. */
static void cache_add(const char *id, const char *digest)
{
    char path[PATH_BYTES];
    struct str old = { 0 }, text = { 0 };
    struct err ignored;
    if (!cache_file(path, true)) return;
    str_addf(&text, "%s%s\n", id, digest);
    if (!file_read(&old, path, CACHE_BYTES, &ignored) && old.p) {
        size_t lines = 0, end = 0;
        while (end < old.n && lines < CACHE_LINES) lines += old.p[end++] == '\n';
        str_add(&text, old.p, end);
    }
    if (!text.failed) file_replace(path, text.p, text.n, 0600, &ignored);
    str_free(&old);
    str_free(&text);
}

/* As sha256_file(), but the cache may know it, and a file that changes meanwhile is detected. */
static int hash_one(char hex[SHA256_HEX], const char *path, const struct watch *w, struct err *e)
{
    char before[128], after[128];
    uint8_t digest[SHA256_BYTES];
    if (!identity(before, sizeof before, path)) return err_errno(e, "%s", path);
    if (cache_find(hex, before)) return 0;
    int code = sha256_file(digest, path, w, e);
    if (code) return code;
    if (!identity(after, sizeof after, path)) return err_errno(e, "%s", path);
    if (strcmp(before, after) != 0) return err_set(e, "%s: changed while it was read", path);
    hex_of(hex, digest);
    cache_add(before, hex);
    return 0;
}

static bool abandoned(void *context)
{
    const struct hash_job *job = context;
    watchdog_beat(); /* a run may be waiting for the hashes */
    return job->abandoned;
}

static void *run(void *arg)
{
    struct hash_job *job = arg;
    const struct stop stop = { abandoned, job };
    const struct watch w = { .stop = &stop };
    for (size_t i = 0; i < job->n && !job->abandoned; i++)
        if (hash_one(job->digests[i], job->files[i], &w, &job->err)) break;
    return NULL;
}

/* The bytes of the files before the one that is read now. */
struct part {
    const struct watch *w;
    double before, all;
};

static void show_part(void *to, double done, double all)
{
    const struct part *p = to;
    (void)all;
    if (p->w && p->w->progress) p->w->progress(p->w->to, p->before + done, p->all);
}

static double size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

int hash_files(char (*digests)[SHA256_HEX], char *const *files, size_t n, const struct watch *w,
               struct err *e)
{
    struct part part = { .w = w };
    const struct watch one = { w ? w->stop : NULL, show_part, &part };
    int code = 0;
    for (size_t i = 0; i < n; i++) part.all += size_of(files[i]);
    for (size_t i = 0; !code && i < n; i++) {
        code = hash_one(digests[i], files[i], &one, e);
        part.before += size_of(files[i]);
    }
    return code;
}

static void job_free(struct hash_job *job)
{
    mem_free(job->digests);
    mem_free(job);
}

int hash_start(struct hash_job **out, char *const *files, size_t n, struct err *e)
{
    struct hash_job *job = mem_alloc(1, sizeof *job, e);
    if (!job) return e->code;
    job->files = files;
    job->n = n;
    job->digests = mem_alloc(n, sizeof *job->digests, e);
    if (!job->digests) {
        job_free(job);
        return e->code;
    }
    if (pthread_create(&job->thread, NULL, run, job) != 0) {
        job_free(job);
        return err_set(e, "cannot start a thread");
    }
    *out = job;
    return 0;
}

int hash_wait(struct hash_job *job, char (*digests)[SHA256_HEX], struct err *e)
{
    pthread_join(job->thread, NULL);
    int code = job->err.code;
    if (code) *e = job->err;
    if (!code) memcpy(digests, job->digests, job->n * sizeof *digests);
    job_free(job);
    return code;
}

void hash_abandon(struct hash_job *job)
{
    if (!job) return;
    job->abandoned = true;
    pthread_join(job->thread, NULL);
    job_free(job);
}
