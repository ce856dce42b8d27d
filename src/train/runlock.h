/* One process writes a run's directory: the lock on its file .lock, which says who holds it.
 *
 *     process 4711 on node17, Slurm job 123456
 *     alive 12
 *
 * The kernel's lock (flock) decides wherever it reaches: always on one machine, and between the
 * machines of a network file system unless that was mounted without it (Lustre's localflock, NFS's
 * local_lock or nolock). There the second line decides: the holder counts it up every few seconds.
 * Whoever finds the name of another machine's process in the file waits to see the count change. If
 * it does not, that process is gone: the lock is taken over, and a note says so. A process that
 * ends in order leaves the file empty. */
#ifndef LORAC_TRAIN_RUNLOCK_H
#define LORAC_TRAIN_RUNLOCK_H

#include "src/base/file.h"
#include "src/base/ticker.h"

struct runlock {
    char dir[PATH_BYTES], name[PATH_BYTES]; /* the directory; its .lock */
    int fd;                                 /* -1: not held */
    bool held, made;                        /* made: the file was not there before */
    unsigned long count;
    struct ticker ticker;
};

/* Seconds from one count to the next; tests change it. */
extern double runlock_every_s;

/* Take the lock of the directory, which exists. ERR_FAIL when another process holds it, with its
 * host, number and job. runlock_release() after failure too. */
int runlock_take(struct runlock *l, const char *dir, struct err *e);
/* `discard`: also remove the file, if runlock_take() made it. */
void runlock_release(struct runlock *l, bool discard);

/* Whether a process holds it as far as the kernel knows; `who` (size bytes) is then what the file
 * says of it. Changes nothing. */
bool runlock_busy(char *who, size_t size, const char *dir);
/* What its file says of the process that holds it, for others to compare; "" without one. */
void runlock_mark(char out[256], const char *dir);
/* The error for a lock that `who` holds. */
int runlock_refuse(const char *dir, const char *who, struct err *e);

#endif
