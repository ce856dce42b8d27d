#include "src/commands/model_options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/job.h"
#include "src/convert/adapter_files.h"

enum compute compute_option(const char *text)
{
    return text ? (enum compute)word_index(compute_words, text) : COMPUTE_F32;
}

static int split_weight(char path[PATH_BYTES], double *weight, const char *text, struct err *e)
{
    const char *equals = strrchr(text, '=');
    *weight = 1;
    size_t n = strlen(text);
    if (equals && !dir_exists(text) && !file_exists(text)) {
        char *end;
        *weight = strtod(equals + 1, &end);
        if (end == equals + 1 || *end || !isfinite(*weight)) {
            return err_usage(e, "--adapter %s: the weight after = is not a number",
                             err_quotez(text));
        }
        n = (size_t)(equals - text);
    }
    if (n >= PATH_BYTES) return err_usage(e, "--adapter: path too long");
    memcpy(path, text, n);
    path[n] = 0;
    return 0;
}

int adapter_list_read(struct adapter_list *out, const struct option_list *adapters,
                      struct str *notes, struct err *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < adapters->n; i++) {
        char given[PATH_BYTES];
        code = split_weight(given, &out->at[i].weight, adapters->at[i], e);
        if (!code) code = adapter_locate(out->path[i], notes, given, e);
        out->at[i].path = out->path[i];
    }
    out->n = adapters->n;
    return code;
}

/* *base = what the adapter at `path` says it was trained on, if that is on this machine. */
static int base_named_by(char base[PATH_BYTES], const char *path, struct err *e)
{
    struct adapter_notes about;
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    if (kind == PATH_NOTHING) return err_set(e, "%s: no such adapter", path);
    int code = adapter_notes_of(&about, NULL, path, e);
    if (code) return code;
    const char *named = about.base_path;
    if (!named) {
        code = err_usage(e,
                         "--model is missing: which base? %s does not say for which one it was "
                         "made",
                         path);
    } else if (!dir_exists(named) && !file_exists(named)) {
        code = err_usage(
            e, "--model is missing: which base? %s was made for %s, which is not there%s", path,
            err_quotez(named), *named == '/' ? "" : " (looked for from the current directory)");
    } else {
        snprintf(base, PATH_BYTES, "%s", named);
    }
    adapter_notes_free(&about);
    return code;
}

int model_find(const char **model, const struct adapter_list *list, struct str *notes,
               struct err *e)
{
    static char base[PATH_BYTES];
    if (*model) return 0;
    if (!list->n) return err_usage(e, "--model is missing: which base?");
    int code = base_named_by(base, list->path[0], e);
    if (code) return code;
    *model = base;
    str_add_line(notes, "--model is missing: the base is %s, for which %s was made\n", base,
                 list->path[0]);
    return str_error(notes, e);
}

int model_open(struct session *s, struct session_options *o, const struct option_list *adapters,
               struct err *e)
{
    struct str notes = { 0 };
    struct adapter_list *list = mem_alloc(1, sizeof *list, e);
    int code = list ? adapter_list_read(list, adapters, &notes, e) : e->code;
    if (!code) code = model_find(&o->model, list, &notes, e);
    if (!code) {
        o->adapters = list->at;
        o->n_adapters = list->n;
        code = session_open(s, o, &notes, e);
        o->adapters = NULL;
        o->n_adapters = 0;
    }
    job_hide();
    notes_print(&notes);
    str_free(&notes);
    mem_free(list);
    return code;
}

/* A tokenizer that replaces the base's own replaces its chat template too. */
static int open_named(struct tokenizer **t, const struct llama *m, const char *model,
                      const char *named, struct err *e)
{
    struct tokenizer *own;
    struct err none;
    int code = tokenizer_find(t, model, named, e);
    if (!code) code = tokenizer_fit(*t, m->dims.V, model, e);
    if (code || tokenizer_chat_template(*t)) return code;
    if (tokenizer_find(&own, model, NULL, &none)) return 0;
    if (tokenizer_chat_template(own)) {
        term_print(stderr,
                   "note: the base's chat template is left out: it belongs to the base's own "
                   "tokenizer, and %s has none\n",
                   named);
    }
    tokenizer_free(own);
    return 0;
}

int tokenizer_to_write(struct tokenizer **t, const struct llama *m, const char *model,
                       const char *named, struct err *e)
{
    struct err none;
    *t = NULL;
    if (named) return open_named(t, m, model, named, e);
    if (tokenizer_find(t, model, NULL, &none)) {
        *t = NULL;
        term_print(stderr, "note: no tokenizer is written: %s\n", none.msg);
    }
    return 0;
}

bool print_answer(void *to, const char *text, size_t n)
{
    bool *printed = to;
    *printed = true;
    if (isatty(STDOUT_FILENO)) {
        term_text(stdout, text, n, "\xef\xbf\xbd");
    } else {
        fwrite(text, 1, n, stdout);
    }
    fflush(stdout);
    return !ferror(stdout);
}

void print_answer_end(bool printed, int code)
{
    if (printed || !code) putchar('\n');
    fflush(stdout);
}
