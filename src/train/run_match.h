/* Whether a configuration still measures what a run kept aside, in the way it was trained. */
#ifndef LORAC_TRAIN_RUN_MATCH_H
#define LORAC_TRAIN_RUN_MATCH_H

#include "src/train/publish.h"
#include "src/train/setup.h"

/* Append a line to `notes` for each reason why a measurement of the adapter `about`, of the run in
 * c's output.dir, on s's validation examples means something else than it seems to:
 *   the validation is a fraction, and other records are kept aside now than in the run, so that
 *   some of them were trained on: another rule (before data.split_seed was a key), other keys,
 *   other data;
 *   the prompt template is another one than that of the adapter, which lies in `dir`.
 * The run's own configuration is output.dir/config.yaml; if it cannot be read, the line says so. */
int run_note_other(struct str *notes, const struct config *c, const struct setup *s,
                   const struct adapter_notes *about, const char *dir, struct err *e);

/* Append a line where examples x, of the file at `path`, are among those that the run in c's
 * output.dir was trained on (the same tokens and targets), or where that cannot be found out. */
int run_note_trained(struct str *notes, const struct config *c, const struct examples *x,
                     const char *path, const struct adapter_notes *about, struct err *e);

/* Append a line where `used` is not the template `trained` (struct adapter_notes; NULL: not known)
 * of what lies at `where`. */
int run_note_template(struct str *notes, const char *where, const char *trained,
                      const struct template *used, const struct tokenizer *tok, struct err *e);

#endif
