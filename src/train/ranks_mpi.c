/* The only file that includes mpi.h: MPI 2.2 and two operations of MPI 3, which Open MPI, MPICH and
 * those derived from them have. Only the thread that called MPI_Init_thread() calls MPI.
 *
 * Every operation is begun and then asked whether it is complete, because MPI's own waiting keeps a
 * core busy, which other threads of this node could use: while one rank writes a checkpoint or
 * reads the data, the others sleep. */
#include <mpi.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/watchdog.h"
#include "src/train/ranks_link.h"

enum { CHUNK = 1 << 29 }; /* MPI counts in int */

/* Within a step the others come soon, and are waited for without sleep; then in naps that a
 * collective operation of a thousand ranks does not feel. */
#define SPIN_S 2e-3
enum { NAP_NS = 50 * 1000, LONG_NAP_NS = 1000 * 1000 };
#define LONG_WAIT_S 0.2

static void await(MPI_Request *request)
{
    double start = 0;
    const char *before = NULL;
    for (int done = 0;;) {
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done) {
            if (before) watchdog_enter(before);
            return;
        }
        double now = term_now_s();
        if (start == 0) start = now;
        if (now - start < SPIN_S) {
            sched_yield();
            continue;
        }
        if (!before) before = watchdog_enter("waiting for other ranks");
        long nap = now - start < LONG_WAIT_S ? NAP_NS : LONG_NAP_NS;
        nanosleep(&(struct timespec){ .tv_nsec = nap }, NULL);
    }
}

static int checked(size_t n)
{
    CHECK(n <= INT_MAX);
    return (int)n;
}

static void gather(void *all, const void *mine, size_t bytes)
{
    MPI_Request r;
    int n = checked(bytes);
    MPI_Iallgather(mine, n, MPI_BYTE, all, n, MPI_BYTE, MPI_COMM_WORLD, &r);
    await(&r);
}

static void broadcast(void *data, size_t bytes, size_t from)
{
    for (size_t at = 0; at < bytes; at += CHUNK) {
        MPI_Request r;
        size_t n = bytes - at < CHUNK ? bytes - at : CHUNK;
        MPI_Ibcast((char *)data + at, (int)n, MPI_BYTE, checked(from), MPI_COMM_WORLD, &r);
        await(&r);
    }
}

/* Counts and places of pieces that lie one after the other, as MPI wants them. */
static struct {
    int *bytes, *at;
} in, out;

static void place(int *n, int *at, const size_t *bytes, size_t ranks)
{
    size_t sum = 0;
    for (size_t i = 0; i < ranks; i++) {
        n[i] = checked(bytes[i]);
        at[i] = checked(sum);
        sum += bytes[i];
    }
}

static struct ranks_link link_mpi;

static void exchange(void *into, const size_t *in_bytes, const void *from, const size_t *out_bytes)
{
    MPI_Request r;
    place(in.bytes, in.at, in_bytes, link_mpi.n);
    place(out.bytes, out.at, out_bytes, link_mpi.n);
    MPI_Ialltoallv(from, out.bytes, out.at, MPI_BYTE, into, in.bytes, in.at, MPI_BYTE,
                   MPI_COMM_WORLD, &r);
    await(&r);
}

static void join(void *all, const size_t *bytes)
{
    MPI_Request r;
    place(in.bytes, in.at, bytes, link_mpi.n);
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, all, in.bytes, in.at, MPI_BYTE, MPI_COMM_WORLD, &r);
    await(&r);
}

static void end(void)
{
    mem_free(in.bytes);
    mem_free(out.bytes);
    MPI_Finalize();
}

/* The library's name and version, the first line of what it says. */
static const char *library(void)
{
    static char name[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;
    MPI_Get_library_version(name, &n);
    name[strcspn(name, "\n,")] = 0;
    for (char *p = name; *p; p++)
        if (*p == '\t') *p = ' ';
    return name;
}

const struct ranks_link *ranks_link_open(int *argc, char ***argv)
{
    int given, n, me;
    struct err e;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS) abort();
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    MPI_Comm_rank(MPI_COMM_WORLD, &me);
    in.bytes = mem_alloc(2 * (size_t)n, sizeof(int), &e);
    out.bytes = mem_alloc(2 * (size_t)n, sizeof(int), &e);
    if (!in.bytes || !out.bytes || given < MPI_THREAD_FUNNELED) MPI_Abort(MPI_COMM_WORLD, ERR_FAIL);
    in.at = in.bytes + n;
    out.at = out.bytes + n;
    link_mpi = (struct ranks_link){ .library = library(),
                                    .n = (size_t)n,
                                    .me = (size_t)me,
                                    .gather = gather,
                                    .broadcast = broadcast,
                                    .exchange = exchange,
                                    .join = join,
                                    .end = end };
    return &link_mpi;
}
