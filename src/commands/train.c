/* lorac train: makes an adapter from a configuration. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/commands/commands.h"
#include "src/commands/config_argument.h"
#include "src/train/train.h"

static const char *resume = "never";
static double max_hours;

static const struct option options[] = {
    { "resume", 0, "HOW",
      "never: refuse a directory that holds a run; auto: go on from its newest "
      "valid checkpoint, or start; or a checkpoint's file",
      .text = &resume },
    { "max-hours", 0, "H", "stop early enough that the checkpoint is written within H hours",
      .allowed = "[0, 1e6]", .real = &max_hours },
    { 0 },
};

/* A misspelt "auto" or "never" is not taken for a file. */
static int check_resume(struct err *e)
{
    static const char words[] = "never auto";
    enum path_kind kind = PATH_NOTHING;
    struct err unclear;
    const char *near = str_nearest_word(resume, words);
    if (!near || strcmp(near, resume) == 0 || strpbrk(resume, "/")) return 0;
    if (path_look(&kind, resume, &unclear) || kind != PATH_NOTHING) return 0;
    return err_usage(e,
                     "--resume: found %s, wanted never, auto or a checkpoint's file; did you mean "
                     "%s?",
                     err_quotez(resume), near);
}

static int run(int n, char **args, struct err *e)
{
    struct config c;
    struct train_options o = { .resume = RESUME_FILE,
                               .resume_file = resume,
                               .max_hours = max_hours };
    if (strcmp(resume, "never") == 0) o.resume = RESUME_NEVER;
    if (strcmp(resume, "auto") == 0) o.resume = RESUME_AUTO;
    int code = check_resume(e);
    if (!code) code = config_argument(&c, args[0], args + 1, (size_t)n - 1, e);
    if (code) return code;
    code = train_run(&c, &o, e);
    config_free(&c);
    return code;
}

const struct command command_train = {
    .name = "train",
    .summary = "train a LoRA adapter",
    .args = "CONFIG.yaml [key=value ...]",
    .min_args = 1,
    .max_args = 256,
    .options = options,
    .about =
        "Keys of the configuration can be given after it, as section.key=value; `lorac help "
        "keys`\n"
        "lists them. Exit code 85: stopped by a signal or by --max-hours with a checkpoint\n"
        "written; the same command with --resume auto goes on and ends with the same bits.\n"
        "SIGINT, SIGTERM, SIGUSR1, SIGXCPU stop it (a second Ctrl-C at once, without a\n"
        "checkpoint); SIGUSR2 writes a checkpoint and goes on. Where Slurm says when the job ends\n"
        "(SLURM_JOB_END_TIME), the run stops before. Exit code 86: train.watchdog ended a run\n"
        "that hung. A terminal that is closed does\n"
        "not stop it: to do that, kill -TERM the process, which output.dir/.lock names.",
    .examples = "lorac train configs/demo.yaml\n"
                "lorac train run.yaml train.learning_rate=1e-4 output.dir=checkpoints/runs/slow\n"
                "lorac train run.yaml --resume auto --max-hours 11.5\n",
    .run = run,
    .by_ranks = true,
};
