/* Whether other programs compute on the processors that this one may use. */
#ifndef LORAC_BASE_LOAD_H
#define LORAC_BASE_LOAD_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds: of the clock, of all programs on our processors, of this program. */
struct load_sample {
    double time_s, all_s, own_s;
};

/* False where the kernel does not tell (no /proc). */
bool load_sample(struct load_sample *s);

/* Shorter than this a sample says little: the kernel counts in hundredths of a second. */
#define LOAD_WINDOW_S 0.2

/* Processors' worth of time that others took between two samples. */
double load_others(const struct load_sample *from, const struct load_sample *to);

/* When `others` leave `threads` threads (or, where a control group allows less time, that: `quota`, 0 is
 * none) less than they need on `cpus` processors: what to do about it, and true. */
bool load_remedy(char *out, size_t size, double others, int cpus, int threads, double quota);

#endif
