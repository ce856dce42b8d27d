/* From a configuration to the things it names: model, tokenizer, examples. */
#ifndef LORAC_TRAIN_SETUP_H
#define LORAC_TRAIN_SETUP_H

#include "src/base/json.h"
#include "src/config/config.h"
#include "src/data/dataset.h"
#include "src/model/llama.h"

struct setup {
    struct llama model;
    struct tokenizer *tok; /* NULL when all data are token ids and there is none */
    struct dataset data;
    const struct template *template; /* of data.template; NULL when none is named */
    size_t max_length;
    struct str notes; /* one line each: what the user should know about the data */
};

/* Opens everything and checks it against each other (a template's special tokens, token ids against
 * the vocabulary, lengths against the model's context). */
int setup_open(struct setup *s, const struct config *c, struct err *e);
/* The same without reading weights (llama_open_headers()): for what is planned and counted. */
int setup_open_headers(struct setup *s, const struct config *c, struct err *e);
void setup_close(struct setup *s);

/* Write notes (lines) as a JSON array of texts. */
void notes_write_json(struct json_writer *w, const char *key, const struct str *notes);

/* How the records of one of the configuration's files are to be read. */
struct records_options setup_records(const struct config *c, const struct config_source *source);

/* The order in which the training examples are used. */
int setup_sampler(struct sampler *s, const struct setup *setup, const struct config *c,
                  struct err *e);

/* The kernels chosen by LORAC_ISA and LORAC_GEMM, whose frozen products multiply as `compute` says;
 * a usage error when they are not available. */
int setup_kernels(const struct kernels **k, enum compute compute, struct err *e);
/* out, which gets "bf16 by avx512bf16 (measured: ...)", for kernels whose frozen products are in
 * bf16. */
enum { COMPUTE_BYTES = 160 };
const char *setup_compute(char out[COMPUTE_BYTES], const struct kernels *k);
/* Print a line of it after the label; of f32, the default, none. */
void setup_print_compute(FILE *f, const char *label, const struct kernels *k);
/* Append a line where these products are no faster than in f32 here; `instead`: how to ask for
 * f32. */
void setup_note_slow(struct str *notes, const struct kernels *k, const char *instead);

/* The template called `name` ("model": the tokenizer's own; {...}: a definition, see
 * template_define()), to be released with template_free(). tok may be NULL only for plain. */
int setup_template(const struct template **t, const char *name, const struct tokenizer *tok,
                   struct err *e);
/* The same on the model m at `path`: for a merged model "model" is the template that lorac merge
 * noted, whether the chat template that it wrote can be read back or not. */
int setup_model_template(const struct template **t, const char *name, const struct llama *m,
                         const char *path, const struct tokenizer *tok, struct err *e);

#endif
