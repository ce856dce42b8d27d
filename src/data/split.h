/* Decides which examples are kept aside when data.validation is a fraction. Part of dataset_open.c,
 * whose header has the rule. */
#ifndef LORAC_DATA_SPLIT_H
#define LORAC_DATA_SPLIT_H

#include <stdint.h>

#include "src/data/conversation.h"

/* One sound record: its group, and its counts for the side that it comes to. Larger counts are
 * stored as UINT32_MAX. */
struct split_record {
    uint64_t group;           /* records with the same number stay together */
    uint32_t line;            /* the line on which it begins */
    uint32_t examples, items; /* given by the record; all examples of a tree are one item */
    uint32_t length;          /* struct fit_result */
    uint32_t lost, targets_lost;
    uint32_t copied, removed; /* struct data_counts: duplicates, removed */
    bool chosen, truncated, split, without_targets;
    bool validation; /* set by split_choose() */
};

/* The records in the order of the files. Empty when zero-initialised. */
struct split_records {
    struct split_record *at;
    size_t n, cap;
};
int split_add(struct split_records *r, const struct split_record *record, struct err *e);
void split_free(struct split_records *r);

/* The group of a record: dataset_open.h says what is hashed. */
int split_group(uint64_t *group, const struct conversation *c, uint64_t seed, struct err *e);

/* The result of the split. All counts are items. */
struct split_choice {
    size_t items, wanted, validation; /* all items; round(fraction x all); the items kept aside */
    size_t groups, largest;           /* groups with an item; items of the largest one */
    size_t largest_first;             /* number of the first record in the largest group */
};

/* Set `validation` of every record; groups without an item are not kept aside. It takes 8 bytes of
 * memory per record. The only error is lack of memory: the caller refuses a split that leaves a
 * side empty. */
int split_choose(struct split_choice *c, struct split_records *r, double fraction, struct err *e);

#endif
