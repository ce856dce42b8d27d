#include "src/commands/convert_config.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/term.h"
#include "src/translate/translate.h"

bool is_config_name(const char *path)
{
    size_t n = strlen(path);
    return (n > 5 && !strcmp(path + n - 5, ".yaml")) || (n > 4 && !strcmp(path + n - 4, ".yml"));
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
        if (t.wanted) {
            term_print(stderr, "edit it where it says \"To be put in\"; then: lorac plan %s\n",
                       out);
        } else {
            term_print(stderr, "next: lorac plan %s\n", out);
        }
    }
    translated_free(&t);
    return code;
}
