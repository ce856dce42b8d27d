/* The files beside a tokenizer.model or tokenizer.json: they say which pieces are special, which
 * begin and end a text, and the chat template. Each file may be missing.
 *
 *   tokenizer_config.json    bos_token, eos_token, add_bos_token, chat_template,
 *                            added_tokens_decoder; for a tokenizer.model add_prefix_space, legacy
 *   special_tokens_map.json  bos_token, eos_token
 *   added_tokens.json        older releases: added pieces and their ids
 *   generation_config.json, config.json
 *                            eos_token_id (a number or a list), bos_token_id
 *   chat_template.jinja      newer releases: the chat template
 * Source: PreTrainedTokenizerBase.from_pretrained and GenerationConfig of transformers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

enum { SIDECAR_MOST = 64 << 20, STOPS_MOST = 64 };

struct sidecars {
    struct tokenizer *t;
    const char *dir;
    json_t *config, *map; /* tokenizer_config.json, special_tokens_map.json; NULL: not there */
    bool from_spm;
};

/* *out = the object in dir/name, NULL when there is no such file; its path in `path`. */
static int read_object(json_t **out, char path[PATH_BYTES], const char *dir, const char *name,
                       struct err *e)
{
    *out = NULL;
    int code = path_join(path, dir, name, e);
    if (code || !file_exists(path)) return code;
    *out = json_read(path, SIDECAR_MOST, e);
    if (!*out) return e->code;
    if (json_is_object(*out)) return 0;
    code = err_set(e, "%s: found %s, wanted an object", path, json_kind(*out));
    json_decref(*out);
    *out = NULL;
    return code;
}

/* ---- added pieces ---------------------------------------------------------------------------- */

struct numbered {
    size_t id;
    struct added added;
};

static int by_id(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int add_piece(struct sidecars *s, const struct numbered *x, const char *where, struct err *e)
{
    struct vocab *v = &s->t->vocab;
    const struct added *a = &x->added;
    if (x->id > v->n) {
        return err_set(e,
                       "%s: added token %s: found the id %zu, wanted one of at most %zu, the "
                       "first that is free",
                       where, err_quote(a->text, a->n), x->id, v->n);
    }
    if (x->id == v->n) {
        int code = vocab_add(v, a->text, a->n, 0, TOKEN_USER, where, e);
        if (code) return code;
    }
    size_t n;
    const char *known = vocab_bytes(v, (int32_t)x->id, &n);
    if (n != a->n || memcmp(known, a->text, n) != 0) {
        return err_set(e, "%s: added token %s: found the id %zu, which the vocabulary gives to %s",
                       where, err_quote(a->text, a->n), x->id, err_quote(known, n));
    }
    struct piece *p = &v->pieces[x->id];
    if (s->from_spm) p->lstrip |= a->lstrip, p->rstrip |= a->rstrip;
    if (a->special) {
        tokenizer_mark_special(s->t, (int32_t)x->id);
    } else if (s->from_spm && (p->type == TOKEN_NORMAL || p->type == TOKEN_USER)) {
        p->type = TOKEN_USER;
        p->search = (uint8_t)a->search;
    }
    return 0;
}

static int add_sorted(struct sidecars *s, struct numbered *list, size_t n, const char *where,
                      struct err *e)
{
    int code = 0;
    if (n) qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; !code && i < n; i++) code = add_piece(s, &list[i], where, e);
    return code;
}

static bool id_of_key(size_t *id, const char *key)
{
    *id = 0;
    for (const char *p = key; *p; p++) {
        if (*p < '0' || *p > '9' || *id > VOCAB_MOST) return false;
        *id = *id * 10 + (size_t)(*p - '0');
    }
    return *key != 0;
}

/* added_tokens_decoder: { "32000": { content, special, ... } } */
static int read_decoder(struct sidecars *s, const char *path, struct err *e)
{
    const json_t *decoder = json_object_get(s->config, "added_tokens_decoder");
    struct numbered *list = mem_alloc(json_object_size(decoder), sizeof *list, e);
    if (!list) return e->code;
    char where[PATH_BYTES + 64];
    snprintf(where, sizeof where, "%s: added_tokens_decoder", path);
    size_t n = 0;
    int code = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)decoder, key, value)
    {
        if (!id_of_key(&list[n].id, key)) {
            code = err_set(e, "%s: found the key %s, wanted an id", where, err_quotez(key));
        } else {
            code = hf_read_added(&list[n++].added, value, where, e);
        }
        if (code) break;
    }
    if (!code) code = add_sorted(s, list, n, where, e);
    mem_free(list);
    return code;
}

/* A token of a configuration file: "text" or { content: "text" }; NULL: none. */
static const json_t *token_text(const json_t *v)
{
    if (json_is_object(v)) v = json_object_get(v, "content");
    return json_is_string(v) && json_string_length(v) ? v : NULL;
}

/* Collect the texts of all special tokens that a configuration names. */
static int note_named(struct vocab *set, const json_t *config, struct err *e)
{
    static const char *const keys[] = { "bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token" };
    enum { KEYS = sizeof keys / sizeof keys[0] };
    const json_t *more = json_object_get(config, "additional_special_tokens");
    int code = 0;
    for (size_t i = 0; !code && i < KEYS + json_array_size(more); i++) {
        const json_t *v = token_text(i < KEYS ? json_object_get(config, keys[i])
                                              : json_array_get(more, i - KEYS));
        const char *text = json_string_value(v);
        size_t n = json_string_length(v);
        if (!text || n > PIECE_MOST || vocab_find(set, text, n) >= 0) continue;
        code = vocab_add(set, text, n, 0, TOKEN_CONTROL, "special tokens", e);
    }
    return code;
}

/* added_tokens.json: { "<pad>": 32000 } */
static int number_added(struct numbered *list, size_t *n, const json_t *root,
                        const struct vocab *special, const char *path, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return err_set(e, "%s: %s: found %s, wanted an id of 0 or more", path, err_quotez(key),
                           json_kind(value));
        }
        bool named = vocab_find(special, key, strlen(key)) >= 0;
        struct added a = { .text = key, .n = strlen(key), .special = named, .search = SEARCH_RAW };
        list[(*n)++] = (struct numbered){ (size_t)json_integer_value(value), a };
    }
    return 0;
}

static int read_added_tokens(struct sidecars *s, struct err *e)
{
    char path[PATH_BYTES];
    json_t *root;
    int code = read_object(&root, path, s->dir, "added_tokens.json", e);
    if (code || !root) return code;
    struct vocab special = { 0 };
    struct numbered *list = mem_alloc(json_object_size(root), sizeof *list, e);
    size_t n = 0;
    code = list ? note_named(&special, s->config, e) : e->code;
    if (!code) code = note_named(&special, s->map, e);
    if (!code) code = number_added(list, &n, root, &special, path, e);
    if (!code) code = add_sorted(s, list, n, path, e);
    mem_free(list);
    vocab_release(&special);
    json_decref(root);
    return code;
}

/* ---- BOS and EOS ----------------------------------------------------------------------------- */

/* *known: the files name the token with this role; *id is -1 when they say that there is none. */
static int read_role(struct sidecars *s, const char *key, int32_t *id, bool *known, struct err *e)
{
    const json_t *v = json_object_get(s->config, key);
    *known = json_is_null(v);
    *id = -1;
    if (*known) return 0;
    const json_t *text = token_text(v);
    if (!text) text = token_text(json_object_get(s->map, key));
    *known = text != NULL;
    if (!text) return 0;
    *id = vocab_find(&s->t->vocab, json_string_value(text), json_string_length(text));
    if (*id < 0) {
        return err_set(e, "%s: %s: found %s, wanted a piece of the vocabulary", s->dir, key,
                       err_quote(json_string_value(text), json_string_length(text)));
    }
    tokenizer_mark_special(s->t, *id);
    return 0;
}

static int check_id(const struct tokenizer *t, const json_t *v, const char *where, const char *key,
                    struct err *e)
{
    enum { LONGEST_NUMBER = 32 };
    char number[LONGEST_NUMBER];
    json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
    if (id >= 0 && (uint64_t)id < t->vocab.n) return 0;
    snprintf(number, sizeof number, "%.15g", json_number_value(v));
    if (json_is_integer(v)) snprintf(number, sizeof number, "%lld", (long long)id);
    return err_set(e, "%s: %s: found %s, wanted an id below the %zu pieces of the tokenizer", where,
                   key, json_is_number(v) ? number : json_kind(v), t->vocab.n);
}

/* eos_token_id and, where no other file gave it, bos_token_id. */
static int read_ids(struct sidecars *s, const char *name, bool *bos_known, struct err *e)
{
    char path[PATH_BYTES];
    json_t *root;
    int code = read_object(&root, path, s->dir, name, e);
    if (code || !root) return code;
    const json_t *eos = json_object_get(root, "eos_token_id");
    const json_t *bos = json_object_get(root, "bos_token_id");
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos && !json_is_null(eos);
    if (n > STOPS_MOST) {
        code = err_set(e, "%s: eos_token_id: found %zu ids, wanted at most %d", path, n,
                       STOPS_MOST);
    }
    for (size_t i = 0; !code && i < n; i++) {
        const json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        char key[40] = "eos_token_id";
        if (json_is_array(eos)) snprintf(key, sizeof key, "eos_token_id[%zu]", i);
        code = check_id(s->t, v, path, key, e);
        if (!code) code = tokenizer_add_stop(s->t, (int32_t)json_integer_value(v), e);
    }
    if (!code && !*bos_known && bos && !json_is_null(bos)) {
        code = check_id(s->t, bos, path, "bos_token_id", e);
        if (!code) s->t->bos = (int32_t)json_integer_value(bos);
        *bos_known = true;
    }
    json_decref(root);
    return code;
}

static int read_roles(struct sidecars *s, struct err *e)
{
    struct tokenizer *t = s->t;
    int32_t bos, eos, unk = -1;
    bool bos_known, eos_known, unk_known;
    int code = read_role(s, "bos_token", &bos, &bos_known, e);
    if (!code) code = read_role(s, "eos_token", &eos, &eos_known, e);
    if (!code && t->unk < 0) code = read_role(s, "unk_token", &unk, &unk_known, e);
    if (code) return code;
    if (unk >= 0) t->unk = unk;
    if (unk >= 0 && t->kind == TOKENIZER_SPM) t->vocab.pieces[unk].type = TOKEN_UNKNOWN;
    if (bos_known) t->bos = bos;
    if (eos_known) {
        t->eos = -1;
        t->n_stops = 0;
        if (eos >= 0) code = tokenizer_add_stop(t, eos, e);
    }
    bos_known |= t->bos >= 0;
    if (!code) code = read_ids(s, "generation_config.json", &bos_known, e);
    if (!code) code = read_ids(s, "config.json", &bos_known, e);
    if (code || t->kind != TOKENIZER_SPM) return code;
    if (!bos_known) t->bos = tokenizer_special(t, "<s>");
    eos = tokenizer_special(t, "</s>");
    return !eos_known && t->eos < 0 && eos >= 0 ? tokenizer_add_stop(t, eos, e) : 0;
}

/* ---- chat template --------------------------------------------------------------------------- */

/* A text, or [{ name, template }], or { name: template }: the template named "default", else the
 * first. */
static const char *template_of(const json_t *v)
{
    if (json_is_object(v)) {
        const json_t *named = json_object_get(v, "default");
        void *any = json_object_iter((json_t *)v);
        return json_string_value(named ? named : any ? json_object_iter_value(any) : NULL);
    }
    if (!json_is_array(v)) return json_string_value(v);
    const char *first = NULL;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *o = json_array_get(v, i);
        const char *text = json_string_value(json_object_get(o, "template"));
        const char *name = json_string_value(json_object_get(o, "name"));
        if (text && name && strcmp(name, "default") == 0) return text;
        if (!first) first = text;
    }
    return first;
}

static int read_template(struct sidecars *s, struct err *e)
{
    char path[PATH_BYTES];
    struct str file = { 0 };
    const json_t *v = json_object_get(s->config, "chat_template");
    const char *text = template_of(v);
    int code = path_join(path, s->dir, "chat_template.jinja", e);
    if (!code && !text && v && !json_is_null(v)) {
        code = err_set(
            e,
            "%s/tokenizer_config.json: chat_template: found %s, wanted a text, or a list "
            "of {name, template} with texts",
            s->dir, json_kind(v));
    }
    if (!code && file_exists(path)) {
        code = file_read(&file, path, SIDECAR_MOST, e);
        text = file.n ? file.p : "";
    }
    if (!code && text) {
        s->t->chat_template = mem_strdup(text, e);
        code = s->t->chat_template ? 0 : e->code;
    }
    str_free(&file);
    return code;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int read_config(struct sidecars *s, const char *path, struct err *e)
{
    bool prefix = true, legacy = true;
    int code = json_get_bool(&s->t->adds_bos, s->config, "add_bos_token", path, e);
    if (!code) code = json_get_bool(&prefix, s->config, "add_prefix_space", path, e);
    if (!code) code = json_get_bool(&legacy, s->config, "legacy", path, e);
    if (!code) code = read_decoder(s, path, e);
    if (code || !s->from_spm) return code;
    if (!prefix) s->t->prefix = PREFIX_NONE;
    if (legacy || s->t->prefix != PREFIX_EACH) return 0;
    /* Like Metaspace's "first". transformers does the same, except in its slow class of version 4,
     * which puts a second space before a text that begins with one. */
    s->t->prefix = PREFIX_FIRST;
    s->t->prefix_unless_space = true;
    return 0;
}

int sidecars_read(struct tokenizer *t, const char *dir, bool from_spm, struct err *e)
{
    struct sidecars s = { .t = t, .dir = dir, .from_spm = from_spm };
    char path[PATH_BYTES], map_path[PATH_BYTES];
    int code = read_object(&s.config, path, dir, "tokenizer_config.json", e);
    if (!code) code = read_object(&s.map, map_path, dir, "special_tokens_map.json", e);
    if (!code && s.config) code = read_config(&s, path, e);
    if (!code) code = read_added_tokens(&s, e);
    if (!code) code = read_roles(&s, e);
    if (!code) code = read_template(&s, e);
    json_decref(s.config);
    json_decref(s.map);
    return code;
}
