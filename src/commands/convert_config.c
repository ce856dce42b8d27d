#include "src/commands/convert_config.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/str.h"
#include "src/base/term.h"
#include "src/translate/translate.h"

bool is_config_name(const char *path)
{
    return str_ends_with(path, ".yaml") || str_ends_with(path, ".yml");
}

static void say_next(const char *out, bool wanted)
{
    struct str name = { 0 };
    str_add_shell(&name, out);
    term_print(stderr, "%slorac plan %s\n",
               wanted ? "edit it where it says \"To be put in\"; then: " : "next: ",
               name.failed ? out : name.p);
    str_free(&name);
}

int convert_config(const char *path, const char *out, struct err *e)
{
    struct translated t = { 0 };
    if (!is_config_name(out)) {
        return err_usage(e, "-o %s: %s is a configuration; wanted -o NAME.yaml", out, path);
    }
    int code = path_must_be_free(out, "choose another name", e);
    if (!code) code = translate_file(&t, path, e);
    if (!code) code = file_replace(out, t.text.p, t.text.n, 0666, e);
    if (!code) {
        notes_print(&t.notes);
        term_print(stderr, "written   %s (from a file of %s: %s, %zu of theirs left out)\n", out,
                   t.trainer, str_count(t.keys, "key"), t.left);
        say_next(out, t.wanted);
    }
    translated_free(&t);
    return code;
}
