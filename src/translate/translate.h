/* Training files of other trainers, translated into a configuration of lorac.
 *
 * A trainer is recognised by the keys of its file. Its table says what each key becomes; keys that
 * are called the same everywhere come from src/config/synonyms.def. Whatever is left out is said,
 * and so is what the trainer does by default where lorac's default is another one. A file that
 * trains something else than a LoRA adapter on answers or texts (all weights, preferences) is
 * refused. */
#ifndef LORAC_TRANSLATE_TRANSLATE_H
#define LORAC_TRANSLATE_TRANSLATE_H

#include "src/base/err.h"
#include "src/base/str.h"

/* The trainers' names, for messages. */
#define TRAINER_NAMES "axolotl, LLaMA-Factory, mlx-lm, torchtune or TRL"

/* The trainer for which the file at `path` is written, such as "axolotl"; NULL if none is
 * recognised or the file cannot be read. */
const char *trainer_of_file(const char *path);

struct translated {
    const char *trainer;
    struct str text;   /* the configuration: it reads, and config_load() finds no fault in it */
    struct str notes;  /* a line for each thing that was left out or has to be put in */
    size_t keys, left; /* how many keys of ours are given, how many things were left out */
    bool wanted;       /* whether something has to be put in, as notes and text say */
};

/* Translate the file at `path`. The result is freed with translated_free() in any case. */
int translate_file(struct translated *out, const char *path, struct err *e);
void translated_free(struct translated *out);

#endif
