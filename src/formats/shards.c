#include "src/formats/shards.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"

enum { INDEX_MOST = 64 << 20 };
static const char single[] = "model.safetensors", index_name[] = "model.safetensors.index.json";

/* What a directory without our files holds instead, so that the error can name the remedy. */
struct leftovers {
    bool bin, shard;
};

static void look_around(struct leftovers *found, const char *dir)
{
    *found = (struct leftovers){ 0 };
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *f = readdir(d); f; f = readdir(d)) {
        size_t n = strlen(f->d_name);
        bool ends = n > 12 && strcmp(f->d_name + n - 12, ".safetensors") == 0;
        if (strncmp(f->d_name, "pytorch_model", 13) == 0) found->bin = true;
        if (ends && strncmp(f->d_name, "model-", 6) == 0) found->shard = true;
    }
    closedir(d);
}

static int no_weights(const char *dir, struct err *e)
{
    enum path_kind kind;
    if (path_look(&kind, dir, e)) return e->code;
    if (kind != PATH_DIRECTORY) return err_set(e, "%s: no such directory", dir);
    struct leftovers found;
    look_around(&found, dir);
    if (found.shard) {
        return err_set(e, "%s: found shards, but no %s: an incomplete download", dir, index_name);
    }
    if (found.bin) {
        return err_set(e,
                       "%s: found weights as pytorch_model*.bin, which may hold programs, wanted "
                       "%s; convert them with transformers: AutoModelForCausalLM"
                       ".from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)",
                       dir, single);
    }
    return err_set(e, "%s: found no weights, wanted %s or %s", dir, single, index_name);
}

static bool plain_shard_name(const char *name, size_t n)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return n > 12 && strspn(name, letters) == n && strcmp(name + n - 12, ".safetensors") == 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of the weight map, sorted. They point into the map. */
static int shard_names(const char ***names, size_t *n, json_t *map, const char *where,
                       struct err *e)
{
    size_t total = json_object_size(map);
    if (total == 0) {
        return err_set(e, "%s: weight_map: found %s, wanted an object that maps tensors to files",
                       where, json_is_object(map) ? "nothing in it" : json_kind(map));
    }
    *names = mem_alloc(total, sizeof **names, e);
    if (!*names) return e->code;
    const char *tensor;
    json_t *file;
    size_t listed = 0;
    json_object_foreach(map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !plain_shard_name(name, json_string_length(file))) {
            return err_set(e,
                           "%s: weight_map: %s: found %s, wanted the name of a .safetensors file "
                           "beside the index",
                           where, err_quotez(tensor),
                           name ? err_quote(name, json_string_length(file)) : json_kind(file));
        }
        (*names)[listed++] = name;
    }
    qsort(*names, listed, sizeof **names, by_text);
    for (size_t i = 0; i < listed; i++) {
        if (*n == 0 || strcmp((*names)[*n - 1], (*names)[i]) != 0) (*names)[(*n)++] = (*names)[i];
    }
    return 0;
}

/* Open n files of the directory. */
static int open_files(struct shards *s, const char *dir, const char *const *names, size_t n,
                      struct err *e)
{
    s->paths = mem_alloc(n, sizeof *s->paths, e);
    s->files = s->paths ? mem_alloc(n, sizeof *s->files, e) : NULL;
    if (!s->files) return e->code;
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];
        int code = path_join(path, dir, names[i], e);
        if (code) return code;
        if (!file_exists(path)) {
            return err_set(e, "%s: listed in %s, but missing: an incomplete download", path,
                           index_name);
        }
        code = safetensors_open(&s->files[i], path, e);
        if (code) return code;
        s->n_files++;
        s->paths[i] = mem_strdup(path, e);
        if (!s->paths[i]) return e->code;
    }
    return 0;
}

/* Check that every tensor of the shards is where the map says, and that every tensor of the map is
 * in its shard. */
static int check_map(const struct shards *s, json_t *map, const char *where, struct err *e)
{
    size_t seen = 0;
    for (size_t i = 0; i < s->n_files; i++) {
        const char *file = path_base(s->paths[i]);
        for (size_t j = 0; j < s->files[i].n; j++, seen++) {
            const char *tensor = s->files[i].tensors[j].name;
            const char *listed = json_string_value(json_object_get(map, tensor));
            if (!listed || strcmp(listed, file) != 0) {
                return err_set(e, "%s: tensor %s: not listed for this file in %s", s->paths[i],
                               err_quotez(tensor), index_name);
            }
        }
    }
    if (seen == json_object_size(map)) return 0;
    const char *tensor;
    json_t *file;
    json_object_foreach(map, tensor, file)
    {
        const char *name = json_string_value(file);
        for (size_t i = 0; i < s->n_files; i++) {
            if (strcmp(path_base(s->paths[i]), name) != 0) continue;
            if (safetensors_find(&s->files[i], tensor)) continue;
            return err_set(e, "%s: weight_map: tensor %s is not in %s", where, err_quotez(tensor),
                           s->paths[i]);
        }
    }
    return 0;
}

static int open_index(struct shards *s, const char *dir, const char *path, struct err *e)
{
    json_t *root = json_read(path, INDEX_MOST, e);
    if (!root) return e->code;
    json_t *map = json_object_get(root, "weight_map");
    const char **names = NULL;
    size_t n = 0;
    int code = shard_names(&names, &n, map, path, e);
    if (!code) code = open_files(s, dir, names, n, e);
    if (!code) code = check_map(s, map, path, e);
    mem_free(names);
    json_decref(root);
    return code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name,
                  (*(const struct tensor *const *)b)->name);
}

static int list_tensors(struct shards *s, struct err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_files; i++) n += s->files[i].n;
    s->tensors = mem_alloc(n, sizeof *s->tensors, e);
    if (!s->tensors) return e->code;
    for (size_t i = 0; i < s->n_files; i++) {
        for (size_t j = 0; j < s->files[i].n; j++) {
            s->tensors[s->n_tensors++] = &s->files[i].tensors[j];
        }
    }
    if (n) qsort(s->tensors, n, sizeof *s->tensors, by_name);
    return 0;
}

int shards_open(struct shards *s, const char *dir, struct err *e)
{
    *s = (struct shards){ 0 };
    char path[PATH_BYTES], list[PATH_BYTES];
    int code = path_join(path, dir, single, e);
    if (!code) code = path_join(list, dir, index_name, e);
    if (code) return code;
    const char *const one[] = { single };
    if (file_exists(path))
        code = open_files(s, dir, one, 1, e);
    else if (file_exists(list))
        code = open_index(s, dir, list, e);
    else
        code = no_weights(dir, e);
    if (!code) code = list_tensors(s, e);
    if (code) shards_close(s);
    return code;
}

void shards_close(struct shards *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        safetensors_close(&s->files[i]);
        mem_free(s->paths[i]);
    }
    mem_free(s->files);
    mem_free(s->paths);
    mem_free(s->tensors);
    *s = (struct shards){ 0 };
}

const struct tensor *shards_find(const struct shards *s, const char *name)
{
    if (s->n_tensors == 0) return NULL;
    const struct tensor wanted = { .name = name }, *key = &wanted;
    const struct tensor **found = bsearch(&key, s->tensors, s->n_tensors, sizeof key, by_name);
    return found ? *found : NULL;
}

const char *shards_path_of(const struct shards *s, const struct tensor *t)
{
    for (size_t i = 0; i < s->n_files; i++) {
        if (t >= s->files[i].tensors && t < s->files[i].tensors + s->files[i].n) return s->paths[i];
    }
    CHECK(!"a tensor of these shards");
    return NULL;
}
