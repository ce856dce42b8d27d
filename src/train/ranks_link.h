/* How the ranks reach each other: a few collective operations on bytes, which all ranks call in the
 * same order. ranks_mpi.c makes them of MPI, and only lorac_mpi has it; without it ranks_alone.c
 * says that there is one rank. Tests bring their own. An operation that fails does not return: it
 * ends all ranks. */
#ifndef LORAC_TRAIN_RANKS_LINK_H
#define LORAC_TRAIN_RANKS_LINK_H

#include <stddef.h>

struct ranks_link {
    const char *library; /* with its version, for people */
    size_t n, me;
    /* all (n * bytes) = what every rank has in mine (bytes). */
    void (*gather)(void *all, const void *mine, size_t bytes);
    /* The bytes of rank `from`, on every rank. */
    void (*broadcast)(void *data, size_t bytes, size_t from);
    /* Send out_bytes[r] bytes to each rank r and get in_bytes[r] from it; those for or from the
     * ranks lie one after the other. Less than 1 GiB in all. `in` is not at the address of
     * `out`. */
    void (*exchange)(void *in, const size_t *in_bytes, const void *out, const size_t *out_bytes);
    /* Each rank has its piece in `all`, where the pieces lie one after the other; now all pieces
     * are there. Less than 1 GiB in all. */
    void (*join)(void *all, const size_t *bytes);
    void (*end)(void);
};

/* Join the other ranks. NULL: there are none. */
const struct ranks_link *ranks_link_open(int *argc, char ***argv);

/* ---- between ranks.c and ranks_sum.c --------------------------------------------------------- */

/* NULL: this process is alone. */
const struct ranks_link *ranks_link_now(void);
struct losssum;
/* Room for one of each rank, for two of each. */
struct losssum *ranks_losses(void);
size_t *ranks_sizes(void);
void ranks_add_communication(double seconds);

#endif
