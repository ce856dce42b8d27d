/* The values of keys: reading, printing, releasing one field of struct config by its row. */
#ifndef LORAC_CONFIG_VALUE_H
#define LORAC_CONFIG_VALUE_H

#include "src/config/keys.h"
#include "src/config/yaml.h"

/* Read v into the key's field, whose earlier value is released first. On failure the message says
 * what was found and what was wanted, and *line where (v's line, or that of an item in it); the
 * caller puts file and key in front. */
int value_read(struct config *c, const struct key *k, const struct yaml_node *v, size_t *line,
               struct err *e);

/* Set the key's default, which every key but those that must be given has. */
int value_default(struct config *c, const struct key *k, struct err *e);

/* Append the value as it stands behind "key:", a space or a line end in front included. */
void value_print(struct str *out, const struct key *k, const struct config *c);

/* Append what the key accepts: "an integer in [1, 4096]". */
void value_add_wanted(struct str *out, const struct key *k);

void value_free(struct config *c, const struct key *k);

#endif
