#include "src/train/publish.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/config/scalar.h"
#include "src/model/notices.h"

/* ---- lorac.json ------------------------------------------------------------------------------ */

static void write_merged(struct json_writer *w, const struct digest_list *l)
{
    if (!l->n) return;
    json_write_array(w, "merged_adapters", JSON_LINES);
    for (size_t i = 0; i < l->n; i++) json_write_text(w, NULL, l->at[i]);
    json_write_end(w);
}

/* Close the object and write it as lorac.json; frees the text. */
static int write_notes(struct json_writer *w, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    json_write_text(w, "lorac_version", LORAC_VERSION);
    json_write_end(w);
    str_addc(w->out, '\n');
    int code = str_error(w->out, e);
    if (!code) code = path_join(path, dir, "lorac.json", e);
    if (!code) code = file_replace(path, w->out->p, w->out->n, 0666, e);
    str_free(w->out);
    return code;
}

int adapter_notes_write(const struct adapter_notes *n, const char *dir, struct err *e)
{
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_LINES);
    json_write_text(&w, "template", n->template);
    json_write_text(&w, "train_on", n->train_on);
    json_write_text(&w, "compute", n->compute);
    json_write_text(&w, "base_model", n->base_path ? path_base(n->base_path) : NULL);
    json_write_text(&w, "base_sha256", n->base_sha256);
    json_write_text(&w, "base_fingerprint", n->base_fingerprint);
    json_write_text(&w, "data_sha256", n->data_sha256);
    write_merged(&w, &n->merged);
    json_write_count(&w, "step", n->step);
    json_write_real(&w, "eval_loss", n->eval_loss);
    return write_notes(&w, dir, e);
}

int merged_notes_write(const struct adapter_notes *n, const char *dir, struct err *e)
{
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_LINES);
    json_write_text(&w, "template", n->template);
    json_write_text(&w, "train_on", n->train_on);
    json_write_text(&w, "base_model", n->base_path ? path_base(n->base_path) : NULL);
    write_merged(&w, &n->merged);
    json_write_bool(&w, "merged", true);
    return write_notes(&w, dir, e);
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

/* ---- digests of adapters --------------------------------------------------------------------- */

int digest_list_add(struct digest_list *l, const char *hex, struct err *e)
{
    enum { MOST = 1024 };
    if (digest_list_has(l, hex)) return 0;
    if (l->n == MOST) return err_set(e, "a model holds more than %d merged adapters", MOST);
    char(*more)[SHA256_HEX] = mem_resize(l->at, l->n + 1, sizeof *more, e);
    if (!more) return e->code;
    l->at = more;
    snprintf(l->at[l->n++], SHA256_HEX, "%s", hex);
    return 0;
}

bool digest_list_has(const struct digest_list *l, const char *hex)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->at[i], hex) == 0) return true;
    return false;
}

void digest_list_free(struct digest_list *l)
{
    mem_free(l->at);
    *l = (struct digest_list){ 0 };
}

static int read_merged(struct digest_list *l, const json_t *o, const char *where, struct err *e)
{
    static const char key[] = "merged_adapters";
    const json_t *list = json_object_get(o, key);
    int code = 0;
    if (!list || json_is_null(list)) return 0;
    if (!json_is_array(list)) {
        return err_set(e, "%s: %s: found %s, wanted a list", where, key, json_kind(list));
    }
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const char *hex = json_string_value(v);
        bool is = hex && strlen(hex) == SHA256_HEX - 1 &&
                  strspn(hex, "0123456789abcdef") == SHA256_HEX - 1;
        if (!is) {
            code = err_set(e, "%s: %s: found %s, wanted SHA-256 digests", where, key, json_kind(v));
        } else {
            code = digest_list_add(l, hex, e);
        }
    }
    return code;
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
    if (!code) code = copy_string(&n->compute, o, "compute", path, e);
    if (!code) code = copy_string(&n->base_path, o, "base_model", path, e);
    if (!code) code = copy_string(&n->base_sha256, o, "base_sha256", path, e);
    if (!code) code = copy_string(&n->base_fingerprint, o, "base_fingerprint", path, e);
    if (!code) code = copy_string(&n->data_sha256, o, "data_sha256", path, e);
    if (!code) code = read_merged(&n->merged, o, path, e);
    json_decref(o);
    if (code) adapter_notes_free(n);
    return code;
}

static int merged_of_gguf(struct digest_list *l, const struct gguf *g, struct err *e)
{
    struct gguf_strings it;
    const char *text;
    char hex[SHA256_HEX];
    uint64_t count;
    size_t n;
    if (!gguf_key(g, GGUF_MERGED)) return 0;
    int code = gguf_strings(&it, &count, g, GGUF_MERGED, e);
    while (!code && gguf_strings_next(&it, &text, &n)) {
        if (n != SHA256_HEX - 1) {
            return err_set(e, "%s: %s: found %s, wanted SHA-256 digests", g->path, GGUF_MERGED,
                           err_quote(text, n));
        }
        memcpy(hex, text, n);
        hex[n] = 0;
        code = digest_list_add(l, hex, e);
    }
    return code;
}

int merged_notes_of(struct adapter_notes *n, const struct llama *m, const char *path, struct err *e)
{
    const struct gguf *g = llama_gguf(m);
    const char *text = NULL;
    size_t length = 0;
    *n = (struct adapter_notes){ .eval_loss = NAN };
    if (!g) return dir_exists(path) ? adapter_notes_read(n, path, e) : 0;
    int code = gguf_get_string(&text, &length, g, GGUF_TEMPLATE, false, e);
    if (!code) code = merged_of_gguf(&n->merged, g, e);
    if (!code && text && !(n->template = mem_strndup(text, length, e))) code = e->code;
    if (code) adapter_notes_free(n);
    return code;
}

void adapter_notes_free(struct adapter_notes *n)
{
    mem_free(n->template);
    mem_free(n->train_on);
    mem_free(n->compute);
    mem_free(n->base_sha256);
    mem_free(n->base_fingerprint);
    digest_list_free(&n->merged);
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

/* ---- the model card -------------------------------------------------------------------------- */

/* A name in Markdown, written so that it stays in its line and is nothing but a name. */
static void add_words(struct str *out, const char *text)
{
    struct str safe = { 0 };
    str_add_safe(&safe, text, strlen(text));
    for (const char *p = safe.p; p && *p; p++) {
        if (strchr("\\`*[]<>|", *p)) str_addc(out, '\\');
        str_addc(out, *p);
    }
    out->failed |= safe.failed;
    str_free(&safe);
}

static int write_card(const struct adapter *a, const struct adapter_notes *n, const char *dir,
                      struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 };
    const char *base = n->base_path ? path_base(n->base_path) : "unknown";
    str_addz(&s, "---\nbase_model: ");
    scalar_add_text(&s, base);
    str_addz(&s, "\nlibrary_name: peft\ntags:\n- lora\n- lorac\n---\n\n# A LoRA adapter for ");
    add_words(&s, base);
    str_addz(&s, "\n\n");
    str_addz(&s, "Trained with lorac " LORAC_VERSION " on token loss (");
    add_words(&s, n->train_on ? n->train_on : "unknown targets");
    str_addf(&s, "), %s", str_count(n->step, "step"));
    if (isfinite(n->eval_loss)) str_addf(&s, ", validation loss %.4f", n->eval_loss);
    str_addf(&s, ".\n\n| | |\n| --- | --- |\n| rank | %zu |\n| alpha | %g |\n| modules |", a->r,
             a->lora_alpha);
    for (int m = 0; m < MODULES; m++)
        if (adapter_has(a, (enum module)m)) str_addf(&s, " %s", module_table[m].name);
    str_addz(&s, " |\n| prompt template | ");
    add_words(&s, !n->template          ? "none"
                  : *n->template == '{' ? "its own, in lorac.json"
                                        : n->template);
    str_addz(&s, " |\n");
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
    int code = adapter_notes_write(notes, dir, e);
    if (!code) code = write_card(a, notes, dir, e);
    if (!code && notes->base_path) code = notices_copy(notes->base_path, dir, false, e);
    if (!code) code = adapter_save(a, dir, notes->base_path, dropout, e);
    return code;
}
