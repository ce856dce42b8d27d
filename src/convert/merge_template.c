/* The adapter's prompt template in the files of a merged Hugging Face directory. */
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/convert/merge.h"

enum { CONFIG_BYTES = 64 << 20 };

static int read_config(json_t **out, char path[PATH_BYTES], const char *dir, const char *name,
                       struct err *e)
{
    int code = path_join(path, dir, name, e);
    if (code) return code;
    *out = file_exists(path) ? json_read(path, CONFIG_BYTES, e) : json_object();
    if (!*out) return file_exists(path) ? e->code : err_code(e, ERR_MEMORY, "out of memory");
    if (json_is_object(*out)) return 0;
    code = err_set(e, "%s: found %s, wanted an object", path, json_kind(*out));
    json_decref(*out);
    return code;
}

static int write_config(const char *path, const json_t *config, struct err *e)
{
    struct str s = { 0 };
    json_add_tree(&s, config);
    str_addc(&s, '\n');
    int code = str_error(&s, e);
    if (!code) code = file_replace(path, s.p, s.n, 0666, e);
    str_free(&s);
    return code;
}

/* ---- the template ---------------------------------------------------------------------------- */

/* transformers gives a program (the Jinja template) the tokens that the files name; where they name
 * only a class or ids, the program defines the tokens itself. */
static void add_token(struct str *out, const char *name, int32_t id, const json_t *config,
                      const json_t *map, const struct merge_options *o)
{
    size_t n;
    bool named = json_object_get(config, name) && !json_is_null(json_object_get(config, name));
    named |= json_object_get(map, name) && !json_is_null(json_object_get(map, name));
    if (named || id < 0 || !strstr(o->chat_template, name)) return;
    const char *text = tokenizer_piece(o->tok, id, &n);
    str_addf(out, "{%%- set %s = '", name);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\'' || text[i] == '\\') str_addc(out, '\\');
        str_addc(out, text[i]);
    }
    str_addz(out, "' -%}");
}

static int write_template(json_t *config, const char *dir, const struct merge_options *o,
                          struct err *e)
{
    char path[PATH_BYTES];
    json_t *map = NULL;
    struct str s = { 0 };
    int code = read_config(&map, path, dir, "special_tokens_map.json", e);
    if (code) return code;
    add_token(&s, "bos_token", tokenizer_bos(o->tok), config, map, o);
    add_token(&s, "eos_token", tokenizer_eos(o->tok), config, map, o);
    json_decref(map);
    str_addz(&s, o->chat_template);
    code = str_error(&s, e);
    if (!code) code = path_join(path, dir, "chat_template.jinja", e);
    bool has_file = !code && file_exists(path);
    if (has_file) code = file_replace(path, s.p, s.n, 0666, e);
    if (!code && (!has_file || json_object_get(config, "chat_template"))) {
        json_object_set_new(config, "chat_template", json_string(s.p));
    }
    str_free(&s);
    return code;
}

/* ---- the end of an answer -------------------------------------------------------------------- */

static int add_end(json_t *config, const struct merge_options *o)
{
    json_t *ids = json_array(), *old = json_object_get(config, "eos_token_id");
    const int32_t *stops;
    size_t n = tokenizer_stops(o->tok, &stops);
    if (json_is_array(old)) {
        json_array_extend(ids, old);
    } else if (json_is_integer(old)) {
        json_array_append(ids, old);
    } else {
        for (size_t i = 0; i < n; i++) json_array_append_new(ids, json_integer(stops[i]));
    }
    json_array_append_new(ids, json_integer(o->end));
    return json_object_set_new(config, "eos_token_id", ids);
}

int merge_template_files(const char *dir, const struct merge_options *o, struct err *e)
{
    char path[PATH_BYTES];
    json_t *config = NULL;
    int code = read_config(&config, path, dir, "tokenizer_config.json", e);
    if (code) return code;
    code = write_template(config, dir, o, e);
    if (!code) code = write_config(path, config, e);
    json_decref(config);
    if (code || o->end < 0) return code;
    code = read_config(&config, path, dir, "generation_config.json", e);
    if (code) return code;
    if (add_end(config, o)) code = err_code(e, ERR_MEMORY, "%s: out of memory", path);
    if (!code) code = write_config(path, config, e);
    json_decref(config);
    return code;
}
