#include "src/train/sweep_share.h"

#include <stdint.h>
#include <stdlib.h>

#include "src/config/scalar.h"

/* A whole number of the environment; `missing` where it is not set, which is an error if that is
 * negative. */
static int read_number(int64_t *out, const char *name, int64_t missing, struct err *e)
{
    const char *text = getenv(name);
    *out = missing;
    if (!text && missing < 0)
        return err_usage(e,
                         "SLURM_ARRAY_TASK_ID is set and %s is not, so this task's share of the "
                         "sweep is not known; unset SLURM_ARRAY_TASK_ID to make all runs",
                         name);
    if (text && (scalar_int(out, text) || *out < 0))
        return err_usage(e, "%s: found %s, wanted a whole number", name, err_quotez(text));
    return 0;
}

int sweep_share_read(struct sweep_share *s, struct err *e)
{
    int64_t id, first, step, count;
    *s = (struct sweep_share){ .count = 1, .is_array = getenv("SLURM_ARRAY_TASK_ID") != NULL };
    if (!s->is_array) return 0;
    int code = read_number(&id, "SLURM_ARRAY_TASK_ID", -1, e);
    if (!code) code = read_number(&first, "SLURM_ARRAY_TASK_MIN", -1, e);
    if (!code) code = read_number(&count, "SLURM_ARRAY_TASK_COUNT", -1, e);
    if (!code) code = read_number(&step, "SLURM_ARRAY_TASK_STEP", 1, e);
    if (code) return code;
    bool fits = step > 0 && id >= first && (id - first) % step == 0 && (id - first) / step < count;
    if (!fits)
        return err_usage(e,
                         "SLURM_ARRAY_TASK_ID %lld is not one of %lld tasks from %lld on in steps "
                         "of %lld: wanted an array that is a range, such as --array=0-5",
                         (long long)id, (long long)count, (long long)first, (long long)step);
    s->index = (size_t)((id - first) / step);
    s->count = (size_t)count;
    return 0;
}

bool sweep_share_has(const struct sweep_share *s, size_t run)
{
    return run % s->count == s->index;
}

size_t sweep_share_of(const struct sweep_share *s, size_t n)
{
    return n / s->count + (s->index < n % s->count);
}
