#include "src/train/publish.h"

#include <math.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/model/notices.h"

/* ---- lorac.json ------------------------------------------------------------------------------- */

static void add_text(struct str *s, const char *key, const char *value)
{
    str_addf(s, "  \"%s\": ", key);
    if (value) {
        json_add_string(s, value, strlen(value));
    } else {
        str_addz(s, "null");
    }
    str_addz(s, ",\n");
}

static int write_notes(const struct adapter_notes *n, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 };
    str_addz(&s, "{\n");
    add_text(&s, "template", n->template);
    add_text(&s, "train_on", n->train_on);
    add_text(&s, "base_model", n->base_path ? path_base(n->base_path) : NULL);
    add_text(&s, "base_sha256", n->base_sha256);
    add_text(&s, "data_sha256", n->data_sha256);
    str_addf(&s, "  \"step\": %llu,\n  \"eval_loss\": ", (unsigned long long)n->step);
    json_add_double(&s, n->eval_loss);
    str_addz(&s, ",\n  \"lorac_version\": \"" LORAC_VERSION "\"\n}\n");
    int code = str_error(&s, e);
    if (!code) code = path_join(path, dir, "lorac.json", e);
    if (!code) code = file_replace(path, s.p, s.n, 0666, e);
    str_free(&s);
    return code;
}

int merged_notes_write(const struct adapter_notes *n, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 };
    str_addz(&s, "{\n");
    add_text(&s, "template", n->template);
    add_text(&s, "train_on", n->train_on);
    add_text(&s, "base_model", n->base_path ? path_base(n->base_path) : NULL);
    str_addz(&s, "  \"merged\": true,\n  \"lorac_version\": \"" LORAC_VERSION "\"\n}\n");
    int code = str_error(&s, e);
    if (!code) code = path_join(path, dir, "lorac.json", e);
    if (!code) code = file_replace(path, s.p, s.n, 0666, e);
    str_free(&s);
    return code;
}

static int copy_string(char **to, const json_t *o, const char *key, const char *where,
                       struct err *e)
{
    const char *text = NULL;
    int code = json_get_string(&text, o, key, where, e);
    if (code || !text) return code;
    *to = mem_strdup(text, e);
    return *to ? 0 : e->code;
}

int adapter_notes_read(struct adapter_notes *n, const char *dir, struct err *e)
{
    enum { NOTES_BYTES = 1 << 20 };
    char path[PATH_BYTES];
    *n = (struct adapter_notes){ .eval_loss = NAN };
    int code = path_join(path, dir, "lorac.json", e);
    if (code || !file_exists(path)) return code;
    json_t *o = json_read(path, NOTES_BYTES, e);
    if (!o) return e->code;
    if (!json_is_object(o)) {
        code = err_set(e, "%s: found %s, wanted an object", path, json_kind(o));
    }
    if (!code) code = copy_string(&n->template, o, "template", path, e);
    if (!code) code = copy_string(&n->train_on, o, "train_on", path, e);
    if (!code) code = copy_string(&n->base_path, o, "base_model", path, e);
    if (!code) code = copy_string(&n->base_sha256, o, "base_sha256", path, e);
    if (!code) code = copy_string(&n->data_sha256, o, "data_sha256", path, e);
    json_decref(o);
    if (code) adapter_notes_free(n);
    return code;
}

int merged_notes_of(struct adapter_notes *n, const struct llama *m, const char *path, struct err *e)
{
    const struct gguf *g = llama_gguf(m);
    const char *text = NULL;
    size_t length = 0;
    *n = (struct adapter_notes){ .eval_loss = NAN };
    if (!g) return dir_exists(path) ? adapter_notes_read(n, path, e) : 0;
    int code = gguf_get_string(&text, &length, g, "lorac.template", false, e);
    if (code || !text) return code;
    n->template = mem_strndup(text, length, e);
    return n->template ? 0 : e->code;
}

void adapter_notes_free(struct adapter_notes *n)
{
    mem_free(n->template);
    mem_free(n->train_on);
    mem_free(n->base_sha256);
    mem_free(n->base_path);
    mem_free(n->data_sha256);
    *n = (struct adapter_notes){ .eval_loss = NAN };
}

int base_digest(char out[65], char *const *files, char (*digests)[65], size_t n, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    struct str lines = { 0 };
    if (n == 1) {
        memcpy(out, digests[0], SHA256_HEX);
        return 0;
    }
    for (size_t i = 0; i < n; i++) str_addf(&lines, "%s  %s\n", digests[i], path_base(files[i]));
    int code = str_error(&lines, e);
    if (!code) code = sha256_of(digest, lines.p, lines.n, e);
    if (!code) hex_of(out, digest);
    str_free(&lines);
    return code;
}

/* ---- the model card --------------------------------------------------------------------------- */

static int write_card(const struct adapter *a, const struct adapter_notes *n, const char *dir,
                      struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 };
    const char *base = n->base_path ? path_base(n->base_path) : "unknown";
    str_addf(&s, "---\nbase_model: %s\nlibrary_name: peft\ntags:\n- lora\n- lorac\n---\n\n", base);
    str_addf(&s, "# A LoRA adapter for %s\n\n", base);
    str_addf(&s, "Trained with lorac " LORAC_VERSION " on token loss (%s), %llu steps",
             n->train_on ? n->train_on : "unknown targets", (unsigned long long)n->step);
    if (isfinite(n->eval_loss)) str_addf(&s, ", validation loss %.4f", n->eval_loss);
    str_addf(&s, ".\n\n| | |\n| --- | --- |\n| rank | %zu |\n| alpha | %g |\n| modules |", a->r,
             a->lora_alpha);
    for (int m = 0; m < MODULES; m++)
        if (adapter_has(a, (enum module)m)) str_addf(&s, " %s", module_table[m].name);
    str_addf(&s, " |\n| prompt template | %s |\n",
             !n->template          ? "none"
             : *n->template == '{' ? "its own, in lorac.json"
                                   : n->template);
    if (n->base_sha256) str_addf(&s, "| base, SHA-256 | `%s` |\n", n->base_sha256);
    if (n->data_sha256) str_addf(&s, "| data, SHA-256 | `%s` |\n", n->data_sha256);
    str_addz(&s, "\nThe files are PEFT's: `PeftModel.from_pretrained(base, this directory)`. "
                 "lorac.json holds the prompt\ntemplate that inference has to use.\n\n"
                 "An adapter is a derivative of its base and falls under the base's licence; the "
                 "licence files that lay\nbeside the base have been copied here. For Llama 2: a "
                 "copy of the agreement and its notice go with\nevery copy, and outputs may not be "
                 "used to improve other large language models.\n");
    int code = str_error(&s, e);
    if (!code) code = path_join(path, dir, "README.md", e);
    if (!code) code = file_replace(path, s.p, s.n, 0666, e);
    str_free(&s);
    return code;
}

int publish_adapter_in(const struct adapter *a, double dropout, const struct adapter_notes *notes,
                       const char *dir, struct err *e)
{
    int code = write_notes(notes, dir, e);
    if (!code) code = write_card(a, notes, dir, e);
    if (!code && notes->base_path) code = notices_copy(notes->base_path, dir, false, e);
    if (!code) code = adapter_save(a, dir, notes->base_path, dropout, e);
    return code;
}

int publish_adapter(const struct adapter *a, double dropout, const struct adapter_notes *notes,
                    const struct rundir *dir, const char *name, struct err *e)
{
    char tmp[PATH_BYTES];
    int code = rundir_replace_begin(tmp, dir, name, e);
    if (code) return code;
    code = publish_adapter_in(a, dropout, notes, tmp, e);
    if (!code) code = rundir_replace_commit(tmp, dir, name, e);
    if (code) rundir_replace_abort(tmp);
    return code;
}
