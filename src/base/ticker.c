#include "src/base/ticker.h"

#include <signal.h>
#include <time.h>

#include "src/base/machine.h"

static struct timespec after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)seconds;
    t.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

static void *run(void *arg)
{
    struct ticker *t = arg;
    pthread_mutex_lock(&t->mutex);
    while (!t->ends) {
        const struct timespec until = after(t->every_s);
        while (!t->ends && pthread_cond_timedwait(&t->wake, &t->mutex, &until) == 0) continue;
        if (!t->ends) t->tick(t->to);
    }
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

static void free_parts(struct ticker *t)
{
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mutex);
}

/* With all signals blocked: their handlers belong to the thread that works. */
static int start_thread(struct ticker *t)
{
    struct machine_binding bound;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    machine_unbind(&bound);
    int failed = pthread_create(&t->thread, NULL, run, t);
    machine_rebind(&bound);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int ticker_start(struct ticker *t, double every_s, void (*tick)(void *to), void *to, struct err *e)
{
    pthread_condattr_t monotonic;
    *t = (struct ticker){ .every_s = every_s, .tick = tick, .to = to };
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&t->mutex, NULL);
    t->running = start_thread(t) == 0;
    if (t->running) return 0;
    free_parts(t);
    return err_set(e, "cannot start a thread");
}

void ticker_stop(struct ticker *t)
{
    if (!t->running) return;
    pthread_mutex_lock(&t->mutex);
    t->ends = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->mutex);
    pthread_join(t->thread, NULL);
    free_parts(t);
    t->running = false;
}
