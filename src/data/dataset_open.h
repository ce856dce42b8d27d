/* Opening a data set: its files are read, or the prepared file of an earlier run is mapped
 * (prepared.h). */
#ifndef LORAC_DATA_DATASET_OPEN_H
#define LORAC_DATA_DATASET_OPEN_H

#include "src/data/dataset.h"

/* Reads and tokenises all files (on all OpenMP threads; the result does not depend on how many).
 * `tok` may be NULL when every source has the format tokens.
 *
 * The split by fraction is part of what makes a run repeatable. A record's group is the first 8
 * bytes, as a little-endian number, of the SHA-256 of
 *     "lorac split 2\n", the seed (8 bytes, little-endian), and then
 *     chats:    the first user turn's text; with an input: "\n\n" and the input (the template,
 *               system text and answers do not matter; a chat without a user turn: all its texts)
 *     segments: the texts before the first learnt one; where there are none: all
 *     text:     the text
 *     tokens:   the ids (4 bytes each, little-endian)
 * without the ASCII white space at both ends of those texts. Records of one group stay together, so
 * duplicates and different answers to one question come to the same side. The groups are visited in
 * the order of their numbers, and each is kept aside unless that moves the number of validation
 * examples further away from round(fraction * examples), halves up. The examples that remain are
 * counted: those dropped for their length, as copies or because they have no target do not count, a
 * tree (or another item of examples.h) counts once, and each piece of a split record counts.
 * Threads and the order of the records have no effect. A side without a group is an error.
 *
 * Errors: the first bad record (unless skip_errors), an empty training side, a split that leaves
 * one side empty, every example dropped (the message names the setting). `notes` receives one line
 * per thing the user should know (malformed, dropped, cut, split, without targets, duplicates). On
 * failure *d is empty. */
int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e);
void dataset_close(struct dataset *d);

#endif
