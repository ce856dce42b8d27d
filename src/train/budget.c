#include "src/train/budget.h"

#include "src/base/machine.h"
#include "src/train/ranks.h"

/* For the program itself, the kernel's page tables and other programs that need a little. */
static const double share_of_free = 0.92;

/* The program, its libraries, buffers of files, the hashing thread, arenas rounded up to huge
 * pages: 22 MiB with a tiny model, 31 with one of 149 MiB, whatever the rank; a thread's stack: 0.2
 * MiB. A token of a vocabulary: 80 bytes from a GGUF file, and what the parsing of its file leaves
 * scattered. */
enum { PROGRAM_BYTES = 36 << 20, THREAD_BYTES = 1 << 19, PIECE_BYTES = 200 };

/* Tokens and flags, unless they stay in their file, and for each example where it begins, its line,
 * its place in the epoch. */
static size_t data_bytes(const struct examples *x)
{
    return (x->mapped ? 0 : examples_tokens(x) * 5) + x->n * 16;
}

size_t budget_other_bytes(const struct setup *s)
{
    const char *why;
    size_t pieces = s->tok ? tokenizer_size(s->tok) : 0;
    return s->model.weight_bytes + data_bytes(&s->data.train) + data_bytes(&s->data.validation) +
           PROGRAM_BYTES + (size_t)machine_threads(&why) * THREAD_BYTES + pieces * PIECE_BYTES;
}

size_t budget_total_bytes(const struct setup *s, const struct learner *l)
{
    return budget_other_bytes(s) + learner_bytes(l);
}

size_t budget_bytes(const struct config *c, size_t other_bytes, size_t weight_bytes)
{
    const char *why;
    int64_t given = c->train.memory_budget;
    size_t before, here = ranks_here(&before);
    size_t total = given != CONFIG_NONE
                       ? (size_t)given
                       : (size_t)((double)machine_memory_available(&why) * share_of_free);
    if (given == CONFIG_NONE) total = (total + (here - 1) * weight_bytes) / here;
    return total > other_bytes ? total - other_bytes : 1;
}
