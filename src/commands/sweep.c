/* lorac sweep: trains a grid of configurations, and compares runs. */
#include "src/train/sweep.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/sweep_print.h"

static const char *table_of;
static bool as_json, as_csv, dry_run, yes;
static int64_t seeds;
static double max_hours;

static const struct option options[] = {
    { "seeds", 0, "N", "make each combination N times: train.seed from its own value on",
      .allowed = "[1, 1000]", .integer = &seeds },
    { "dry-run", 0, NULL, "print the directories of the runs, with what is there, and make none",
      .flag = &dry_run },
    { "yes", 0, NULL, "make more than 256 runs", .flag = &yes },
    { "max-hours", 0, "H", "stop early enough that the checkpoint is written within H hours",
      .allowed = "[0, 1e6]", .real = &max_hours },
    { "table", 0, "DIR", "compare all runs in DIR and below it, of sweep or of train",
      .text = &table_of },
    { "json", 0, NULL, "the table as one JSON object", .flag = &as_json },
    { "csv", 0, NULL, "the table as CSV, one line a row", .flag = &as_csv },
    { 0 },
};

/* ---- the table ------------------------------------------------------------------------------- */

static int print_table(char *const *dirs, size_t n, struct err *e)
{
    struct sweep_table t;
    int code = sweep_table_make(&t, dirs, n, e);
    if (!code && as_json)
        code = sweep_print_json(&t, e);
    else if (!code && as_csv)
        code = sweep_print_csv(&t, e);
    else if (!code)
        code = sweep_print_people(&t, term_width(stdout), e);
    sweep_table_free(&t);
    return code;
}

static int compare(const char *dir, struct err *e)
{
    struct run_paths p;
    int code = run_paths_find(&p, dir, e);
    if (!code && !p.n)
        code = err_set(e,
                       "%s: no run in it or below it, wanted the output.dir of a run or of a "
                       "sweep, or a directory above",
                       dir);
    if (!code) code = print_table(p.at, p.n, e);
    run_paths_free(&p);
    return code;
}

/* ---- the runs -------------------------------------------------------------------------------- */

/* Do something with the directories of all runs. */
static int with_paths(const struct sweep_grid *g, int (*use)(char *const *, size_t, struct err *),
                      struct err *e)
{
    char **dirs = mem_alloc(g->n, sizeof *dirs, e);
    int code = dirs ? 0 : e->code;
    for (size_t i = 0; !code && i < g->n; i++) {
        char path[PATH_BYTES];
        code = path_join(path, g->dir, g->name[i], e);
        if (!code && !(dirs[i] = mem_strdup(path, e))) code = e->code;
    }
    if (!code) code = use(dirs, g->n, e);
    for (size_t i = 0; dirs && i < g->n; i++) mem_free(dirs[i]);
    mem_free(dirs);
    return code;
}

static int list(char *const *dirs, size_t n, struct err *e)
{
    struct sweep_share share;
    int code = sweep_share_read(&share, e);
    for (size_t i = 0; !code && i < n; i++) {
        struct run_record r;
        if (!sweep_share_has(&share, i)) continue;
        code = run_record_read(&r, dirs[i], e);
        if (!code)
            term_print(stdout, "%4zu  %-10s  %s\n", i + 1, record_state_name(r.state), dirs[i]);
        run_record_free(&r);
    }
    return code;
}

/* Failed runs do not keep the table from being printed; the others are worth it. */
static int run_grid(const struct sweep_grid *g, struct err *e)
{
    struct err of_table;
    size_t tried;
    struct sweep_options o = { .max_hours = max_hours };
    int code = sweep_share_read(&o.share, e);
    if (code) return code;
    if (dry_run) return with_paths(g, list, e);
    code = sweep_run(&tried, g, &o, e);
    if (code == ERR_STOPPED || !tried) return code;
    fputc('\n', stderr);
    int printed = with_paths(g, print_table, &of_table);
    if (!code && printed) *e = of_table;
    return code ? code : printed;
}

static int check_options(int n, struct err *e)
{
    bool runs = n || seeds || dry_run || yes || max_hours > 0;
    if (as_json && as_csv) return err_usage(e, "--json and --csv exclude each other");
    if (dry_run && (as_json || as_csv))
        return err_usage(e, "--dry-run makes no table: leave out --json and --csv");
    if (table_of && runs)
        return err_usage(e, "--table compares runs that are there already, and takes neither a "
                            "configuration nor options of a sweep");
    if (!table_of && !n)
        return err_usage(e, "needs CONFIG.yaml and KEY=VALUE,VALUE or --seeds N, or --table DIR");
    return 0;
}

static int run(int n, char **args, struct err *e)
{
    struct sweep_grid g;
    int code = check_options(n, e);
    if (code) return code;
    if (table_of) return compare(table_of, e);
    code = sweep_grid_open(&g, args[0], args + 1, (size_t)n - 1, seeds, yes, e);
    if (!code) code = run_grid(&g, e);
    sweep_grid_free(&g);
    return code;
}

const struct command command_sweep = {
    .name = "sweep",
    .summary = "train a grid of configurations, or compare runs",
    .args = "[CONFIG.yaml KEY=VALUE,VALUE,... ...]",
    .min_args = 0,
    .max_args = 256,
    .options = options,
    .about =
        "Every combination of the values is a run, in a directory of its own in output.dir. A\n"
        "value with commas is written in brackets; these are two values of one key:\n"
        "    adapter.target_modules=[q_proj,v_proj],all-linear\n"
        "A key with one value is set in all runs. All runs are measured on the same validation\n"
        "records: data.split_seed is held. The examples are kept in data.cache_dir for all\n"
        "runs; data.prepare=false keeps none.\n"
        "\n"
        "The same command goes on where it was: what is finished is skipped, what was cut or\n"
        "failed continues from its checkpoint. Exit code 1: some runs failed; 85: stopped.\n"
        "Under a Slurm array, each task makes its share of the runs.\n"
        "\n"
        "The table has a row for runs that differ in train.seed alone: the mean of their best\n"
        "validation losses, and +- the standard deviation s over the n seeds. Within noise of\n"
        "the best row: |difference of the means| < 2 x sqrt(s1^2/n1 + s2^2/n2), twice the\n"
        "standard error of the difference. One seed does not show it.",
    .examples =
        "lorac sweep run.yaml train.learning_rate=3e-4,1e-3 adapter.r=8,16 --seeds 3\n"
        "lorac sweep run.yaml 'adapter.target_modules=[q_proj,v_proj],all-linear' --dry-run\n"
        "sbatch --array=0-5 --wrap 'lorac sweep run.yaml adapter.r=4,8,16 --seeds 2'\n"
        "lorac sweep --table checkpoints/runs --csv\n",
    .run = run,
};
