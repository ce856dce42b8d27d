/* Sub-commands: one file and one row (commands.def) each. */
#ifndef LORAC_COMMANDS_COMMANDS_H
#define LORAC_COMMANDS_COMMANDS_H

#include "src/base/err.h"
#include "src/commands/options.h"

/* A sub-command. run() gets the arguments that are not options, between min_args and max_args of
 * them; options are stored where c->options point before it is called. It prints results on stdout,
 * everything else on stderr, and returns the exit code: 0, or one of the ERR_* codes with the
 * message in e, which main() prints. A failing write to stdout needs no check: main() finds it. */
struct command {
    const char *name, *summary; /* "text to token ids" */
    const char *args;           /* "TEXT|-", as --help shows it */
    size_t min_args, max_args;
    const struct option *options; /* NULL, or a row without a name ends it */
    const char *about;            /* NULL, or lines for --help */
    const char *examples;         /* lines for --help, without indentation */
    int (*run)(int n, char **args, struct err *e);
    bool by_ranks; /* all ranks of lorac_mpi share the work; else the first one does it alone */
};

#define COMMAND(name) extern const struct command command_##name;
#include "src/commands/commands.def"
#undef COMMAND

#endif
