/* Opening a data set: its files read, or the prepared file of an earlier run mapped (prepared.h). */
#ifndef LORAC_DATA_DATASET_OPEN_H
#define LORAC_DATA_DATASET_OPEN_H

#include "src/data/dataset.h"

/* Reads and tokenises all files (on all OpenMP threads; the result does not depend on how many).
 * `tok` may be NULL when every source has the format tokens.
 *
 * The split by fraction is part of what makes a run repeatable. A record's group is the first 8
 * bytes, as a little-endian number, of the SHA-256 of
 *     "lorac split 2\n", the seed (8 bytes, little-endian), and then
 *     chats:    the first user turn's text; with an input: "\n\n" and the input (whatever the
 *               template, system text, answers; a chat without a user turn: all its texts)
 *     segments: the texts before the first learnt one; where there are none: all
 *     text:     the text
 *     tokens:   the ids (4 bytes each, little-endian)
 * without the ASCII white space at both ends of those texts. Records of one group stay together, so
 * duplicates and other answers to one question fall on one side. The groups are gone through in the
 * order of their numbers, and each is kept aside unless that brings the number of validation
 * examples further from round(fraction * examples), halves up, than it is. Counted is what is left
 * of the records: what was dropped for its length, for want of a target or as a copy does not
 * count, a tree (or another item of examples.h) counts once, and each piece of a record that was
 * split counts. Threads and the order of the records are of no effect. A side without a group is an
 * error.
 *
 * Errors: the first bad record (unless skip_errors), an empty training side, a split that leaves
 * one side empty, every example dropped (the message names the setting). `notes` receives one line
 * per thing the user should know (malformed, dropped, cut, split, without targets, duplicates). On
 * failure *d is empty. */
int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e);
void dataset_close(struct dataset *d);

#endif
