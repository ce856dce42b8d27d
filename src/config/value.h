/* The values of keys: reading, printing, releasing one field of struct config by its row. */
#ifndef LORAC_CONFIG_VALUE_H
#define LORAC_CONFIG_VALUE_H

#include "src/config/keys.h"
#include "src/config/yaml.h"

/* Read v into the key's field, whose earlier value is released first. On failure the message says
 * what was found and what was wanted, and *line says where: v's line, or the line of an item in v.
 * The caller adds the file and the key. */
int value_read(struct config *c, const struct key *k, const struct yaml_node *v, size_t *line,
               struct err *e);

/* The same for a caller that wants every fault of a list: tell() gets each with its line, and
 * returns 0 to go on. *wrong: there was one. Returns what tell() returned, or an error that is not
 * the user's. */
typedef int value_tell(void *to, const struct key *k, size_t line, struct err *e);
int value_read_all(struct config *c, const struct key *k, const struct yaml_node *v, bool *wrong,
                   value_tell *tell, void *to, struct err *e);

/* Set the key's default. A key that must be given has none. */
int value_default(struct config *c, const struct key *k, struct err *e);

/* Append the value as it is written after "key:", with the space or line end before it. */
void value_print(struct str *out, const struct key *k, const struct config *c);

/* Append what the key accepts: "an integer in [1, 4096]". */
void value_add_wanted(struct str *out, const struct key *k);

void value_free(struct config *c, const struct key *k);

#endif
