#include "src/commands/chat_slash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/term.h"

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

static enum slash run_again(struct chat *c, char *rest)
{
    (void)rest;
    if (c->n) return SLASH_AGAIN;
    fprintf(stderr, "(nothing was said that could be answered again)\n");
    return SLASH_DONE;
}

static void show_system(const struct chat *c)
{
    if (c->system) {
        fputs("(the system text is: ", stderr);
        term_text(stderr, c->system, strlen(c->system), NULL);
        fputs(")\n", stderr);
    } else {
        fprintf(stderr, "(no system text was given; a template may have its own)\n");
    }
}

static enum slash run_system(struct chat *c, char *rest)
{
    struct err e;
    bool removes = !strcmp(rest, "\"\"");
    if (!*rest) {
        show_system(c);
    } else if (chat_set_system(c, removes ? NULL : rest, &e)) {
        fprintf(stderr, "(the system text stays as it was: %s)\n", e.msg);
    } else {
        fprintf(stderr,
                "(%s the system text from now on; what was said stays, /reset forgets it)\n",
                removes ? "without" : "with");
    }
    return SLASH_DONE;
}

static enum slash run_adapter(struct chat *c, char *rest)
{
    bool on = !strcmp(rest, "on"), off = !strcmp(rest, "off");
    if (!c->answerer.session->has_adapter) {
        fprintf(stderr, "(there is no adapter: --adapter A names one when chat begins)\n");
        return SLASH_DONE;
    }
    if (*rest && !on && !off) {
        fprintf(stderr, "(found /adapter %s, wanted on or off)\n", err_quotez(rest));
        return SLASH_DONE;
    }
    if (*rest) chat_use_adapter(c, on);
    fprintf(stderr, "(the adapter is %s%s)\n", c->answerer.base_only ? "off" : "on",
            c->answerer.base_only ? ": the base answers, with the same template" : "");
    return SLASH_DONE;
}

/* ---- /save ----------------------------------------------------------------------------------- */

/* The path after -f; ~/ is the home directory, as in a shell. */
static int save_path(char path[PATH_BYTES], bool *replaces, const char *rest, struct err *e)
{
    const char *home = getenv("HOME");
    *replaces = !strncmp(rest, "-f ", 3);
    if (*replaces) rest += 3 + strspn(rest + 3, " \t");
    if (!*rest) return err_set(e, "to which file? /save FILE");
    if (strchr(rest, '\n')) return err_set(e, "a file name has one line");
    if (!strncmp(rest, "~/", 2) && home) return path_join(path, home, rest + 2, e);
    if (strlen(rest) >= PATH_BYTES) return err_set(e, "the file name is too long");
    snprintf(path, PATH_BYTES, "%s", rest);
    return 0;
}

static int save(const struct chat *c, const char *path, bool replaces, struct err *e)
{
    struct str text = { 0 };
    int code = replaces
                   ? 0
                   : path_must_be_free(path, "name another file, or replace it with /save -f", e);
    if (!code) code = chat_write(&text, c, e);
    if (!code) code = file_replace(path, text.p, text.n, 0600, e);
    str_free(&text);
    return code;
}

static enum slash run_save(struct chat *c, char *rest)
{
    char path[PATH_BYTES];
    bool replaces;
    struct err e;
    if (!c->n) {
        fprintf(stderr, "(nothing was said yet: nothing is saved)\n");
        return SLASH_DONE;
    }
    int code = save_path(path, &replaces, rest, &e);
    if (!code) code = save(c, path, replaces, &e);
    if (code) {
        term_print(stderr, "(not saved: %s)\n", e.msg);
        return SLASH_DONE;
    }
    term_print(stderr, "(saved %s to %s, in the format `messages`, which only you can read)\n",
               str_count(c->n, "message"), path);
    if (c->forgot) {
        fprintf(stderr, "(without the oldest %s, which the context had no room for)\n",
                str_count(c->forgot, "exchange"));
    }
    return SLASH_DONE;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum slash run_help(struct chat *c, char *rest);

static const struct {
    const char *name, *args, *help;
    enum slash (*run)(struct chat *c, char *rest);
} rows[] = {
    { "/reset", "", "forget what was said", run_reset },
    { "/system", "TEXT", "answer with this system text (\"\": none); show it", run_system },
    { "/again", "", "answer the last message again, with another seed", run_again },
    { "/save", "FILE", "save the conversation as a record to train on (-f: replace)", run_save },
    { "/adapter", "on|off", "answer with the adapter, or as the base alone", run_adapter },
    { "/help", "", "this list", run_help },
    { "/quit", "", "end (or Ctrl-D)", run_end },
    { "/exit", NULL, NULL, run_end },
};
enum { ROWS = sizeof rows / sizeof *rows, LABEL = 16 };

static enum slash run_help(struct chat *c, char *rest)
{
    (void)c, (void)rest;
    for (size_t i = 0; i < ROWS; i++) {
        char left[32];
        if (!rows[i].help) continue;
        snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].args);
        term_line(stderr, LABEL, "%-*s%s", LABEL, left, rows[i].help);
    }
    term_line(stderr, LABEL, "%-*sstop an answer, and drop what was typed", LABEL, "Ctrl-C");
    term_line(stderr, 0,
              "A line that ends in \\ continues in the next one. A space before / sends it.");
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
