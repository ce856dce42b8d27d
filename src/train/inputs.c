#include "src/train/inputs.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/fingerprint.h"
#include "src/base/mem.h"
#include "src/train/publish.h"

static int add(struct inputs *in, const char *role, const char *path, struct err *e)
{
    struct stat st;
    for (size_t i = 0; i < in->n; i++)
        if (strcmp(in->path[i], path) == 0) return 0;
    size_t n = in->n + 1;
    const char **roles = mem_resize(in->role, n, sizeof *roles, e);
    if (roles) in->role = roles;
    char **paths = roles ? mem_resize(in->path, n, sizeof *paths, e) : NULL;
    if (paths) in->path = paths;
    uint64_t *bytes = paths ? mem_resize(in->bytes, n, sizeof *bytes, e) : NULL;
    if (bytes) in->bytes = bytes;
    char *copy = bytes ? mem_strdup(path, e) : NULL;
    if (!copy) return e->code;
    in->role[in->n] = role;
    in->path[in->n] = copy;
    in->bytes[in->n] = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    in->n = n;
    return 0;
}

/* Add those of the names that exist in the directory. */
static int add_present(struct inputs *in, const char *role, const char *dir,
                       const char *const *names, size_t n, struct err *e)
{
    char path[PATH_BYTES];
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) {
        code = path_join(path, dir, names[i], e);
        if (!code && file_exists(path)) code = add(in, role, path, e);
    }
    return code;
}

static int add_model(struct inputs *in, const char *path, const struct llama *m, struct err *e)
{
    static const char *const beside[] = { "config.json", "model.safetensors.index.json" };
    int code = 0;
    for (size_t i = 0; !code && i < m->n_files; i++) code = add(in, "weights", m->files[i], e);
    if (code || !dir_exists(path)) return code;
    return add_present(in, "config", path, beside, sizeof beside / sizeof *beside, e);
}

/* Add the file that was read, and the files beside it that are read with it. */
static int add_tokenizer(struct inputs *in, const char *path, struct err *e)
{
    static const char *const beside[] = { "tokenizer_config.json", "special_tokens_map.json",
                                          "added_tokens.json", "generation_config.json" };
    char dir[PATH_BYTES];
    size_t n = (size_t)(path_base(path) - path);
    if (n >= PATH_BYTES) return err_set(e, "%s: path too long", err_quotez(path));
    memcpy(dir, path, n);
    dir[n] = 0;
    int code = add(in, "tokenizer", path, e);
    if (code) return code;
    return add_present(in, "tokenizer", dir, beside, sizeof beside / sizeof *beside, e);
}

static int add_sources(struct inputs *in, const char *role, const struct config_sources *s,
                       struct err *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < s->n; i++) code = add(in, role, s->at[i].path, e);
    return code;
}

static int list(struct inputs *in, const struct config *c, const struct setup *s, struct err *e)
{
    static const char *const adapter[] = { "adapter_config.json", "adapter_model.safetensors" };
    const char *from = c->adapter.init_from;
    int code = add_model(in, c->model.path, &s->model, e);
    if (!code && s->tok) code = add_tokenizer(in, tokenizer_path(s->tok), e);
    if (!code) code = add_sources(in, "train", &c->data.train, e);
    if (!code) code = add_sources(in, "validation", &c->data.validation.files, e);
    if (code || !from) return code;
    if (!dir_exists(from)) return add(in, "adapter", from, e);
    return add_present(in, "adapter", from, adapter, sizeof adapter / sizeof *adapter, e);
}

int inputs_begin(struct inputs *in, const struct config *c, const struct setup *s, struct err *e)
{
    *in = (struct inputs){ 0 };
    int code = list(in, c, s, e);
    if (code) return code;
    in->sha256 = mem_alloc(in->n, sizeof *in->sha256, e);
    return in->sha256 ? hash_start(&in->job, in->path, in->n, e) : e->code;
}

int inputs_wait(struct inputs *in, struct err *e)
{
    if (!in->job) return 0;
    struct hash_job *job = in->job;
    in->job = NULL;
    int code = hash_wait(job, in->sha256, e);
    in->hashed = !code;
    return code;
}

int inputs_base_hash(struct inputs *in, const struct llama *m, struct err *e)
{
    if (*in->base_fingerprint) return 0;
    int code = inputs_wait(in, e);
    if (!code) code = base_digest(in->base_sha256, m->files, in->sha256, m->n_files, e);
    if (!code) code = fingerprint_files(in->base_fingerprint, m->files, m->n_files, e);
    return code;
}

void inputs_free(struct inputs *in)
{
    hash_abandon(in->job);
    for (size_t i = 0; i < in->n; i++) mem_free(in->path[i]);
    mem_free(in->path);
    mem_free(in->role);
    mem_free(in->sha256);
    mem_free(in->bytes);
    *in = (struct inputs){ 0 };
}
