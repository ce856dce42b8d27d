#include "src/base/machine.h"

#include <malloc.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

/* The text after "key" and its colon in a /proc-style file; false when absent. */
static bool proc_field(char *out, size_t size, const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    char line[512];
    bool found = false;
    size_t n = strlen(key);
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) != 0) continue;
        char *p = strchr(line, ':');
        if (!p) continue;
        p += 1 + strspn(p + 1, " \t");
        p[strcspn(p, "\n")] = 0;
        snprintf(out, size, "%s", p);
        found = true;
    }
    fclose(f);
    return found;
}

/* Without /proc, the processor itself is asked; the kernel has its name from there too. */
static bool cpu_brand(char out[49])
{
#ifdef __x86_64__
    unsigned words[12];
    for (unsigned i = 0; i < 3; i++) {
        unsigned *w = words + 4 * i;
        if (!__get_cpuid(0x80000002 + i, &w[0], &w[1], &w[2], &w[3])) return false;
    }
    memcpy(out, words, 48);
    out[48] = 0;
    for (size_t n = strlen(out); n && out[n - 1] == ' '; n--) out[n - 1] = 0;
    return out[0] != 0;
#else
    (void)out;
    return false;
#endif
}

const char *machine_cpu(void)
{
    static char name[128];
    if (name[0] || proc_field(name, sizeof name, "/proc/cpuinfo", "model name")) return name;
    if (!cpu_brand(name)) snprintf(name, sizeof name, "unknown");
    return name;
}

const char *machine_host(void)
{
    static char name[128];
    if (gethostname(name, sizeof name - 1) != 0) snprintf(name, sizeof name, "unknown");
    return name;
}

static size_t proc_kib(const char *path, const char *key)
{
    char text[64];
    return proc_field(text, sizeof text, path, key) ? (size_t)strtoull(text, NULL, 10) * 1024 : 0;
}

/* The number that a file consists of; SIZE_MAX for "max" or if it cannot be read. */
static size_t file_number(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) return (size_t)-1;
    char text[64] = "";
    char *ok = fgets(text, sizeof text, f);
    fclose(f);
    return ok && text[0] >= '0' && text[0] <= '9' ? (size_t)strtoull(text, NULL, 10) : (size_t)-1;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The memory that one control group leaves. Its page cache of files can be dropped, so that does
 * not count as used. */
static size_t group_left(const char *dir, const char *limit, const char *usage, const char *cache)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, limit);
    size_t most = file_number(path);
    if (most == (size_t)-1) return most;
    snprintf(path, sizeof path, "%s/%s", dir, usage);
    size_t used = file_number(path);
    if (used == (size_t)-1) return most;
    char line[64];
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    FILE *f = fopen(path, "re");
    size_t n = strlen(cache), dropped = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, cache, n) == 0 && line[n] == ' ') dropped = strtoull(line + n, NULL, 10);
    if (f) fclose(f);
    used -= smaller(used, dropped);
    return used < most ? most - used : 0;
}

/* Calls `look` with the directory of each control group of this process, from its own up to the
 * root: of version 2, and of version 1 for `controller` (":memory:"). */
static void each_group(const char *controller, void (*look)(void *to, const char *dir, bool v2),
                       void *to)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[1024];
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        bool v2 = strncmp(line, "0::", 3) == 0;
        if (!v2 && !strstr(line, controller)) continue;
        /* "4:memory:/path"; a path may hold colons itself */
        char *group = strchr(strchr(line, ':') + 1, ':') + 1, dir[1100], name[64];
        snprintf(name, sizeof name, "/%.*s", (int)strcspn(controller + 1, ":"), controller + 1);
        for (;;) {
            snprintf(dir, sizeof dir, "/sys/fs/cgroup%s%s", v2 ? "" : name, group);
            look(to, dir, v2);
            char *slash = strrchr(group, '/');
            if (!slash || !group[0]) break;
            *slash = 0;
        }
    }
    if (f) fclose(f);
}

static void look_at_memory(void *to, const char *dir, bool v2)
{
    size_t *left = to;
    *left = smaller(*left, v2 ? group_left(dir, "memory.max", "memory.current", "inactive_file")
                              : group_left(dir, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                           "total_inactive_file"));
}

static size_t cgroup_left(void)
{
    size_t left = (size_t)-1;
    each_group(":memory:", look_at_memory, &left);
    return left;
}

static size_t slurm_left(void)
{
    const char *node = getenv("SLURM_MEM_PER_NODE"), *cpu = getenv("SLURM_MEM_PER_CPU");
    const char *cpus = getenv("SLURM_CPUS_ON_NODE");
    size_t mib = node ? strtoull(node, NULL, 10) : 0;
    if (!mib && cpu && cpus) mib = strtoull(cpu, NULL, 10) * strtoull(cpus, NULL, 10);
    if (!mib) return (size_t)-1;
    size_t used = machine_memory_resident(), most = mib << 20;
    return used < most ? most - used : 0;
}

/* Where there is no /proc, the system call counts no memory that caches would give back. */
static size_t memory_free(const char **why)
{
    struct sysinfo s;
    size_t left = proc_kib("/proc/meminfo", "MemAvailable");
    *why = "free memory";
    if (left || sysinfo(&s) != 0) return left ? left : (size_t)-1;
    *why = "free memory, without what caches hold";
    return (s.freeram + s.bufferram) * s.mem_unit;
}

size_t machine_memory_available(const char **why)
{
    size_t left = memory_free(why), group = cgroup_left(), job = slurm_left();
    if (group < left) left = group, *why = "the control group's limit";
    if (job < left) left = job, *why = "the Slurm allocation";
    return left;
}

/* The most memory that the process had; the kernel also tells it where there is no /proc. */
static size_t most_so_far(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (size_t)u.ru_maxrss * 1024 : 0;
}

size_t machine_memory_resident(void)
{
    size_t now = proc_kib("/proc/self/status", "VmRSS");
    return now ? now : most_so_far();
}

size_t machine_memory_peak(void)
{
    size_t peak = proc_kib("/proc/self/status", "VmHWM");
    return peak ? peak : most_so_far();
}

void machine_memory_forget_peak(void)
{
#ifdef __GLIBC__
    malloc_trim(0); /* what is free already is not part of it */
#endif
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f); /* proc(5): reset the peak of resident memory */
    fclose(f);
}

int machine_threads(const char **why)
{
    static bool by_places;
    const char *omp = getenv("OMP_NUM_THREADS"), *slurm = getenv("SLURM_CPUS_PER_TASK");
    *why = "cores this process may use";
    if (omp && *omp) {
        *why = "OMP_NUM_THREADS";
    } else if (slurm && strtol(slurm, NULL, 10) > 0) {
        *why = "SLURM_CPUS_PER_TASK";
        omp_set_num_threads((int)strtol(slurm, NULL, 10));
    } else if (by_places || (omp_get_proc_bind() != omp_proc_bind_false &&
                             omp_get_max_threads() > machine_cpus())) { /* OMP_PLACES={0} */
        *why = "processors of OpenMP's places";
        by_places = true;
        omp_set_num_threads(machine_cpus());
    }
    return omp_get_max_threads();
}

/* ---- for doctor ------------------------------------------------------------------------------ */

bool machine_line(char *out, size_t size, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    char *line = fgets(out, (int)size, f);
    fclose(f);
    if (line) line[strcspn(line, "\n")] = 0;
    return line != NULL;
}

/* The processors of all of OpenMP's places; false where threads are not bound to places. */
static bool places_union(cpu_set_t *set)
{
    static int ids[CPU_SETSIZE];
    int places = omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places();
    CPU_ZERO(set);
    for (int place = 0; place < places; place++) {
        int n = omp_get_place_num_procs(place);
        if (n < 0 || n > CPU_SETSIZE) return false;
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < n; i++)
            if (ids[i] >= 0 && ids[i] < CPU_SETSIZE) CPU_SET(ids[i], set);
    }
    return CPU_COUNT(set) > 0;
}

/* The mask that the process was started with, read before libgomp's constructor binds its first
 * thread. (Sanitizers have not started at that time.) */
static cpu_set_t started_with;
static bool started_with_known;

__attribute__((no_sanitize("address", "undefined", "thread"))) static void read_mask(void)
{
    started_with_known = sched_getaffinity(0, sizeof started_with, &started_with) == 0;
}
__attribute__((section(".preinit_array"), used)) static void (*const before_all)(void) = read_mask;

/* Places may name processors that are not in the mask (GOMP_CPU_AFFINITY); they count only if no
 * others are named. */
bool machine_mask(cpu_set_t *set)
{
    cpu_set_t both;
    bool bound = places_union(set);
    if (!started_with_known) return bound || sched_getaffinity(0, sizeof *set, set) == 0;
    CPU_AND(&both, set, &started_with);
    if (!bound) *set = started_with;
    if (bound && CPU_COUNT(&both) > 0) *set = both;
    return true;
}

/* The places are read first, since libomp binds this thread at the first call. */
void machine_unbind(struct machine_binding *was)
{
    cpu_set_t all;
    was->bound = machine_mask(&all) && sched_getaffinity(0, sizeof was->mask, &was->mask) == 0 &&
                 !CPU_EQUAL(&all, &was->mask) && sched_setaffinity(0, sizeof all, &all) == 0;
}

void machine_rebind(const struct machine_binding *was)
{
    if (was->bound) sched_setaffinity(0, sizeof was->mask, &was->mask);
}

int machine_cpus(void)
{
    cpu_set_t set;
    return machine_mask(&set) ? CPU_COUNT(&set) : omp_get_num_procs();
}

/* A core is identified by its first processor, with which the list of siblings begins. */
int machine_cores(void)
{
    cpu_set_t set, seen;
    int cores = 0;
    if (!machine_mask(&set)) return machine_cpus();
    CPU_ZERO(&seen);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set)) continue;
        char path[96], text[64];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        int first = machine_line(text, sizeof text, path) ? (int)strtol(text, NULL, 10) : cpu;
        if (first < 0 || first >= CPU_SETSIZE || CPU_ISSET(first, &seen)) continue;
        CPU_SET(first, &seen);
        cores++;
    }
    return cores;
}

static void look_at_cpu(void *to, const char *dir, bool v2)
{
    char path[1200], text[64];
    double *least = to, quota = 0, period = 0;
    snprintf(path, sizeof path, v2 ? "%s/cpu.max" : "%s/cpu.cfs_quota_us", dir);
    if (!machine_line(text, sizeof text, path)) return;
    char *end = text;
    quota = strtod(text, &end);
    if (v2) {
        period = strtod(end, NULL);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
        if (machine_line(text, sizeof text, path)) period = strtod(text, NULL);
    }
    if (quota <= 0 || period <= 0) return; /* "max", -1 */
    if (*least == 0 || quota / period < *least) *least = quota / period;
}

double machine_cpu_quota(void)
{
    double least = 0;
    each_group(":cpu:", look_at_cpu, &least);
    each_group(":cpu,cpuacct:", look_at_cpu, &least);
    return least;
}

int machine_numa_nodes(void)
{
    int n = 0;
    for (char path[64];; n++) {
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d", n);
        if (access(path, F_OK) != 0) return n ? n : 1;
    }
}

size_t machine_memory_total(void)
{
    struct sysinfo s;
    size_t total = proc_kib("/proc/meminfo", "MemTotal");
    return total || sysinfo(&s) != 0 ? total : s.totalram * s.mem_unit;
}

size_t machine_swap_used(void)
{
    struct sysinfo s;
    return sysinfo(&s) == 0 ? (s.totalswap - s.freeswap) * s.mem_unit : 0;
}

const char *machine_unknown(void)
{
    static const char *const texts[2][2] = {
        { NULL, "no /sys here: the limits of control groups, the memory nodes and which processors "
                "share a core are unknown" },
        { "no /proc here: the limits of control groups, the memory that caches would give back and "
          "the load of other programs are unknown",
          "neither /proc nor /sys here: the limits of control groups, the memory that caches would "
          "give back, the memory nodes, which processors share a core and the load of other "
          "programs are unknown" },
    };
    return texts[access("/proc/self/status", R_OK) != 0]
                [access("/sys/devices/system/cpu", R_OK) != 0];
}

size_t machine_disk_free(const char *dir)
{
    struct statvfs s;
    return statvfs(dir, &s) == 0 ? (size_t)s.f_bavail * s.f_frsize : 0;
}
