#include "src/commands/config_argument.h"

#include <stdio.h>
#include <string.h>

#include "src/base/term.h"
#include "src/translate/translate.h"

static int show_all(const struct complaints *all, const char *path, struct err *e)
{
    const char *trainer = trainer_of_file(path), *more = all->n < COMPLAINTS_MOST ? "" : " or more";
    char shown[64] = "";
    for (size_t i = 0; i < all->kept; i++)
        term_line(stderr, strlen("lorac: "), "lorac: %s", all->at[i].text);
    if (all->n > all->kept) snprintf(shown, sizeof shown, ", of which %zu are shown", all->kept);
    struct str name = { 0 };
    str_add_shell(&name, path);
    err_usage(e, "%s: %zu%s errors%s", path, all->n, more, shown);
    if (trainer) {
        err_append(e, "it is written for %s: lorac convert %s -o OURS.yaml translates it", trainer,
                   name.failed ? path : name.p);
    }
    str_free(&name);
    return e->code;
}

int config_argument(struct config *c, const char *path, char *const *overrides, size_t n,
                    struct err *e)
{
    struct complaints all = { 0 };
    int code = config_load_all(c, path, overrides, n, &all, e);
    if (code == ERR_USAGE && all.n > 1) code = show_all(&all, path, e);
    complaints_free(&all);
    return code;
}
