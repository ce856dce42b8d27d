/* Whether other programs compute on the processors that this one may use. */
#ifndef LORAC_BASE_LOAD_H
#define LORAC_BASE_LOAD_H

#include <stdbool.h>
#include <stddef.h>

/* Seconds of the clock, of all programs on our processors, and of this program. */
struct load_sample {
    double time_s, all_s, own_s;
};

/* False where the kernel does not tell (no /proc). */
bool load_sample(struct load_sample *s);

/* A shorter sample says little, since the kernel counts in hundredths of a second. */
#define LOAD_WINDOW_S 0.2

/* Processors' worth of time that others took between two samples. */
double load_others(const struct load_sample *from, const struct load_sample *to);

/* True, and what to do about it, if other programs, which take `others` of `cpus` processors, leave
 * less than `threads` threads need. If a control group allows less time (`quota`; 0: no limit), the
 * need is that. */
bool load_remedy(char *out, size_t size, double others, int cpus, int threads, double quota);

#endif
