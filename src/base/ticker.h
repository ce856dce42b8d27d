/* A thread that does something small every few seconds, whatever the rest of the process does. */
#ifndef LORAC_BASE_TICKER_H
#define LORAC_BASE_TICKER_H

#include <pthread.h>
#include <stdbool.h>

#include "src/base/err.h"

/* Zero-initialised it is not running. */
struct ticker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    double every_s;
    void (*tick)(void *to);
    void *to;
    bool running, ends;
};

/* Call tick(to) every `every_s` seconds, the first time after that time, until ticker_stop(), which
 * waits for a tick that is under way. The struct must stay where it is. Signals reach other
 * threads. ERR_FAIL when no thread can be started. */
int ticker_start(struct ticker *t, double every_s, void (*tick)(void *to), void *to, struct err *e);
void ticker_stop(struct ticker *t);

#endif
