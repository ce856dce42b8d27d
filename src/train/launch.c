#include "src/train/launch.h"

#include <stdlib.h>

#include "src/config/scalar.h"
#include "src/train/ranks.h"

/* What launchers tell the processes they start. A batch script has SLURM_NTASKS too; the number of
 * a step's tasks has only who was started by srun. */
static const struct launcher {
    const char *program, *tasks, *number, *alone, *mpi;
} launchers[] = {
    { "srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun -n 1", " with srun --mpi=pmix" },
    { "mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun -np 1", "" },
    { "mpirun", "PMI_SIZE", "PMI_RANK", "mpirun -np 1", "" },
};

static int64_t number_of(const char *variable)
{
    int64_t n;
    const char *text = getenv(variable);
    return text && !scalar_int(&n, text) ? n : 0;
}

/* lorac_mpi, too, is one of many that do not know of each other where its MPI is not that of the
 * launcher: srun without --mpi=pmix, or the mpirun of another MPI. */
static int refuse(const struct launcher *l, int64_t tasks, struct err *e)
{
    const char *library = ranks_library();
    if (library)
        return err_usage(e,
                         "%s started %lld tasks (%s), and %s sees %zu of them: wanted a launcher "
                         "that it knows: srun --mpi=pmix, or the mpirun that came with it",
                         l->program, (long long)tasks, l->tasks, library, ranks_n());
    return err_usage(e,
                     "%s started %lld tasks (%s), which do not know of each other: each would make "
                     "the whole run; one task trains alone (%s), tasks that share a run need "
                     "lorac_mpi (make MPI=1)%s, and tasks with runs of their own: env -u %s lorac "
                     "...",
                     l->program, (long long)tasks, l->tasks, l->alone, l->mpi, l->tasks);
}

int launch_check(struct err *e)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const struct launcher *l = &launchers[i];
        int64_t tasks = number_of(l->tasks);
        if (tasks <= (int64_t)ranks_n()) continue;
        refuse(l, tasks, e);
        if (number_of(l->number) > 0) *e->msg = 0;
        return e->code;
    }
    return 0;
}
