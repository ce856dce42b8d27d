/* The parts of lorac eval: it measures (eval_measure.c), prints the numbers (eval_print.c) and
 * shows wrong answers (eval_show.c). */
#ifndef LORAC_COMMANDS_EVAL_H
#define LORAC_COMMANDS_EVAL_H

#include "src/base/json.h"
#include "src/data/dataset.h"
#include "src/session/session.h"
#include "src/train/evaluate.h"

/* What is measured, on which records. */
struct exam {
    const struct session *session; /* the model, perhaps with an adapter */
    const struct examples *examples;
    const struct origins *origins;
    const char *const *paths; /* of the sources that origins number */
};

struct exam_result {
    struct evaluation own, base; /* of the model with its adapter; of the base alone */
    bool compared;               /* base is filled in */
    uint32_t *missed; /* (examples) its first wrong token, 0: it is right; NULL: unknown */
};

/* Evaluate, with `compare` also without the adapter (if there is one), with `list` filling in
 * `missed`. A loss that is not finite is an error. exam_result_free() after failure too. */
int exam_measure(struct exam_result *out, const struct exam *x, bool compare, bool list,
                 struct err *e);
void exam_result_free(struct exam_result *r);

/* To stdout, in a table that fits a terminal of 40 columns. */
void exam_print(const struct exam_result *r);
/* Members of the object that is open in w. */
void exam_write_json(struct json_writer *w, const struct exam_result *r);

/* The first `most` examples that are not right, in the order of the records: the question, the
 * right answer, and the greedy answer. To stdout, or where w is not NULL as the member
 * "wrong_answers" of the object that is open there. They hold text of the records. */
int exam_show(const struct exam *x, const struct exam_result *r, size_t most, struct json_writer *w,
              struct err *e);

#endif
