/* Adapter directories as a run leaves them: PEFT's two files, lorac.json (how the adapter was
 * trained: template, targets, base), a model card, and the base's licence files. */
#ifndef LORAC_TRAIN_PUBLISH_H
#define LORAC_TRAIN_PUBLISH_H

#include "src/base/hash.h"
#include "src/model/adapter.h"
#include "src/train/rundir.h"

/* Digests of adapters, see adapter_digest(). */
struct digest_list {
    char (*at)[SHA256_HEX];
    size_t n;
};
int digest_list_add(struct digest_list *l, const char *hex, struct err *e);
bool digest_list_has(const struct digest_list *l, const char *hex);
void digest_list_free(struct digest_list *l);

/* Metadata of GGUF files that lorac writes, as in lorac.json: of a model what was merged into it
 * (an array of digests) and the prompt template; of an adapter two strings about its base. */
#define GGUF_MERGED           "lorac.adapter_sha256"
#define GGUF_TEMPLATE         "lorac.template"
#define GGUF_BASE_SHA256      "lorac.base_sha256"
#define GGUF_BASE_FINGERPRINT "lorac.base_fingerprint"

/* What lorac.json says; strings NULL where unknown. It lies in an adapter's directory, and in a
 * merged model's, where it says what was merged. */
struct adapter_notes {
    char *template; /* its name in the table, never "model"; or its definition */
    char *train_on;
    char *compute;     /* the word of train.compute; NULL also where it was f32 and no key yet */
    char *base_sha256; /* of the base's files, see base_digest() */
    char *base_fingerprint; /* of the same, see base/fingerprint.h */
    char *base_path;
    char *data_sha256;
    uint64_t step;
    double eval_loss;          /* NaN: none */
    struct digest_list merged; /* of a merged model: the adapters in it */
};

/* Write adapter and notes into a directory that exists. */
int publish_adapter_in(const struct adapter *a, double dropout, const struct adapter_notes *notes,
                       const char *dir, struct err *e);

/* Write DIR/lorac.json for a merged model: the adapter's template, what it was trained on, base. */
int merged_notes_write(const struct adapter_notes *notes, const char *dir, struct err *e);

/* What lorac merge noted of a model: in lorac.json beside it, or in its GGUF file. Everything NULL
 * when it noted nothing. */
int merged_notes_of(struct adapter_notes *notes, const struct llama *m, const char *path,
                    struct err *e);

/* Read DIR/lorac.json, of an adapter or of a merged model; everything NULL when there is none.
 * Strings are freed by adapter_notes_free(). */
int adapter_notes_read(struct adapter_notes *notes, const char *dir, struct err *e);
void adapter_notes_free(struct adapter_notes *notes);
/* Write DIR/lorac.json. */
int adapter_notes_write(const struct adapter_notes *notes, const char *dir, struct err *e);

/* One digest for a base of several files: of one file, its own; of several, the SHA-256 of the
 * lines "DIGEST  NAME\n" in the order of the files. */
int base_digest(char out[65], char *const *files, char (*digests)[65], size_t n, struct err *e);

#endif
