#include "src/train/runlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "src/base/machine.h"
#include "src/base/term.h"

double runlock_every_s = 10;

enum { WHO_BYTES = 256 }; /* as runlock_mark() has it */
/* In the time of this many counts a process that is alive counts at least once. */
static const double patience = 2.5;

/* ---- what the file says ---------------------------------------------------------------------- */

/* Batch systems tell a job its number in the environment. */
static void add_job(char *out, size_t size)
{
    static const struct {
        const char *variable, *system;
    } rows[] = { { "SLURM_JOB_ID", "Slurm" }, { "PBS_JOBID", "PBS" }, { "LSB_JOBID", "LSF" } };
    *out = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *job = getenv(rows[i].variable);
        if (!job || !*job) continue;
        snprintf(out, size, ", %s job %.*s", rows[i].system, (int)strcspn(job, "\n"), job);
        return;
    }
}

static void describe_self(char out[WHO_BYTES])
{
    char job[96];
    add_job(job, sizeof job);
    snprintf(out, WHO_BYTES, "process %ld on %s%s", (long)getpid(), machine_host(), job);
}

/* The whole text; "" when it cannot be read or is empty. */
static void read_text(char *text, size_t size, int fd)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = 0;
}

static void read_who(char *who, size_t size, int fd)
{
    read_text(who, size, fd);
    who[strcspn(who, "\n")] = 0;
    if (!*who) snprintf(who, size, "unknown process");
}

/* A network file system shows what others wrote to whoever opens the file anew. */
static void read_anew(char text[WHO_BYTES], const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    *text = 0;
    if (fd < 0) return;
    read_text(text, WHO_BYTES, fd);
    close(fd);
}

static bool is_of_this_host(const char *text)
{
    const char *host = machine_host(), *at = strstr(text, " on ");
    size_t n = strlen(host);
    return at && strncmp(at + 4, host, n) == 0 && (!at[4 + n] || strchr(",\n", at[4 + n]));
}

static int write_self(struct runlock *l, struct err *e)
{
    char who[WHO_BYTES], text[WHO_BYTES + 32];
    describe_self(who);
    int n = snprintf(text, sizeof text, "%s\nalive %lu\n", who, l->count);
    if (ftruncate(l->fd, n) != 0 || pwrite(l->fd, text, (size_t)n, 0) != n || fsync(l->fd) != 0)
        return err_errno(e, "%s: cannot write", l->name);
    return 0;
}

/* A count that cannot be written, on a full disk, is one that others do not see. */
static void count_up(void *to)
{
    struct runlock *l = to;
    struct err ignored;
    l->count++;
    write_self(l, &ignored);
}

/* ---- the kernel's lock ----------------------------------------------------------------------- */

int runlock_refuse(const char *dir, const char *who, struct err *e)
{
    return err_set(e,
                   "%s: another run is writing here (%s); wait for it, or choose another "
                   "output.dir",
                   dir, who);
}

bool runlock_busy(char *who, size_t size, const char *dir)
{
    char name[PATH_BYTES];
    struct err ignored;
    if (path_join(name, dir, ".lock", &ignored)) return false;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool busy = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (busy) read_who(who, size, fd);
    close(fd);
    return busy;
}

void runlock_mark(char out[256], const char *dir)
{
    char name[PATH_BYTES];
    struct err ignored;
    *out = 0;
    if (!path_join(name, dir, ".lock", &ignored)) read_anew(out, name);
    out[strcspn(out, "\n")] = 0;
}

/* A process that only asks whether the lock is held takes it for a moment, hence a few tries. */
static int try_lock(int fd)
{
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (errno != EWOULDBLOCK || tries == 5) return -1;
        usleep(20000);
    }
    return 0;
}

/* Some file systems have no locks. */
static bool has_none(int error)
{
    return error == ENOSYS || error == EOPNOTSUPP || error == ENOTSUP || error == ENOLCK;
}

/* Whether the file still has that name: a run that is refused removes the file that it made. */
static bool is_at(int fd, const char *name)
{
    struct stat held, there;
    return fstat(fd, &held) == 0 && stat(name, &there) == 0 && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

/* 0 when the kernel's lock is held, or (*none) when there is no such lock. */
static int lock_or_refuse(struct runlock *l, bool *none, struct err *e)
{
    char who[WHO_BYTES];
    *none = false;
    if (try_lock(l->fd) == 0) return 0;
    *none = has_none(errno);
    if (*none) return 0;
    l->made = false;
    if (errno != EWOULDBLOCK) return err_errno(e, "%s: cannot lock", l->name);
    read_who(who, sizeof who, l->fd);
    return runlock_refuse(l->dir, who, e);
}

static int lock_file(struct runlock *l, bool *none, struct err *e)
{
    int code;
    do {
        if (l->fd >= 0) close(l->fd);
        bool made = access(l->name, F_OK) != 0;
        l->fd = open(l->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (l->fd < 0) return err_errno(e, "%s: cannot write", l->name);
        l->made = made;
        code = lock_or_refuse(l, none, e);
    } while (!code && !is_at(l->fd, l->name));
    return code;
}

/* ---- where that does not reach --------------------------------------------------------------- */

static void say(struct str *note)
{
    str_addc(note, '\n');
    notes_print(note);
    str_free(note);
}

/* Whether the text of the file becomes another one within that time. */
static bool changes(const char *name, const char text[WHO_BYTES], double seconds)
{
    char now[WHO_BYTES];
    double end = term_now_s() + seconds;
    do {
        usleep((useconds_t)(seconds * 1e6 / 20));
        read_anew(now, name);
        if (strcmp(now, text) != 0) return true;
    } while (term_now_s() < end);
    return false;
}

/* `text` is what another process wrote, which did not end in order or has not ended. */
static int wait_for_sign(const struct runlock *l, const char text[WHO_BYTES], struct err *e)
{
    double seconds = patience * runlock_every_s;
    char who[WHO_BYTES];
    struct str waits = { 0 }, taken = { 0 };
    snprintf(who, sizeof who, "%.*s", (int)strcspn(text, "\n"), text);
    str_addf(&waits, "%s names %s: waiting %.3g s to see whether it is still alive", l->name, who,
             seconds);
    say(&waits);
    if (changes(l->name, text, seconds)) return runlock_refuse(l->dir, who, e);
    str_addf(&taken, "%s: %s has shown no sign of life for %.3g s: this run goes on in its place",
             l->name, who, seconds);
    say(&taken);
    return 0;
}

/* Without the kernel's help two processes may come here at once: the one that wrote last stays. */
static int settle(struct runlock *l, struct err *e)
{
    char own[WHO_BYTES], now[WHO_BYTES];
    describe_self(own);
    read_anew(now, l->name);
    size_t n = strlen(own);
    if (strncmp(now, own, n) == 0 && !changes(l->name, now, runlock_every_s / 5)) return 0;
    read_anew(now, l->name);
    now[strcspn(now, "\n")] = 0;
    l->made = false;
    return runlock_refuse(l->dir, *now ? now : "unknown process", e);
}

int runlock_take(struct runlock *l, const char *dir, struct err *e)
{
    char text[WHO_BYTES];
    bool none = false;
    *l = (struct runlock){ .fd = -1 };
    snprintf(l->dir, sizeof l->dir, "%s", dir);
    int code = path_join(l->name, dir, ".lock", e);
    if (!code) code = lock_file(l, &none, e);
    if (code) return code;
    read_text(text, sizeof text, l->fd);
    if (*text && (none || !is_of_this_host(text))) code = wait_for_sign(l, text, e);
    if (code) l->made = false;
    if (!code) code = write_self(l, e);
    if (!code && none) code = settle(l, e);
    if (code) return code;
    l->held = true;
    struct err ignored; /* without a thread the kernel's lock is all there is */
    ticker_start(&l->ticker, runlock_every_s, count_up, l, &ignored);
    return 0;
}

/* Where the file cannot be emptied, who comes next from another machine waits. */
void runlock_release(struct runlock *l, bool discard)
{
    if (l->fd < 0) return;
    ticker_stop(&l->ticker);
    if (discard && l->made) unlink(l->name);
    if (l->held && ftruncate(l->fd, 0) != 0) l->held = false;
    close(l->fd); /* the kernel releases its lock */
    *l = (struct runlock){ .fd = -1 };
}
