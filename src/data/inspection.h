/* Checks the records of files before training: it finds malformed records, and sound ones that are
 * unlikely to be intended. It gives counts and line numbers, never the text. */
#ifndef LORAC_DATA_INSPECTION_H
#define LORAC_DATA_INSPECTION_H

#include "src/data/records.h"
#include "src/data/remarks.h"

/* The findings in a record: id, key in the JSON, name. Each counts records. */
#define INSPECT_FINDINGS(F)                                                                        \
    F(EMPTY_ANSWER, "empty_answers", "empty answers")                                              \
    F(SAME_ANSWER, "identical_answers", "answers that were given before")                          \
    F(MARKS, "template_marks", "texts that spell a template's marks ([INST], <|im_end|>, </s>)")   \
    F(REPLACED, "replacement_characters", "texts with U+FFFD, which a wrong conversion leaves")    \
    F(CONTROL, "control_characters", "texts with control characters")                              \
    F(KEY, "private_keys", "private keys")                                                         \
    F(ACCESS, "access_tokens", "access tokens of well-known services")                             \
    F(EMAIL, "email_addresses", "e-mail addresses")

#define INSPECT_ENUM(id, key, name) FOUND_##id,
enum found { INSPECT_FINDINGS(INSPECT_ENUM) FOUND_KINDS };

enum { FINDING_LINES = 12, MALFORMED_SHOWN = 20 };

struct finding {
    size_t n;
    size_t lines[FINDING_LINES]; /* of the first ones */
};

/* The findings of one file. */
struct inspection {
    enum data_format format;
    size_t records, bad;
    size_t messages;                       /* turns of all records; texts and tokens count as one */
    size_t faults[FAULTS];                 /* the malformed by kind */
    struct err malformed[MALFORMED_SHOWN]; /* the first ones */
    struct finding found[FOUND_KINDS];
    struct remarks remarks; /* columns that were not used, and similar remarks */
    size_t most_identical;  /* how often the most frequent answer occurs */
};

/* The name of a finding ("empty answers"), and its key. */
const char *finding_name(enum found f);
const char *finding_key(enum found f);

/* Read the file on all threads; the result does not depend on how many. It is an error only when
 * the file cannot be read as records at all. */
int inspect(struct inspection *out, const char *path, const struct records_options *o,
            struct err *e);

#endif
