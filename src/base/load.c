#include "src/base/load.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/machine.h"

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

/* Of a line "cpu3 user nice system idle iowait irq softirq ...", the ticks in which programs, or
 * the kernel for them, computed. */
static double busy_ticks(const char *numbers)
{
    static const bool busy[] = { true, true, true, false, false, true, true };
    double sum = 0;
    char *p = (char *)numbers;
    for (size_t i = 0; i < sizeof busy / sizeof *busy; i++) {
        double ticks = (double)strtoull(p, &p, 10);
        if (busy[i]) sum += ticks;
    }
    return sum;
}

bool load_sample(struct load_sample *s)
{
    cpu_set_t mask;
    FILE *f = machine_mask(&mask) ? fopen("/proc/stat", "re") : NULL;
    char line[512];
    double ticks = 0;
    int cpus = 0;
    if (!f) return false;
    while (fgets(line, sizeof line, f) && strncmp(line, "cpu", 3) == 0) {
        char *end;
        long cpu = strtol(line + 3, &end, 10);
        if (end == line + 3 || cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &mask)) continue;
        ticks += busy_ticks(end);
        cpus++;
    }
    fclose(f);
    s->time_s = seconds_of(CLOCK_MONOTONIC);
    s->own_s = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    s->all_s = ticks / (double)sysconf(_SC_CLK_TCK);
    return cpus > 0;
}

double load_others(const struct load_sample *from, const struct load_sample *to)
{
    double others = to->all_s - from->all_s - (to->own_s - from->own_s);
    double time = to->time_s - from->time_s;
    return others > 0 && time > 0 ? others / time : 0;
}

bool load_remedy(char *out, size_t size, double others, int cpus, int threads, double quota)
{
    static const double enough = 0.5; /* of a processor: every machine runs a few daemons */
    double wanted = threads < cpus ? threads : cpus;
    if (quota > 0 && quota < wanted) wanted = quota;
    double left = cpus > others ? cpus - others : 0;
    if (left > wanted - enough) return false;
    if (left >= 1) {
        snprintf(out, size, "stop them, or export OMP_NUM_THREADS=%d", (int)left);
    } else {
        snprintf(out, size, "stop them, or run where nobody else computes");
    }
    return true;
}
