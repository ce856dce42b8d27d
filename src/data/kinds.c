#include "src/data/kinds.h"

#include <stdio.h>
#include <string.h>

/* The message behind its place: "PATH:7 (record 3): " or "PATH:7: ". */
static const char *behind_place(const char *msg, const char *path)
{
    size_t n = strlen(path);
    if (strncmp(msg, path, n) != 0 || msg[n] != ':') return msg;
    const char *at = msg + n + 1;
    at += strspn(at, "0123456789");
    if (strncmp(at, " (record ", 9) == 0) {
        const char *end = strchr(at, ')');
        if (end) at = end + 1;
    }
    return strncmp(at, ": ", 2) == 0 ? at + 2 : at;
}

/* Numbers become N: what is left says which kind it is. */
static void reduce(char *out, size_t size, const char *text)
{
    size_t n = 0;
    while (*text && n + 2 < size) {
        size_t digits = strspn(text, "0123456789");
        out[n++] = digits ? 'N' : *text;
        text += digits ? digits : 1;
    }
    out[n] = 0;
}

void kinds_add(struct kinds *k, const struct err *why, const char *path, size_t line)
{
    char text[sizeof k->at[0].text];
    reduce(text, sizeof text, behind_place(why->msg, path));
    for (size_t i = 0; i < k->n; i++) {
        if (strcmp(k->at[i].text, text) != 0) continue;
        k->at[i].n++;
        return;
    }
    if (k->n == KINDS_MOST) {
        k->others++;
        return;
    }
    struct kind *new = &k->at[k->n++];
    *new = (struct kind){ .n = 1, .first_line = line };
    memcpy(new->text, text, sizeof text);
}

void kinds_print(struct str *out, const struct kinds *k, const char *indent)
{
    for (size_t i = 0; i < k->n; i++) {
        str_addf(out, "%s%zu x %s (first on line %zu)\n", indent, k->at[i].n, k->at[i].text,
                 k->at[i].first_line);
    }
    if (k->others) str_addf(out, "%s%zu x something else\n", indent, k->others);
}
