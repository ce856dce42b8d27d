/* The findings of inspect and doctor: rows of a table for people, the same rows as one JSON object
 * for programs, and checks with a verdict each. */
#ifndef LORAC_COMMANDS_FACTS_H
#define LORAC_COMMANDS_FACTS_H

#include "src/base/json.h"

/* NOTE: it works, but not as well as it could; PROBLEM: it does not work, or is not as it should
 * be. */
enum verdict { VERDICT_OK, VERDICT_NOTE, VERDICT_PROBLEM };

struct facts {
    struct json_members root; /* "checks" is a list of {name, status, value, remedy} */
    struct str people;
    size_t problems;
};

void facts_init(struct facts *f);
void facts_free(struct facts *f);

/* Add a row. It takes `value` over, even when it fails. The text for people is fmt, or the value
 * itself where that is NULL. Underscores of the key are shown as spaces. */
void facts_add(struct facts *f, const char *key, json_t *value, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a text; NULL adds nothing. */
void facts_text(struct facts *f, const char *key, const char *text);
/* The same for a count. */
void facts_count(struct facts *f, const char *key, uint64_t n);

/* Add a check: what was checked, what was found, and what to do about it (NULL: nothing). */
void facts_check(struct facts *f, enum verdict v, const char *name, const char *remedy,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Append the checks of `from`, which has no rows. */
void facts_append(struct facts *f, const struct facts *from);

/* Print everything to stdout. */
int facts_print(const struct facts *f, bool as_json, struct err *e);

#endif
