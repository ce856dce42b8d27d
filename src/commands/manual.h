/* What `make install` puts beside the program: man pages and the completion of bash. Both are made
 * from the tables that the program itself uses (commands, their options, the keys of a
 * configuration), so that they cannot be out of date. */
#ifndef LORAC_COMMANDS_MANUAL_H
#define LORAC_COMMANDS_MANUAL_H

#include "src/base/str.h"
#include "src/commands/commands.h"

struct manual {
    const struct command *const *commands;
    size_t n;
    const char *version, *date; /* "0.1.0", "November 29, 2026" */
};

/* Append a page in the mdoc language: of the program, of one of its commands, of the configuration
 * file. */
void manual_program(struct str *out, const struct manual *m);
void manual_command(struct str *out, const struct manual *m, const struct command *c);
void manual_keys(struct str *out, const struct manual *m);

/* Append the completion: a file that bash reads, for bash 4.3 or later. */
void manual_completion(struct str *out, const struct manual *m);

#endif
