/* Inside src/formats/peft*.c: regular expressions of an adapter's configuration. Python's re and
 * PCRE2 agree on what such settings are made of; a match is bounded, so that no pattern hangs us. */
#ifndef LORAC_FORMATS_PEFT_MATCH_H
#define LORAC_FORMATS_PEFT_MATCH_H

#include "src/formats/peft.h"

/* Fill *p from the text (copied); `key` and `where` are for messages. */
int peft_pattern_compile(struct peft_pattern *p, const char *text, enum peft_anchor anchor,
                         const char *key, const char *where, struct err *e);
/* What a path's layer is found by where layers_pattern says nothing. */
extern const char peft_layer_default[];

/* *is = whether it matches; *group, where not NULL, the number in its first group. */
int peft_pattern_match(bool *is, int64_t *group, const struct peft_pattern *p, const char *module,
                       const char *path, struct err *e);
void peft_pattern_free(struct peft_pattern *p);

#endif
