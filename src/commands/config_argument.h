/* The configuration that a command line names: read, and everything that is wrong with it shown. */
#ifndef LORAC_COMMANDS_CONFIG_ARGUMENT_H
#define LORAC_COMMANDS_CONFIG_ARGUMENT_H

#include "src/config/config.h"

/* config_load() for a command. A single fault is the message. Of more, each is printed on stderr as
 * main() prints a message, in the order of the file, and the message is how many they are, with the
 * command that translates the file when its keys are another trainer's. */
int config_argument(struct config *c, const char *path, char *const *overrides, size_t n,
                    struct err *e);

#endif
