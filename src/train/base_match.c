#include "src/train/base_match.h"

#include <string.h>

#include "src/base/fingerprint.h"
#include "src/base/hashcache.h"
#include "src/base/mem.h"

/* The model's one digest, "" where it is not known and may not be computed. */
static int digest_of(char hex[SHA256_HEX], const struct llama *m, enum base_effort effort,
                     const struct watch *w, struct err *e)
{
    char(*digests)[SHA256_HEX] = mem_alloc(m->n_files, sizeof *digests, e);
    int code = digests ? 0 : e->code;
    bool known = !code;
    *hex = 0;
    for (size_t i = 0; known && i < m->n_files; i++) known = hash_cached(digests[i], m->files[i]);
    if (!code && !known && effort == BASE_READ) {
        code = hash_files(digests, m->files, m->n_files, w, e);
        known = !code;
    }
    if (known) code = base_digest(hex, m->files, digests, m->n_files, e);
    mem_free(digests);
    return code;
}

int base_note_other(struct str *notes, const struct llama *m, const char *name,
                    const struct adapter_notes *about, enum base_effort effort,
                    const struct watch *w, struct err *e)
{
    char hex[SHA256_HEX] = "";
    const char *wanted = about->base_sha256;
    int code = wanted && *wanted ? digest_of(hex, m, effort, w, e) : 0;
    if (!code && !*hex && about->base_fingerprint) {
        wanted = about->base_fingerprint;
        code = fingerprint_files(hex, m->files, m->n_files, e);
    }
    if (code || !*hex || strcmp(hex, wanted) == 0) return code;
    str_addf(notes,
             "%s: was trained on another file than this model%s%s; it works on the same weights in "
             "another form, but answers wrongly on others\n",
             name, about->base_path ? ", " : "",
             about->base_path ? err_quotez(about->base_path) : "");
    return str_error(notes, e);
}

int base_add_fingerprint(struct adapter_notes *about, struct str *notes, const struct llama *m,
                         const char *name, struct err *e)
{
    char hex[SHA256_HEX] = "";
    const char *wanted = about->base_sha256;
    if (!wanted || !*wanted || about->base_fingerprint) return 0;
    int code = m ? digest_of(hex, m, BASE_GLANCE, NULL, e) : 0;
    if (!code && strcmp(hex, wanted) == 0) {
        code = fingerprint_files(hex, m->files, m->n_files, e);
        if (!code && !(about->base_fingerprint = mem_strdup(hex, e))) code = e->code;
        return code;
    }
    if (code || *hex) return code; /* another base is noted by base_note_other() */
    str_addf(notes,
             "%s: does not have its base's fingerprint, and %s: what is written has none either, "
             "and generate will not see whether it is used on another base\n",
             name,
             m ? "the hash of this model is not known yet (lorac eval computes it)"
               : "the model's weights are not here");
    return str_error(notes, e);
}

int base_read_merged(struct digest_list *l, const struct llama *m, const char *path, struct err *e)
{
    struct adapter_notes notes;
    int code = merged_notes_of(&notes, m, path, e);
    if (code) return code;
    for (size_t i = 0; !code && i < notes.merged.n; i++)
        code = digest_list_add(l, notes.merged.at[i], e);
    adapter_notes_free(&notes);
    return code;
}
