#include "src/config/complaints.h"

#include <string.h>

#include "src/base/mem.h"

int complaints_add(struct complaints *a, size_t line, struct err *e)
{
    if (e->code != ERR_USAGE) return e->code;
    size_t i = a->kept;
    while (i && a->at[i - 1].line > line) i--;
    if (i < COMPLAINTS_KEPT) {
        struct complaint added = { line, mem_strdup(e->msg, e) };
        if (!added.text) return e->code;
        if (a->kept == COMPLAINTS_KEPT) mem_free(a->at[--a->kept].text);
        memmove(&a->at[i + 1], &a->at[i], (a->kept - i) * sizeof a->at[0]);
        a->at[i] = added;
        a->kept++;
    }
    return e->code = ++a->n < COMPLAINTS_MOST ? 0 : ERR_USAGE;
}

int complaints_error(const struct complaints *a, struct err *e)
{
    if (!a->n) return 0;
    if (a->n == 1) return err_usage(e, "%s", a->at[0].text);
    return err_usage(e, "%s (the first of %zu%s errors)", a->at[0].text, a->n,
                     a->n < COMPLAINTS_MOST ? "" : " or more");
}

void complaints_free(struct complaints *a)
{
    for (size_t i = 0; i < a->kept; i++) mem_free(a->at[i].text);
    a->kept = a->n = 0;
}
