/* Opening a tokenizer, wherever it is, and its queries. */
#include "src/tokenizer/tokenizer.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/tokenizer/parts.h"

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    vocab_release(&t->vocab);
    vocab_release(&t->chars);
    mem_free(t->merges);
    mem_free(t->stops);
    mem_free(t->chat_template);
    mem_free(t->path);
    bpe_release(&t->bpe);
    match_release(&t->raw[0]);
    match_release(&t->raw[1]);
    match_release(&t->normal);
    match_release(&t->special);
    splitter_release(&t->splitter);
    mem_free(t);
}

static struct tokenizer *tokenizer_new(struct err *e)
{
    struct tokenizer *t = mem_alloc(1, sizeof *t, e);
    if (t) t->unk = t->bos = t->eos = -1;
    return t;
}

void tokenizer_mark_special(struct tokenizer *t, int32_t id)
{
    struct piece *p = &t->vocab.pieces[id];
    if (p->type == TOKEN_NORMAL || p->type == TOKEN_USER) p->type = TOKEN_CONTROL;
}

int tokenizer_add_stop(struct tokenizer *t, int32_t id, struct err *e)
{
    if (t->eos < 0) t->eos = id;
    if (tokenizer_is_eos(t, id)) return 0;
    int32_t *stops = mem_resize(t->stops, t->n_stops + 1, sizeof *stops, e);
    if (!stops) return e->code;
    stops[t->n_stops++] = id;
    t->stops = stops;
    return 0;
}

int tokenizer_add_merge(struct tokenizer *t, int32_t left, int32_t right, const char *where,
                        struct err *e)
{
    if (t->n_merges == VOCAB_MOST) {
        return err_set(e, "%s: found more than %d merges", where, VOCAB_MOST);
    }
    if (t->n_merges == t->merges_cap) {
        size_t cap = t->merges_cap ? 2 * t->merges_cap : 1024;
        struct merge *merges = mem_resize(t->merges, cap, sizeof *merges, e);
        if (!merges) return e->code;
        t->merges = merges;
        t->merges_cap = cap;
    }
    char text[2 * PIECE_MOST];
    size_t n, m;
    const char *a = vocab_bytes(&t->vocab, left, &n);
    memcpy(text, a, n);
    const char *b = vocab_bytes(&t->vocab, right, &m);
    memcpy(text + n, b, m);
    int32_t joined = vocab_find(&t->vocab, text, n + m);
    if (joined < 0) {
        return err_set(e, "%s: merge %zu: found %s, which is not a piece of the vocabulary", where,
                       t->n_merges, err_quote(text, n + m));
    }
    t->merges[t->n_merges++] = (struct merge){ left, right, joined };
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

struct attempt {
    bool refused; /* sound, but of a kind that lorac does not encode */
    bool absent;  /* sound, but without a tokenizer */
};

static int read_beside(struct tokenizer *t, const char *path, bool from_spm, struct err *e)
{
    char dir[PATH_BYTES];
    size_t n = (size_t)(path_base(path) - path);
    if (n >= sizeof dir) return err_set(e, "%s: path too long", path);
    memcpy(dir, n ? path : ".", n ? n : 1);
    dir[n ? n : 1] = 0;
    return sidecars_read(t, dir, from_spm, e);
}

static int open_file(struct tokenizer **out, const char *path, struct attempt *a, struct err *e)
{
    enum container c;
    *a = (struct attempt){ 0 };
    *out = NULL;
    int code = container_of(&c, path, e);
    if (code) return code;
    struct tokenizer *t = tokenizer_new(e);
    if (!t) return e->code;
    if (c == CONTAINER_GGUF) {
        code = gguf_vocab_read(t, path, &a->absent, e);
    } else {
        code = c == CONTAINER_HF ? hf_read(t, path, &a->refused, e) : spm_read(t, path, e);
        if (!code) code = read_beside(t, path, c == CONTAINER_SPM, e);
    }
    if (!code) code = tokenizer_seal(t, path, e);
    if (!code && !(t->path = mem_strdup(path, e))) code = e->code;
    if (code) {
        tokenizer_free(t);
        return code;
    }
    *out = t;
    return 0;
}

/* A directory without the usual names: the one file with a name of Mistral's, which differ by the
 * version of the vocabulary. a->absent when there is none. */
static int open_other(struct tokenizer **out, const char *dir, struct attempt *a, struct err *e)
{
    static const char *const names[] = { "tokenizer.model.v1",   "tokenizer.model.v2",
                                         "tokenizer.model.v3",   "tokenizer.model.v7",
                                         "tokenizer.model.v7m1", "tekken.json" };
    char path[PATH_BYTES];
    const char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (path_join(path, dir, names[i], e)) return e->code;
        if (!file_exists(path)) continue;
        if (found) {
            return err_set(e,
                           "%s: found %s and %s, wanted one tokenizer; name it with --tokenizer "
                           "or model.tokenizer",
                           dir, found, names[i]);
        }
        found = names[i];
    }
    a->absent = !found;
    if (!found) return err_set(e, "%s: found no tokenizer.json and no tokenizer.model", dir);
    int code = path_join(path, dir, found, e);
    return code ? code : open_file(out, path, a, e);
}

/* a->absent when the directory holds no tokenizer. */
static int open_dir(struct tokenizer **out, const char *dir, struct attempt *a, struct err *e)
{
    char json[PATH_BYTES], model[PATH_BYTES];
    *out = NULL;
    *a = (struct attempt){ 0 };
    int code = path_join(json, dir, "tokenizer.json", e);
    if (!code) code = path_join(model, dir, "tokenizer.model", e);
    if (code) return code;
    bool has_json = file_exists(json), has_model = file_exists(model);
    if (!has_json && !has_model) return open_other(out, dir, a, e);
    if (!has_json) return open_file(out, model, a, e);
    code = open_file(out, json, a, e);
    if (!code || !a->refused || !has_model) return code;
    struct err json_err = *e;
    code = open_file(out, model, a, e);
    return code ? err_prefix(e, "%s; and", json_err.msg) : 0;
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *e)
{
    struct attempt a;
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    return kind == PATH_DIRECTORY ? open_dir(out, path, &a, e) : open_file(out, path, &a, e);
}

/* The directory above: "a" for "a/b" and "a/b/", "." for "a", ".." for ".". */
static int parent_of(char out[PATH_BYTES], const char *path, struct err *e)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t last = n;
    while (last > 0 && path[last - 1] != '/') last--;
    bool dots = strncmp(path + last, "..", n - last) == 0 && n - last <= 2;
    if (dots) return path_join(out, path, "..", e);
    while (last > 1 && path[last - 1] == '/') last--;
    if (last >= PATH_BYTES) return err_set(e, "%s: path too long", path);
    memcpy(out, last ? path : ".", last ? last : 1);
    out[last ? last : 1] = 0;
    return 0;
}

/* The directory in which a model's tokenizer is looked for first; or *out, when the path is a file
 * that holds a tokenizer itself. */
static int home_of(char dir[PATH_BYTES], struct tokenizer **out, const char *path, struct err *e)
{
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    if (kind == PATH_DIRECTORY) {
        size_t n = strlen(path);
        if (n >= PATH_BYTES) return err_set(e, "%s: path too long", path);
        memcpy(dir, path, n + 1);
        return 0;
    }
    if (kind == PATH_NOTHING) return err_set(e, "%s: no such file or directory", path);
    if (tokenizer_is_file(path)) {
        struct attempt a;
        int code = open_file(out, path, &a, e);
        if (!code || !a.absent) return code;
    }
    return parent_of(dir, path, e);
}

int tokenizer_find(struct tokenizer **out, const char *model_path, const char *named, struct err *e)
{
    struct attempt a;
    char dir[PATH_BYTES], parent[PATH_BYTES];
    *out = NULL;
    if (named) return tokenizer_open(out, named, e);
    int code = home_of(dir, out, model_path, e);
    if (code || *out) return code;
    code = open_dir(out, dir, &a, e);
    if (!code || !a.absent) return code;
    code = parent_of(parent, dir, e);
    if (!code) code = open_dir(out, parent, &a, e);
    if (!code || !a.absent) return code;
    return err_set(e,
                   "%s: found no tokenizer.json or tokenizer.model in it, beside it or in the "
                   "directory above, wanted one; name it with --tokenizer or model.tokenizer",
                   model_path);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const char *tokenizer_path(const struct tokenizer *t)
{
    return t->path;
}
size_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.n;
}
int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}
int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}
bool tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->adds_bos && t->bos >= 0;
}
const char *tokenizer_chat_template(const struct tokenizer *t)
{
    return t->chat_template;
}
enum tokenizer_kind tokenizer_kind(const struct tokenizer *t)
{
    return t->kind;
}
const char *tokenizer_pre_name(const struct tokenizer *t)
{
    return pretokenizers[t->pre].names[0];
}
bool tokenizer_normalizes(const struct tokenizer *t)
{
    return t->nfc;
}
bool tokenizer_scores_fit(const struct tokenizer *t)
{
    return t->kind == TOKENIZER_SPM && t->scores_fit;
}
bool tokenizer_adds_prefix(const struct tokenizer *t)
{
    return t->prefix != PREFIX_NONE;
}

int32_t tokenizer_unknown(const struct tokenizer *t)
{
    return t->unk;
}
bool tokenizer_prefixes(const struct tokenizer *t, int32_t after)
{
    return t->prefix == PREFIX_EACH || (t->prefix == PREFIX_FIRST && after < 0);
}

bool tokenizer_is_eos(const struct tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->n_stops; i++) {
        if (t->stops[i] == id) return true;
    }
    return false;
}

size_t tokenizer_stops(const struct tokenizer *t, const int32_t **ids)
{
    *ids = t->stops;
    return t->n_stops;
}

int32_t tokenizer_special(const struct tokenizer *t, const char *text)
{
    int32_t id = vocab_find(&t->vocab, text, strlen(text));
    return id >= 0 && special_type(t->vocab.pieces[id].type) ? id : -1;
}

int32_t tokenizer_find_piece(const struct tokenizer *t, const char *text, size_t n)
{
    return vocab_find(&t->vocab, text, n);
}

size_t tokenizer_special_at(const struct tokenizer *t, const char *text, size_t n, int32_t *id)
{
    return match_at(&t->special, text, n, id);
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n)
{
    CHECK(id >= 0 && (size_t)id < t->vocab.n);
    return vocab_bytes(&t->vocab, id, n);
}

float tokenizer_score(const struct tokenizer *t, int32_t id)
{
    CHECK(id >= 0 && (size_t)id < t->vocab.n);
    return t->vocab.pieces[id].score;
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t id)
{
    CHECK(id >= 0 && (size_t)id < t->vocab.n);
    return t->vocab.pieces[id].type;
}

bool tokenizer_merge(const struct tokenizer *t, size_t i, int32_t *left, int32_t *right)
{
    if (i >= t->n_merges) return false;
    *left = t->merges[i].left;
    *right = t->merges[i].right;
    return true;
}

/* Numbers are printed, so that the padding of structs does not count. */
int tokenizer_digest(const struct tokenizer *t, uint8_t digest[SHA256_BYTES], struct err *e)
{
    struct str s = { 0 };
    str_addf(&s, "%d %d %d %d %d %d %d %d %d %d %d\n", (int)t->kind, (int)t->pre, t->by_score,
             (int)t->prefix, t->prefix_unless_space, t->normalizer, t->trim, t->split_words,
             t->ignore_merges, t->byte_fallback, t->adds_bos);
    str_addf(&s, "%d %d %d\n", t->unk, t->bos, t->eos);
    for (size_t i = 0; i < t->n_stops; i++) str_addf(&s, "%d ", t->stops[i]);
    /* earlier versions put a space after every special token there, which gave other ids */
    if (t->prefix == PREFIX_FIRST) str_addz(&s, "first only ");
    if (t->nfc) str_addz(&s, "NFC "); /* earlier versions refused it */
    for (size_t i = 0; i < t->vocab.n; i++) {
        const struct piece *p = &t->vocab.pieces[i];
        str_addf(&s, "\n%u %a %d %d %d ", p->n, (double)p->score, p->type, p->search, p->in_model);
        str_add(&s, t->vocab.text.p + p->at, p->n);
        if (p->lstrip || p->rstrip) str_addf(&s, " strips %d %d", p->lstrip, p->rstrip);
    }
    for (size_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        str_addf(&s, "\n%d %d %d", m->left, m->right, m->joined);
    }
    int code = str_error(&s, e);
    if (!code) code = sha256_of(digest, s.p, s.n, e);
    str_free(&s);
    return code;
}
