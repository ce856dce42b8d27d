/* A merged model as a Hugging Face directory. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/convert/merge.h"
#include "src/convert/weights.h"
#include "src/formats/safetensors.h"
#include "src/model/notices.h"

enum { FILE_BYTES = 64 << 20, SHARD_NAME = 64 };
static const uint64_t shard_bytes = 5000000000; /* what transformers' own writer uses */

/* ---- weights --------------------------------------------------------------------------------- */

static int to_safetensors(void *to, const void *bytes, size_t n, struct err *e)
{
    return st_writer_add(to, bytes, n, e);
}

static int write_shard(struct weights *w, size_t first, size_t last, const char *path,
                       struct err *e)
{
    struct st_writer out;
    struct st_entry *entries = mem_alloc(last - first, sizeof *entries, e);
    if (!entries) return e->code;
    for (size_t i = first; i < last; i++) {
        const struct weight *t = &w->at[i];
        entries[i - first] = (struct st_entry){ .name = t->name,
                                                .type = t->type,
                                                .rank = t->vector ? 1 : 2,
                                                .dims = { t->vector ? t->cols : t->rows,
                                                          t->cols } };
    }
    int code = st_writer_begin(&out, path, entries, last - first, 0666, e);
    mem_free(entries);
    if (code) return code;
    for (size_t i = first; !code && i < last; i++)
        code = weights_write(w, i, to_safetensors, &out, e);
    if (!code) return st_writer_commit(&out, e);
    st_writer_abort(&out);
    return code;
}

/* Where the shard that begins with tensor `first` ends. */
static size_t shard_end(const struct weights *w, size_t first)
{
    uint64_t bytes = 0;
    size_t i = first;
    for (; i < w->n; i++) {
        bytes += weight_bytes(&w->at[i]);
        if (bytes > shard_bytes && i > first) break;
    }
    return i;
}

/* The file of shard `number`, counted from 1, and its name in the index. */
static int shard_path(char path[PATH_BYTES], char name[SHARD_NAME], const char *dir, size_t number,
                      size_t shards, struct err *e)
{
    snprintf(name, SHARD_NAME, "model-%05zu-of-%05zu.safetensors", number, shards);
    return path_join(path, dir, shards == 1 ? "model.safetensors" : name, e);
}

/* The first n shards are of no use without the others. */
static void remove_shards(const char *dir, size_t n, size_t shards)
{
    char path[PATH_BYTES], name[SHARD_NAME];
    struct err ignored;
    for (size_t i = 1; i <= n; i++)
        if (!shard_path(path, name, dir, i, shards, &ignored)) unlink(path);
}

static int write_weights(struct weights *w, const char *dir, struct err *e)
{
    char path[PATH_BYTES], name[SHARD_NAME];
    struct str index = { 0 };
    struct json_writer json = { .out = &index };
    size_t shards = 0, written = 0;
    for (size_t i = 0; i < w->n; i = shard_end(w, i)) shards++;
    json_write_object(&json, NULL, JSON_LINES);
    json_write_object(&json, "metadata", JSON_LINES);
    json_write_count(&json, "total_size", w->all_bytes);
    json_write_end(&json);
    json_write_object(&json, "weight_map", JSON_LINES);
    int code = 0;
    for (size_t i = 0, end; !code && i < w->n; i = end) {
        end = shard_end(w, i);
        code = shard_path(path, name, dir, written + 1, shards, e);
        if (!code) code = write_shard(w, i, end, path, e);
        for (size_t j = i; j < end; j++) json_write_text(&json, w->at[j].name, name);
        written += !code;
    }
    json_write_end(&json);
    json_write_end(&json);
    str_addc(&index, '\n');
    if (!code) code = str_error(&index, e);
    if (!code && shards > 1) {
        code = path_join(path, dir, "model.safetensors.index.json", e);
        if (!code) code = file_replace(path, index.p, index.n, 0666, e);
    }
    if (code) remove_shards(dir, written, shards);
    str_free(&index);
    return code;
}

/* ---- everything else ------------------------------------------------------------------------- */

/* The base's own config.json with the new type: what it says beyond the shape stays. */
static int adapt_config(struct str *out, const char *base_dir, enum storage_type dtype,
                        struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, base_dir, "config.json", e);
    json_t *config = code ? NULL : json_read(path, FILE_BYTES, e);
    if (!config) return e->code;
    const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
    json_object_set_new(config, key, json_string(storage_of(dtype)->torch));
    json_add_tree(out, config);
    str_addc(out, '\n');
    json_decref(config);
    return str_error(out, e);
}

static int write_config(const struct llama *m, const char *dir, const struct merge_options *o,
                        struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 };
    int code = 0;
    if (!llama_gguf(m)) {
        code = adapt_config(&s, o->base_path, o->dtype, e);
    } else if (m->dims.scaling == ROPE_DIVISORS) {
        code = err_set(e,
                       "%s: its rope scaling (rope_freqs.weight) cannot be written in config.json; "
                       "use --format gguf, or the Hugging Face directory of this model as the base",
                       o->base_path);
    } else {
        dims_to_config(&s, &m->dims, storage_of(o->dtype)->torch,
                       o->tok ? tokenizer_bos(o->tok) : -1, o->tok ? tokenizer_eos(o->tok) : -1);
        code = str_error(&s, e);
    }
    if (!code) code = path_join(path, dir, "config.json", e);
    if (!code) code = file_replace(path, s.p, s.n, 0666, e);
    str_free(&s);
    return code;
}

/* Copy a Hugging Face base's tokenizer files as they are; where another tokenizer was named, only
 * the file that says how to generate. */
static int copy_tokenizer(const char *base_dir, const char *dir, bool named, bool *any,
                          struct err *e)
{
    static const char *const files[] = { "tokenizer.model",       "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json",
                                         "added_tokens.json",     "chat_template.jinja",
                                         "generation_config.json" };
    enum { FILES = sizeof files / sizeof *files };
    char from[PATH_BYTES], to[PATH_BYTES];
    int code = 0;
    for (size_t i = named ? FILES - 1 : 0; !code && i < FILES; i++) {
        struct str text = { 0 };
        code = path_join(from, base_dir, files[i], e);
        if (!code) code = path_join(to, dir, files[i], e);
        if (code || !file_exists(from)) continue;
        code = file_read(&text, from, FILE_BYTES, e);
        if (!code) code = file_replace(to, text.n ? text.p : "", text.n, 0666, e);
        str_free(&text);
        if (i < 2) *any = true;
    }
    return code;
}

static int write_tokenizer(const struct llama *m, const char *dir, const struct merge_options *o,
                           struct err *e)
{
    bool any = false;
    int code = llama_gguf(m) ? 0 : copy_tokenizer(o->base_path, dir, o->named, &any, e);
    if (!code && !any && o->tok) code = tokenizer_export(o->tok, dir, e);
    return code;
}

static int write_model(const struct llama *m, const struct adapter *a, const struct kernels *k,
                       const char *dir, const struct merge_options *o, struct err *e)
{
    struct weights w;
    int code = weights_init(&w, m, a, k, WEIGHT_NAMES_HF, o->dtype, e);
    if (code) return code;
    w.watch = o->watch;
    code = weights_check_room(&w, dir, e);
    if (!code) code = write_weights(&w, dir, e);
    weights_free(&w);
    if (!code) code = write_tokenizer(m, dir, o, e);
    if (!code && o->chat_template && o->tok) code = merge_template_files(dir, o, e);
    if (!code && o->notes) code = merged_notes_write(o->notes, dir, e);
    if (!code) code = notices_copy(o->base_path, dir, false, e);
    /* the configuration last: a directory that has one is complete */
    return code ? code : write_config(m, dir, o, e);
}

int merge_write_hf(const struct llama *m, const struct adapter *a, const struct kernels *k,
                   const char *dir, const struct merge_options *o, struct err *e)
{
    char path[PATH_BYTES];
    size_t before = path_existing(dir);
    int lock = -1, code = dir_make(dir, 0777, e);
    if (!code) code = path_join(path, dir, "config.json", e);
    if (!code) code = path_must_be_free(path, "choose another directory", e);
    if (!code) code = dir_lock(&lock, dir, e);
    if (!code) code = write_model(m, a, k, dir, o, e);
    if (code) dir_remove_empty(dir, before);
    dir_unlock(lock);
    return code;
}
