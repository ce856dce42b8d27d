/* The readers' remarks, counted over the records of one file and reported in notes: columns that
 * were not used, numbers read as text or as an index, columns that were joined, empty answers.
 *
 * The table has a limited size: names beyond REMARKS_MOST are counted together. It depends only on
 * the records and their order. */
#ifndef LORAC_DATA_REMARKS_H
#define LORAC_DATA_REMARKS_H

#include "src/base/json.h"
#include "src/data/conversation.h"

enum { REMARKS_MOST = 64, REMARK_NAME_BYTES = 64 };

struct remarks {
    struct remark_row {
        enum remark kind;
        char name[REMARK_NAME_BYTES]; /* cut when longer */
        size_t records;
    } row[REMARKS_MOST];
    size_t n;
    size_t others;  /* remarks on names for which there was no place */
    size_t records; /* that were read */
};

/* Count a record with the remarks of its conversation (conversation.remarks). */
void remarks_take(struct remarks *r, const struct str *of_record);
/* Append a line for each remark that the user should know; each begins with `file` and ": ". */
void remarks_say(struct str *notes, const struct remarks *r, const char *file);
/* Write the unused columns as a JSON object: {"source": 12, ...}. */
void remarks_write_unused(struct json_writer *w, const char *key, const struct remarks *r);

#endif
