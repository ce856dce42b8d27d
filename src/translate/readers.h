/* Readers of keys that several trainers have (struct row). `ours` is the key of lorac that is set,
 * unless something else is said. */
#ifndef LORAC_TRANSLATE_READERS_H
#define LORAC_TRANSLATE_READERS_H

#include "src/translate/translation.h"

#define READER(name)                                                                               \
    int name(struct translation *t, const struct row *r, const struct theirs *g, struct err *e)
READER(read_copy);       /* the same value under our name */
READER(read_positive);   /* the same, where 0 and below mean that nothing is set */
READER(read_factor);     /* a factor of train.batch_size */
READER(read_known);      /* nothing to do for one of the words in `ours`; others are left out */
READER(read_only);       /* the same, but another value ends the translation */
READER(read_left_out);   /* left out; `ours` says why */
READER(read_model);      /* the model: a path, or a name on the hub */
READER(read_path);       /* a path, with ${...} in it resolved */
READER(read_local);      /* a path; a name on the hub is left out */
READER(read_modules);    /* a list of modules, or a word for all of them */
READER(read_all_linear); /* true: all of them */
READER(read_schedule);   /* words of learning-rate schedules */
READER(read_warmup);     /* steps, or below 1 a part of all steps */
READER(read_overlong);   /* words for what happens to long records */
READER(read_held_out);   /* a fraction for validation; 1 and more is a number of records */
READER(read_betas);      /* [beta1, beta2]; `ours` is not read */
READER(read_template);   /* the name of a template */
READER(read_if_true);    /* `ours` is "KEY=VALUE", which is set when the value is true */
READER(read_if_false);   /* the same when it is false */
READER(read_optimizer);  /* names of AdamW; `ours` has further ones, separated by spaces */

/* Rows of those that build on transformers' TrainingArguments, with its defaults. */
#define TRAINING_ARGUMENTS                                                                         \
    { "num_train_epochs", read_copy, "train.num_epochs", "3" },                                    \
        { "max_steps", read_positive, "train.max_steps", NULL },                                   \
        { "lr_scheduler_type", read_schedule, "train.lr_scheduler_type", "linear" },               \
        { "warmup_ratio", read_copy, "train.warmup_ratio", "0.0" },                                \
        { "warmup_steps", read_warmup, "train.warmup_steps", NULL },                               \
        { "optim", read_optimizer, "", NULL }, { "seed", read_copy, "train.seed", "42" },          \
        { "eval_strategy", read_known, "steps epoch; data.validation says whether there is any",   \
          NULL },                                                                                  \
        { "save_strategy", read_known, "steps epoch; a checkpoint is always written", NULL },      \
        { "save_steps", read_copy, "train.save_steps", "500" },                                    \
    {                                                                                              \
        "output_dir", read_path, "output.dir", NULL                                                \
    }

/* The first of our words for one of theirs; NULL when there is none. A NULL pair ends the list. */
struct word_pair {
    const char *theirs, *ours;
};
const char *word_of(const struct word_pair *pairs, const char *word);

/* `text` with each ${name} of torchtune replaced by the value of that name in the file. False when
 * there is none. */
bool expand_names(struct str *out, const struct translation *t, const char *text);

#endif
