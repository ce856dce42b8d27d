/* Regular expressions of an adapter's configuration. Python's re and PCRE2 agree on the syntax that
 * such settings use; a match is bounded, so no pattern can hang lorac. */
#ifndef LORAC_FORMATS_PEFT_MATCH_H
#define LORAC_FORMATS_PEFT_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/err.h"

/* Where in a text a pattern must match. */
enum peft_anchor {
    PEFT_WHOLE, /* re.fullmatch(KEY): target_modules, exclude_modules */
    PEFT_TAIL,  /* (.*\.)?(KEY)$: rank_pattern, alpha_pattern */
    PEFT_PATH,  /* (^|.*\.)KEY($|\..*): modules_to_save */
    PEFT_LAYER, /* (?:^|.*?\.)KEY\.(\d+)\.: layers_pattern; its group is the layer's number */
};

/* A regular expression of the configuration: a row of rank_pattern or alpha_pattern in file order,
 * or one that chooses modules. */
struct peft_pattern {
    const char *key; /* its text, as the file has it */
    double value;    /* of rank_pattern and alpha_pattern */
    void *regex;
    enum peft_anchor anchor;
    bool used; /* peft_open(): it matches a module that the file has tensors for */
};

/* Fill *p from the text (copied); `key` and `where` are for messages. */
int peft_pattern_compile(struct peft_pattern *p, const char *text, enum peft_anchor anchor,
                         const char *key, const char *where, struct err *e);

/* *is = whether it matches; *group, unless NULL, = the number in its first group. */
int peft_pattern_match(bool *is, int64_t *group, const struct peft_pattern *p, const char *module,
                       const char *path, struct err *e);
void peft_pattern_free(struct peft_pattern *p);

#endif
