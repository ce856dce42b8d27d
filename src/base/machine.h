/* The machine that a run is on: processor, memory that may be used, threads. */
#ifndef LORAC_BASE_MACHINE_H
#define LORAC_BASE_MACHINE_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

/* "AMD EPYC 7763 64-Core Processor", or "unknown"; static storage. */
const char *machine_cpu(void);
const char *machine_host(void);

/* Bytes that this process may still take: the least of the memory that the kernel calls available,
 * the rest of its control groups (v1, v2), and its Slurm allocation. *why names the one that
 * decided. */
size_t machine_memory_available(const char **why);

/* Resident memory of this process: now, and the most so far or since the last forgetting, which
 * gives back to the system what is free; only kernels that know clear_refs can forget. Where there
 * is no /proc, both are the most since the process began. */
size_t machine_memory_resident(void);
size_t machine_memory_peak(void);
void machine_memory_forget_peak(void);

/* The threads that OpenMP will use, and where the number comes from: OMP_NUM_THREADS,
 * SLURM_CPUS_PER_TASK, the cores that this process may run on (fewer if OpenMP's places leave some
 * out). Calls omp_set_num_threads() if Slurm's number or the places decide. */
int machine_threads(const char **why);

/* The processors that this process may run on: those of all of OpenMP's places if its threads are
 * bound to places (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY, KMP_AFFINITY), else this thread's
 * mask. False if neither can be read. */
bool machine_mask(cpu_set_t *set);

/* A new thread or program inherits the binding of the thread that starts it, although OpenMP means
 * to bind only its own threads. So threads of other libraries, and a program that replaces this
 * one, are started between these two calls. */
struct machine_binding {
    bool bound;
    cpu_set_t mask;
};
void machine_unbind(struct machine_binding *was);
void machine_rebind(const struct machine_binding *was);

/* The number of these processors, and of their cores (fewer if a core appears as several
 * processors). */
int machine_cpus(void);
int machine_cores(void);
/* The processor time that its control groups (v1, v2) allow, as a number of processors; 0: no
 * limit. */
double machine_cpu_quota(void);
int machine_numa_nodes(void);

/* Bytes of memory in all, and of swap space in use. */
size_t machine_memory_total(void);
size_t machine_swap_used(void);

/* One line about what cannot be known where /proc or /sys is missing (a chroot, a container); NULL
 * where both are there. The functions here then return what the kernel tells otherwise: less memory
 * than is available, no limit, every processor as a core of its own, one memory node. */
const char *machine_unknown(void);

/* The free bytes of a directory's file system; 0 if it cannot be asked. */
size_t machine_disk_free(const char *dir);

/* The first line of one of the kernel's small files; false if there is none. */
bool machine_line(char *out, size_t size, const char *path);

#endif
