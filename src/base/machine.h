/* The machine a run is on: processor, memory that may be used, threads. */
#ifndef LORAC_BASE_MACHINE_H
#define LORAC_BASE_MACHINE_H

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
 * the cores this process may run on. Calls omp_set_num_threads() when Slurm's number decides. */
int machine_threads(const char **why);

#endif
