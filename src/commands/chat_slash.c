#include "src/commands/chat_slash.h"

#include <stdio.h>
#include <string.h>

/* ---- what they do ---------------------------------------------------------------------------- */

/* Each gets what follows its name, without spaces around it. */

static enum slash run_end(struct chat *c, char *rest)
{
    (void)c, (void)rest;
    return SLASH_END;
}

static enum slash run_reset(struct chat *c, char *rest)
{
    (void)rest;
    chat_forget(c);
    fprintf(stderr, "(forgotten)\n");
    return SLASH_DONE;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum slash run_help(struct chat *c, char *rest);

static const struct {
    const char *name, *args, *help;
    enum slash (*run)(struct chat *c, char *rest);
} rows[] = {
    { "/reset", "", "forget what was said", run_reset },
    { "/help", "", "this list", run_help },
    { "/quit", "", "end (or Ctrl-D)", run_end },
    { "/exit", NULL, NULL, run_end },
};
enum { ROWS = sizeof rows / sizeof *rows };

static enum slash run_help(struct chat *c, char *rest)
{
    (void)c, (void)rest;
    for (size_t i = 0; i < ROWS; i++) {
        char left[32];
        if (!rows[i].help) continue;
        snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].args);
        fprintf(stderr, "%-15s %s\n", left, rows[i].help);
    }
    fprintf(stderr,
            "Ctrl-C          stop an answer; drop a line\n"
            "A line that ends in \\ continues in the next one. A space before / sends it.\n");
    return SLASH_DONE;
}

static void add_names(struct str *out)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].help) str_addf(out, "%s%s", i ? " " : "", rows[i].name);
}

static enum slash unknown(const char *name)
{
    struct str_nearest nearest = { .word = name };
    struct str names = { 0 };
    for (size_t i = 0; i < ROWS; i++) str_nearest_try(&nearest, rows[i].name);
    add_names(&names);
    fprintf(stderr, "unknown command %s; %s%s (a space before / sends it as text)\n",
            err_quotez(name), nearest.best ? "did you mean " : "there are ",
            nearest.best ? nearest.best
            : names.n    ? names.p
                         : "");
    str_free(&names);
    return SLASH_DONE;
}

/* The name and what follows it are separated in `line`. */
static enum slash run_line(struct chat *c, char *line)
{
    size_t n = strlen(line), name = strcspn(line, " \t\n");
    while (n && strchr(" \t\n", line[n - 1])) line[--n] = 0;
    char *rest = line + name + strspn(line + name, " \t\n");
    bool pasted = strchr(line, '\n') != NULL;
    line[name] = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (!strcmp(line, rows[i].name)) return rows[i].run(c, rest);
    return pasted ? SLASH_TEXT : unknown(line);
}

enum slash chat_slash(struct chat *c, const char *line)
{
    struct str copy = { 0 };
    if (line[0] != '/') return SLASH_TEXT;
    str_addz(&copy, line);
    enum slash what = copy.failed ? SLASH_TEXT : run_line(c, copy.p);
    str_free(&copy);
    return what;
}
