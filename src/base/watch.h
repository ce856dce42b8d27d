/* Long work tells how far it is and asks whether to go on, without knowing who watches it. */
#ifndef LORAC_BASE_WATCH_H
#define LORAC_BASE_WATCH_H

#include "src/base/err.h"
#include "src/base/stop.h"

struct watch {
    const struct stop *stop; /* NULL: it never stops */
    /* How much of it is done, in any unit; NULL: nobody wants to know. */
    void (*progress)(void *to, double done, double all);
    void *to;
};

/* Called from time to time, by one thread. ERR_STOPPED when the work is to end; w may be NULL. */
static inline int watch_step(const struct watch *w, double done, double all, struct err *e)
{
    if (!w) return 0;
    if (w->progress) w->progress(w->to, done, all);
    return stop_asked(w->stop) ? err_code(e, ERR_STOPPED, "stopped") : 0;
}

#endif
