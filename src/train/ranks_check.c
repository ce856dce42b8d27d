#include "src/train/ranks_check.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "kernels/blas.h"
#include "src/base/file.h"
#include "src/base/fingerprint.h"
#include "src/base/hash.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/version.h"
#include "src/train/ranks.h"
#include "src/train/rundir.h"

/* ---- the program ----------------------------------------------------------------------------- */

/* The hash of the file that runs, or where there is no /proc the version. */
static void identify_program(char out[SHA256_HEX])
{
    uint8_t digest[SHA256_BYTES];
    struct err ignored;
    if (sha256_file(digest, "/proc/self/exe", NULL, &ignored)) {
        snprintf(out, SHA256_HEX, "%s", LORAC_VERSION);
    } else {
        hex_of(out, digest);
    }
}

static int check_program(struct err *e)
{
    char program[SHA256_HEX] = "", blas[72] = "";
    const struct kernels *k = NULL;
    /* the set is the same one for every train.compute, whose products have its bits on all sets */
    int code = ranks_agree(setup_kernels(&k, COMPUTE_F32, e), e);
    if (code) return code;
    bool uses_blas = strcmp(k->gemm, "blas") == 0;
    identify_program(program);
    if (uses_blas) snprintf(blas, sizeof blas, "%s, %.50s", blas_core(), blas_config());
    const struct ranks_fact facts[] = {
        { "program", program, "start the same lorac_mpi on all (make install on a shared disk)" },
#ifdef __GLIBC__
        { "C library", gnu_get_libc_version(), "use machines with the same system" },
#endif
        { "instruction set", k->isa,
          "their bits differ: export LORAC_ISA with one that all have (lorac doctor lists them)" },
        { "LORAC_GEMM", k->gemm, "export the same LORAC_GEMM to all" },
        { "OpenBLAS", blas, "use one library, and export OPENBLAS_CORETYPE with the same core" },
    };
    return ranks_same(facts, sizeof facts / sizeof *facts, e);
}

/* ---- the configuration ----------------------------------------------------------------------- */

/* The error when c is not what the text of the first rank says. */
static int compare_config(const struct config *c, const char *text, size_t n, struct err *e)
{
    struct config first;
    const char *names[CONFIG_KEYS];
    struct str list = { 0 };
    int code = config_parse(&first, text, n, "rank 0's configuration", NULL, 0, e);
    if (code) return code;
    size_t differ = config_diff(names, &first, c, false);
    config_free(&first);
    for (size_t i = 0; i < differ; i++) str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    code = str_error(&list, e);
    if (!code && differ)
        code = err_usage(e,
                         "another %s than rank 0 on %s has; start all ranks with the same "
                         "configuration and the same arguments",
                         list.p, ranks_host(0));
    str_free(&list);
    return code;
}

static int check_config(const struct config *c, struct err *e)
{
    struct str own = { 0 };
    config_print(&own, c);
    int code = ranks_agree(str_error(&own, e), e);
    size_t n = own.n;
    if (!code) ranks_broadcast(&n, sizeof n);
    char *text = code ? NULL : mem_alloc(n, 1, e);
    if (!code) code = ranks_agree(text ? 0 : e->code, e);
    if (!code) {
        if (ranks_me() == 0) memcpy(text, own.p, n);
        ranks_broadcast(text, n);
        code = ranks_agree(compare_config(c, text, n, e), e);
    }
    mem_free(text);
    str_free(&own);
    return code;
}

int ranks_check_start(const struct config *c, struct err *e)
{
    if (ranks_n() == 1) return 0;
    int code = check_program(e);
    return code || !c ? code : check_config(c, e);
}

/* ---- what was read --------------------------------------------------------------------------- */

int ranks_check_inputs(const struct llama *base, const struct dataset *d, const struct adapter *a,
                       struct err *e)
{
    char data[SHA256_HEX], print[SHA256_HEX] = "", adapter[SHA256_HEX] = "none", counts[72];
    uint8_t digest[SHA256_BYTES];
    if (ranks_n() == 1) return 0;
    int code = fingerprint_files(print, base->files, base->n_files, e);
    if (!code && a && a->params)
        code = sha256_of(digest, a->params, a->n_params * sizeof *a->params, e);
    code = ranks_agree(code, e);
    if (code) return code;
    if (a && a->params) hex_of(adapter, digest);
    hex_of(data, d->sha256);
    snprintf(counts, sizeof counts, "%zu and %zu, %zu tokens", d->train.n, d->validation.n,
             examples_tokens(&d->train) + examples_tokens(&d->validation));
    const struct ranks_fact facts[] = {
        { "base model", print, "give all the same files (these are fingerprints)" },
        { "data set", data, "give all the same files (these are their SHA-256)" },
        { "number of examples", counts, "give all the same tokenizer and templates" },
        { "adapter to start from", adapter, "give all the same files (these are SHA-256)" },
    };
    return ranks_same(facts, sizeof facts / sizeof *facts, e);
}

/* ---- the run's directory --------------------------------------------------------------------- */

enum { MARK_BYTES = 256 };

/* A network file system may show the file late, but within its time to live of attributes. */
static int look_for_mark(const struct config *c, const char *wanted, struct err *e)
{
    enum { MOST_S = 10 };
    char found[MARK_BYTES];
    double start = term_now_s();
    for (;;) {
        runlock_mark(found, c->output.dir);
        if (strcmp(found, wanted) == 0) return 0;
        if (term_now_s() - start > MOST_S) break;
        nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
    }
    return config_error(e, c, "output.dir",
                        "%s: what rank 0 on %s wrote there is not to be seen here; choose a "
                        "directory on a file system that all machines share",
                        c->output.dir, ranks_host(0));
}

int ranks_check_directory(const struct config *c, struct err *e)
{
    char mark[MARK_BYTES] = "";
    if (ranks_n() == 1) return 0;
    if (ranks_me() == 0) runlock_mark(mark, c->output.dir);
    ranks_broadcast(mark, sizeof mark);
    return ranks_agree(ranks_me() ? look_for_mark(c, mark, e) : 0, e);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct placement {
    cpu_set_t mask;
    int threads;
};

/* The threads of the ranks on this machine, and the processors that any of them may use. */
static void sum_here(int *threads, int *cpus, const struct placement *all)
{
    cpu_set_t both;
    CPU_ZERO(&both);
    *threads = 0;
    for (size_t r = 0; r < ranks_n(); r++) {
        if (strcmp(ranks_host(r), ranks_host(ranks_me())) != 0) continue;
        CPU_OR(&both, &both, &all[r].mask);
        *threads += all[r].threads;
    }
    *cpus = CPU_COUNT(&both);
}

/* Of this machine, or of the job's part of it. */
static int processors_here(void)
{
    const char *slurm = getenv("SLURM_CPUS_ON_NODE");
    long n = slurm ? strtol(slurm, NULL, 10) : 0;
    return n > 0 ? (int)n : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static void note_here(struct str *notes, const struct placement *all)
{
    size_t before, here = ranks_here(&before);
    int threads, cpus, own = all[ranks_me()].threads, bound = CPU_COUNT(&all[ranks_me()].mask);
    sum_here(&threads, &cpus, all);
    if (bound && own > bound) {
        str_addf(notes,
                 "warning: %d threads on %s, which is all that this rank may use: mpirun binds a "
                 "rank to one core unless told otherwise (--bind-to none, or --map-by "
                 "ppr:1:node:PE=%d), and srun to --cpus-per-task\n",
                 own, str_count((uint64_t)bound, "processor"), own);
    } else if (threads > cpus && before == 0) {
        int each = cpus / (int)here;
        str_addf(notes,
                 "warning: the %zu ranks on %s have %s on %s, and wait for each other: start fewer "
                 "ranks",
                 here, machine_host(), str_count((uint64_t)threads, "thread"),
                 str_count((uint64_t)cpus, "processor"));
        if (each) str_addf(notes, ", or export OMP_NUM_THREADS=%d", each);
        str_addc(notes, '\n');
    } else if (cpus > 0 && 2 * cpus <= processors_here() && before == 0) {
        str_addf(notes,
                 "warning: %s on %s may use %s of %d: mpirun binds a rank to one core "
                 "unless told otherwise (--bind-to none, or --map-by ppr:1:node:PE=%d), and srun "
                 "to --cpus-per-task\n",
                 str_count(here, "rank"), machine_host(), str_count((uint64_t)cpus, "processor"),
                 processors_here(), processors_here());
    }
}

static void note_variables(struct str *notes)
{
    const char *omp = getenv("OMP_NUM_THREADS"), *slurm = getenv("SLURM_CPUS_PER_TASK");
    if (!omp || !slurm || strtol(omp, NULL, 10) == strtol(slurm, NULL, 10)) return;
    str_addf(notes,
             "OMP_NUM_THREADS is %s and SLURM_CPUS_PER_TASK %s: the first one is used; export "
             "OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK, or leave it out\n",
             err_quotez(omp), err_quotez(slurm));
}

/* By mpirun or srun, which bind a single rank, too. */
static bool is_launched(void)
{
    return ranks_n() > 1 ||
           (ranks_library() && (getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE")));
}

int ranks_note_threads(struct str *notes, struct err *e)
{
    const char *why;
    struct placement mine = { .threads = machine_threads(&why) };
    note_variables(notes);
    if (!machine_mask(&mine.mask)) CPU_ZERO(&mine.mask);
    struct placement *all = mem_alloc(ranks_n(), sizeof *all, e);
    int code = ranks_agree(all ? 0 : e->code, e);
    if (!code) {
        ranks_gather(all, &mine, sizeof mine);
        if (is_launched()) note_here(notes, all);
        code = str_error(notes, e);
    }
    mem_free(all);
    return code;
}

void ranks_note_passes(struct str *notes, size_t passes)
{
    if (passes >= ranks_n()) return;
    str_addf(notes,
             "a batch has %zu pass%s for %zu ranks, so that %zu of them have nothing to do: start "
             "fewer ranks; a larger train.batch_size or a smaller train.pass_tokens makes more "
             "passes, and changes the result\n",
             passes, passes == 1 ? "" : "es", ranks_n(), ranks_n() - passes);
}
