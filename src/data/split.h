/* Which examples are kept aside when data.validation is a fraction. Part of dataset_open.c, whose header
 * says what the rule promises. */
#ifndef LORAC_DATA_SPLIT_H
#define LORAC_DATA_SPLIT_H

#include <stdint.h>

#include "src/data/conversation.h"

/* One sound record: its group, and what is counted for the side it comes to. Counts beyond 2^32 - 1
 * stay there. */
struct split_record {
    uint64_t group;           /* records with the same number stay together */
    uint32_t line;            /* on which it begins */
    uint32_t examples, items; /* that it gave; of a tree all examples are one item */
    uint32_t length;          /* struct fit_result */
    uint32_t lost, targets_lost;
    uint32_t copied, removed; /* struct data_counts: duplicates, removed */
    bool chosen, truncated, split, without_targets;
    bool validation; /* set by split_choose() */
};

/* In the order of the files. Zero-initialised it is empty. */
struct split_records {
    struct split_record *at;
    size_t n, cap;
};
int split_add(struct split_records *r, const struct split_record *record, struct err *e);
void split_free(struct split_records *r);

/* The group of a record: dataset_open.h says of what it is the hash. */
int split_group(uint64_t *group, const struct conversation *c, uint64_t seed, struct err *e);

/* What came of it. All counts are items. */
struct split_choice {
    size_t items, wanted, validation; /* all; round(fraction x all); those kept aside */
    size_t groups, largest;           /* groups with an item; items of the largest one */
    size_t largest_first;             /* number of that one's first record */
};

/* Set `validation` of every record; groups without an item are not kept aside. In memory: 8 bytes a
 * record. The only error is of memory: what leaves a side empty is the caller's to refuse. */
int split_choose(struct split_choice *c, struct split_records *r, double fraction, struct err *e);

#endif
