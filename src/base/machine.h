/* The machine a run is on: processor, memory that may be used, threads. */
#ifndef LORAC_BASE_MACHINE_H
#define LORAC_BASE_MACHINE_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

/* "AMD EPYC 7763 64-Core Processor", or "unknown"; static storage. */
const char *machine_cpu(void);
const char *machine_host(void);

/* Bytes that this process may still take: the least of what the kernel calls available, what its
 * control groups (v1, v2) leave, and its Slurm allocation. *why names the one that decided. */
size_t machine_memory_available(const char **why);

/* Resident memory of this process: now, and the most so far. */
size_t machine_memory_resident(void);
size_t machine_memory_peak(void);

/* Threads OpenMP will use, and where the number comes from: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK,
 * the cores this process may run on (fewer where OpenMP's places leave some out). Calls
 * omp_set_num_threads() where Slurm's number or the places decide. */
int machine_threads(const char **why);

/* The processors this process may run on: those of all of OpenMP's places where its threads are bound
 * to places (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY, KMP_AFFINITY), else this thread's mask.
 * False when neither can be asked. */
bool machine_mask(cpu_set_t *set);

/* What a thread starts inherits its binding, though OpenMP binds only its own. So threads of other
 * libraries, and a program in this one's place, are started between these two. */
struct machine_binding {
    bool bound;
    cpu_set_t mask;
};
void machine_unbind(struct machine_binding *was);
void machine_rebind(const struct machine_binding *was);

/* How many processors these are, and the cores among them (fewer where a core shows up as
 * several processors). */
int machine_cpus(void);
int machine_cores(void);
/* Processors' worth of time that its control groups (v1, v2) leave it; 0: no limit. */
double machine_cpu_quota(void);
int machine_numa_nodes(void);

/* Bytes of memory in all, and of swap space in use. */
size_t machine_memory_total(void);
size_t machine_swap_used(void);

/* What a directory's file system has left; 0 when it cannot be asked. */
size_t machine_disk_free(const char *dir);

/* The first line of a small file of the kernel's; false when there is none. */
bool machine_line(char *out, size_t size, const char *path);

#endif
