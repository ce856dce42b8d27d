/* lorac doctor: what this machine offers a run, what is wrong with it, and how to fix it. One
 * function looks at each thing; a table lists them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernels/blas.h"
#include "src/base/file.h"
#include "src/base/load.h"
#include "src/base/machine.h"
#include "src/base/term.h"
#include "src/base/waiting.h"
#include "src/commands/commands.h"
#include "src/commands/facts.h"
#include "src/model/rate.h"
#include "src/train/setup.h"

static bool as_json;

static const struct option options[] = {
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

struct patient {
    struct facts *f;
    const struct kernels *k; /* NULL: none could be chosen */
    int threads;
    const char *threads_why;
};

/* Where /proc or /sys is missing, some of the lines below are what the kernel tells otherwise. */
static void look_system(struct patient *p)
{
    if (!machine_unknown()) return;
    facts_check(p->f, VERDICT_NOTE, "system",
                "mount them, or give the limits yourself: OMP_NUM_THREADS, train.memory_budget",
                "%s", machine_unknown());
}

/* ---- the processor --------------------------------------------------------------------------- */

static void look_cpu(struct patient *p)
{
    int cpus = machine_cpus(), cores = machine_cores(), nodes = machine_numa_nodes();
    facts_check(p->f, VERDICT_OK, "cpu", NULL, "%s: %d core%s, %d processor%s for this process",
                machine_cpu(), cores, cores == 1 ? "" : "s", cpus, cpus == 1 ? "" : "s");
    if (nodes > 1 && !getenv("OMP_PROC_BIND")) {
        facts_check(p->f, VERDICT_NOTE, "numa",
                    "export OMP_PROC_BIND=close OMP_PLACES=cores, so that threads stay with their "
                    "memory",
                    "%d memory nodes, threads are not bound", nodes);
    }
}

/* The best kernel set that was compiled in and that this CPU runs. */
static const char *best_isa(void)
{
    const struct kernels *k;
    const char *best = "base";
    bool runs;
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++)
        if (runs) best = k->isa;
    return best;
}

static void look_isa(struct patient *p)
{
    const char *forced = getenv("LORAC_ISA"), *best = best_isa(), *why;
    if (!p->k) {
        kernels_choose(forced, getenv("LORAC_GEMM"), COMPUTE_F32, &why);
        facts_check(p->f, VERDICT_PROBLEM, "kernels", "unset LORAC_ISA LORAC_GEMM", "%s", why);
        return;
    }
    bool lower = strcmp(p->k->isa, best) != 0;
    facts_check(p->f, lower ? VERDICT_NOTE : VERDICT_OK, "kernels",
                lower ? "unset LORAC_ISA to use the best one" : NULL,
                "%s (%s; the best here: %s), products by %s (%s)", p->k->isa,
                forced ? "LORAC_ISA" : "chosen by the processor", best, p->k->gemm,
                getenv("LORAC_GEMM") ? "LORAC_GEMM" : "the default");
#ifdef __x86_64__
    if (strcmp(best, "base") == 0) {
        facts_check(p->f, VERDICT_NOTE, "avx2",
                    "use a machine with AVX2 and FMA (2013 or later): several times as fast",
                    "this processor, or the virtual machine, has none");
    }
#endif
}

/* What train.compute: bf16 would run on. */
static void look_bf16(struct patient *p)
{
    const char *why;
    char text[COMPUTE_BYTES];
    const struct kernels *k = kernels_choose(getenv("LORAC_ISA"), getenv("LORAC_GEMM"),
                                             COMPUTE_BF16, &why);
    if (!p->k) return; /* said already */
    if (!k) {
        facts_check(p->f, VERDICT_OK, "bf16", NULL, "train.compute: bf16 is not available: %s",
                    why);
        return;
    }
    facts_check(p->f, VERDICT_OK, "bf16", NULL, "train.compute: %s; %s than f32",
                setup_compute(text, k), k->product.faster ? "faster" : "no faster");
}

static void look_blas(struct patient *p)
{
    static const char *const how[] = { "no threads", "its own, switched off by lorac", "OpenMP" };
    const char *core = blas_core(), *better = blas_better_core(), *remedy = NULL;
    int threading = blas_threading();
    bool openblas = strcmp(core, "unknown") != 0;
    char text[160];
    if (threading < 0) {
        remedy = "link OpenBLAS, BLIS or MKL if LORAC_GEMM=blas is wanted: this one may be slow "
                 "(lorac's own products do not use it)";
    } else if (better) {
        snprintf(
            text, sizeof text,
            "export OPENBLAS_CORETYPE=%s: it does not know this processor, and LORAC_GEMM=blas "
            "is slow (lorac's own products are not)",
            better);
        remedy = text;
    }
    facts_check(p->f, remedy ? VERDICT_NOTE : VERDICT_OK, "blas", remedy, "%s%s%s%s; threads: %s",
                blas_config(), openblas ? "; kernels for " : "", openblas ? core : "",
                openblas && getenv("OPENBLAS_CORETYPE") ? " (OPENBLAS_CORETYPE)" : "",
                threading >= 0 && threading <= 2 ? how[threading] : "unknown");
}

static void look_threads(struct patient *p)
{
    int cpus = machine_cpus(), cores = machine_cores();
    double quota = machine_cpu_quota();
    enum verdict v = VERDICT_OK;
    const char *remedy = NULL;
    char text[160];
    if (p->threads > cpus) {
        v = VERDICT_PROBLEM;
        snprintf(text, sizeof text,
                 "export OMP_NUM_THREADS=%d: more threads than processors wait "
                 "for each other",
                 cores);
        remedy = text;
    } else if (quota > 0 && p->threads > (int)(quota + 0.5)) {
        v = VERDICT_PROBLEM;
        snprintf(text, sizeof text,
                 "export OMP_NUM_THREADS=%d: the control group allows the time "
                 "of %.1f processors",
                 quota < 1 ? 1 : (int)(quota + 0.5), quota);
        remedy = text;
    } else if (p->threads > cores) {
        v = VERDICT_NOTE;
        snprintf(text, sizeof text,
                 "try OMP_NUM_THREADS=%d: two threads of one core share what "
                 "products need",
                 cores);
        remedy = text;
    } else if (p->threads < cores) {
        v = VERDICT_NOTE;
        snprintf(text, sizeof text, "export OMP_NUM_THREADS=%d to use all cores", cores);
        remedy = text;
    }
    facts_check(p->f, v, "threads", remedy, "%d (%s)", p->threads, p->threads_why);
}

/* When other programs compute here, every product waits for its slowest thread. */
static void look_load(struct patient *p)
{
    struct load_sample from, to;
    char remedy[96];
    int cpus = machine_cpus();
    if (!load_sample(&from)) return;
    usleep((useconds_t)(LOAD_WINDOW_S * 1e6));
    if (!load_sample(&to)) return;
    double others = load_others(&from, &to);
    bool busy = load_remedy(remedy, sizeof remedy, others, cpus, p->threads, machine_cpu_quota());
    facts_check(p->f, busy ? VERDICT_NOTE : VERDICT_OK, "load", busy ? remedy : NULL,
                "other programs use %.1f of these %d processor%s%s", others, cpus,
                cpus == 1 ? "" : "s", busy ? "; a run waits for its slowest thread" : "");
}

static void look_waiting(struct patient *p)
{
    char text[128];
    waiting_describe(text, sizeof text);
    facts_check(p->f, VERDICT_OK, "waiting", NULL, "%s", text);
}

static void look_speed(struct patient *p)
{
    static const struct dims usual = { .C = 2048, .F = 2048 };
    if (!p->k) return;
    struct err ignored;
    double fma = rate_fma(p->k) * 1e-9, sgemm = 0;
    rate_sgemm(&sgemm, &usual, p->threads, &ignored);
    sgemm *= 1e-9;
    bool slow = sgemm < 0.5 * fma;
    facts_check(p->f, slow ? VERDICT_NOTE : VERDICT_OK, "speed",
                slow ? "see blas and load above" : NULL, "%.0f GFLOP/s in registers, %.0f by sgemm",
                fma, sgemm);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void look_memory(struct patient *p)
{
    const char *why;
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    size_t left = machine_memory_available(&why), total = machine_memory_total();
    bool little = left < (size_t)2 << 30;
    facts_check(p->f, little ? VERDICT_NOTE : VERDICT_OK, "memory",
                little ? "7B needs 20 GB or more; smaller models, or a 4-bit .gguf, less" : NULL,
                "%s of %s available (%s)", human_bytes(a, (double)left),
                human_bytes(b, (double)total), why);
    size_t swap = machine_swap_used();
    if (swap > (size_t)1 << 30) {
        facts_check(p->f, VERDICT_NOTE, "swap", "close large programs before a run",
                    "%s are in use: something here is short of memory",
                    human_bytes(a, (double)swap));
    }
}

static void look_huge_pages(struct patient *p)
{
    char text[128];
    if (!machine_line(text, sizeof text, "/sys/kernel/mm/transparent_hugepage/enabled")) return;
    bool never = strstr(text, "[never]") != NULL;
    facts_check(p->f, never ? VERDICT_NOTE : VERDICT_OK, "huge pages",
                never ? "as root: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled" : NULL,
                "%s", text);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void look_limits(struct patient *p)
{
    static const struct {
        int resource;
        const char *name, *remedy;
        rlim_t enough;
    } rows[] = {
        { RLIMIT_AS, "address space", "ulimit -v unlimited: models are mapped as a whole",
          RLIM_INFINITY },
        { RLIMIT_FSIZE, "file size", "ulimit -f unlimited: merged models are large",
          RLIM_INFINITY },
        { RLIMIT_CPU, "processor time", "ulimit -t unlimited, or --max-hours", RLIM_INFINITY },
        { RLIMIT_NOFILE, "open files", "ulimit -n 1024", 256 },
    };
    size_t low = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rlimit r;
        if (getrlimit((__rlimit_resource_t)rows[i].resource, &r) != 0) continue;
        if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= rows[i].enough) continue;
        low++;
        facts_check(p->f, VERDICT_NOTE, "limit", rows[i].remedy, "%s: %llu", rows[i].name,
                    (unsigned long long)r.rlim_cur);
    }
    if (!low) {
        facts_check(p->f, VERDICT_OK, "limits", NULL,
                    "none on address space, file size, processor time");
    }
}

static void look_slurm(struct patient *p)
{
    const char *job = getenv("SLURM_JOB_ID"), *cpus = getenv("SLURM_CPUS_PER_TASK");
    const char *tasks = getenv("SLURM_NTASKS");
    if (!job) return;
    bool many = tasks && strtol(tasks, NULL, 10) > 1;
    enum verdict v = cpus && !many ? VERDICT_OK : VERDICT_NOTE;
    facts_check(p->f, v, "slurm",
                many    ? "#SBATCH --ntasks=1: lorac is one process, each task would be a run"
                : !cpus ? "#SBATCH --cpus-per-task=N, else a task may have one core"
                        : NULL,
                "job %s, %s processors per task, %s task%s", err_quotez(job), cpus ? cpus : "no",
                tasks ? tasks : "1", many ? "s" : "");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void look_disk(struct patient *p)
{
    char text[HUMAN_BYTES];
    size_t left = machine_disk_free(".");
    bool full = left < (size_t)1 << 30, writable = access(".", W_OK) == 0;
    facts_check(p->f, full ? VERDICT_NOTE : VERDICT_OK, "disk",
                full ? "checkpoints take up to 3 x the adapter each, a merged model as much as its "
                       "base"
                     : NULL,
                "%s free in this directory%s", human_bytes(text, (double)left),
                writable ? "" : ", which cannot be written");
}

/* The directory where the hashes of base models are kept. */
static void look_cache(struct patient *p)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *dir = base && *base == '/' ? base : home && *home == '/' ? home : NULL;
    char there[PATH_BYTES] = ""; /* the part of dir that exists: the rest is made when needed */
    if (dir) snprintf(there, sizeof there, "%s", dir);
    while (strrchr(there, '/') && access(there, F_OK) != 0) *strrchr(there, '/') = 0;
    const char *at = *there ? there : "/";
    bool fine = dir && dir_exists(at) && access(at, W_OK) == 0;
    facts_check(p->f, fine ? VERDICT_OK : VERDICT_NOTE, "cache",
                fine ? NULL : "set XDG_CACHE_HOME; otherwise each run hashes its base anew", "%s%s",
                dir ? dir : "no HOME", fine ? "" : " cannot be written");
}

static void (*const looks[])(struct patient *) = {
    look_system,     look_cpu,     look_isa,   look_bf16,  look_blas,
    look_threads,    look_waiting, look_load,  look_speed, look_memory,
    look_huge_pages, look_limits,  look_slurm, look_disk,  look_cache,
};

static int run(int n, char **args, struct err *e)
{
    (void)n, (void)args;
    struct facts f;
    struct patient p = { .f = &f };
    const char *why;
    facts_init(&f);
    p.k = kernels_choose(getenv("LORAC_ISA"), getenv("LORAC_GEMM"), COMPUTE_F32, &why);
    p.threads = machine_threads(&p.threads_why);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) looks[i](&p);
    int code = facts_print(&f, as_json, e);
    if (!code && f.problems) {
        code = err_set(e, "%zu thing%s to fix, marked above", f.problems,
                       f.problems == 1 ? "" : "s");
    }
    facts_free(&f);
    return code;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "what this machine offers a run, what is wrong, how to fix it",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "Run it where the work will run: inside the job, not on the login node. Exit code 1\n"
             "when something has to be fixed; notes are suggestions.",
    .examples = "lorac doctor\n"
                "srun --cpus-per-task=32 lorac doctor\n"
                "lorac doctor --json\n",
    .run = run,
};
