/* lorac data: shows, checks or prepares the training data. */
#include "src/commands/data.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/machine.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/config_argument.h"
#include "src/data/prepared.h"
#include "src/train/ranks.h"
#include "src/train/ranks_check.h"
#include "src/train/setup.h"

static struct show_options show = { .n = 3 };
static bool as_json, purge;

static const struct option options[] = {
    { "n", 'n', "N", "show: N examples, and N held out for validation", .allowed = "[1, 1000000]",
      .integer = &show.n },
    { "record", 0, "LINE",
      "show: the record that begins on this line, or on FILE:LINE of a mixture",
      .text = &show.record },
    { "ids", 0, NULL, "show: every token with its id", .flag = &show.ids },
    { "json", 0, NULL, "check: one JSON object on stdout", .flag = &as_json },
    { "purge", 0, NULL, "prepare: remove every prepared data set from the cache directory instead",
      .flag = &purge },
    { 0 },
};

static int show_data(struct config *c, struct err *e)
{
    return data_show(c, &show, e);
}

static int check_data(struct config *c, struct err *e)
{
    return data_check(c, as_json, e);
}

static int purge_prepared(const struct config *c, struct err *e)
{
    char dir[PATH_BYTES], human[HUMAN_BYTES];
    size_t files;
    uint64_t bytes;
    int code = prepared_dir(dir, c->data.cache_dir, e);
    if (!code) code = prepared_purge(&files, &bytes, dir, e);
    if (code && c->data.cache_dir) config_prefix(e, c, "data.cache_dir", 0);
    if (!code) {
        term_print(stdout, "%s: %zu prepared data sets removed, %s\n", dir, files,
                   human_bytes(human, (double)bytes));
    }
    return code;
}

static int prepare_data(struct config *c, struct err *e)
{
    struct setup s = { 0 };
    char size[HUMAN_BYTES], time[HUMAN_BYTES], memory[HUMAN_BYTES];
    if (purge) return purge_prepared(c, e);
    double start = term_now_s();
    c->data.prepare = PREPARE_ALWAYS;
    int code = ranks_check_start(c, e);
    if (!code) code = setup_open_headers(&s, c, e);
    if (!code) code = ranks_join_notes(&s.notes, e);
    if (code) {
        setup_close(&s);
        return code;
    }
    notes_print(&s.notes);
    double seconds = term_now_s() - start;
    const struct dataset *d = &s.data;
    size_t records = d->train_counts.records + d->validation_counts.records;
    term_print(stdout, "%s\n", d->prepared);
    printf("%s: %s, %zu training and %s, %s, %s\n", d->reused ? "was there already" : "prepared",
           str_count(records, "record"), d->train.n,
           str_count(d->validation.n, "validation example"),
           str_count(d->train_counts.tokens + d->validation_counts.tokens, "token"),
           human_bytes(size, (double)d->map.size));
    if (!d->reused) {
        printf("%.0f records/s, %s, at most %s of memory\n", (double)records / seconds,
               human_duration(time, seconds), human_bytes(memory, (double)machine_memory_peak()));
    }
    setup_close(&s);
    return 0;
}

static int run(int n, char **args, struct err *e)
{
    static const struct {
        const char *name;
        int (*run)(struct config *c, struct err *e);
    } actions[] = { { "show", show_data }, { "check", check_data }, { "prepare", prepare_data } };
    enum { ACTIONS = sizeof actions / sizeof *actions };
    struct str_nearest nearest = { .word = args[0] };
    size_t i = 0;
    while (i < ACTIONS && strcmp(args[0], actions[i].name) != 0)
        str_nearest_try(&nearest, actions[i++].name);
    if (i == ACTIONS) {
        return err_usage(e, "found %s, wanted show, check or prepare%s%s%s", err_quotez(args[0]),
                         nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "",
                         nearest.best ? "?" : "");
    }
    if (n < 2) return err_usage(e, "data %s needs CONFIG.yaml", actions[i].name);
    struct config c;
    int code = config_argument(&c, args[1], args + 2, (size_t)n - 2, e);
    if (code) return code;
    code = actions[i].run(&c, e);
    config_free(&c);
    return code;
}

const struct command command_data = {
    .name = "data",
    .summary = "show, check or prepare the training data",
    .args = "show|check|prepare CONFIG.yaml [key=value ...]",
    .min_args = 1,
    .max_args = 256,
    .options = options,
    .about =
        "show      examples as they will be trained on: what is a target, what is shared with\n"
        "          others, the step they fall in\n"
        "check     validate everything before a long job is queued, and print a table; exit code "
        "1\n"
        "          when training could not begin\n"
        "prepare   tokenise into a file that train finds by the data's and the settings' hash, "
        "for\n"
        "          data larger than memory or used again and again",
    .examples = "lorac data show configs/demo.yaml\n"
                "lorac data show run.yaml --record 17 --ids\n"
                "lorac data check run.yaml --json\n"
                "lorac data prepare run.yaml\n"
                "lorac data prepare run.yaml --purge\n",
    .run = run,
    .by_ranks = true,
};
