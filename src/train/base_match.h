/* Whether an adapter belongs on the model it is put on: the base that it was trained on is known by
 * its SHA-256 and by a fingerprint, and a merged model says which adapters it holds already. */
#ifndef LORAC_TRAIN_BASE_MATCH_H
#define LORAC_TRAIN_BASE_MATCH_H

#include "src/base/watch.h"
#include "src/train/publish.h"

/* How much of the base may be read to find that out: nothing but a fingerprint, or all. Whoever
 * answers a prompt must not wait for 13 GB; whoever merges or evaluates reads them anyway. */
enum base_effort { BASE_GLANCE, BASE_READ };

/* Append a line to `notes` where `m` is not the base that the adapter `name` was trained on, as
 * `about` says it: by the hash when it is cached or may be computed, else by the fingerprint. No
 * line where `about` knows neither, or nothing that can be compared. The watch (NULL: none)
 * sees the bytes that are hashed. */
int base_note_other(struct str *notes, const struct llama *m, const char *name,
                    const struct adapter_notes *about, enum base_effort effort,
                    const struct watch *w, struct err *e);

/* Where `about` knows its base by the hash alone, as a checkpoint does: give it the fingerprint of
 * `m` if that is the base by its cached hash, else append a line that it gets none. */
int base_add_fingerprint(struct adapter_notes *about, struct str *notes, const struct llama *m,
                         const char *name, struct err *e);

/* The adapters that a model holds merged, appended to l: from lorac.json of its directory, or from
 * the key GGUF_MERGED of its .gguf. */
int base_read_merged(struct digest_list *l, const struct llama *m, const char *path, struct err *e);

#endif
