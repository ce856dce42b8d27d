/* A score belongs to a piece, and SentencePiece joins any two neighbours whose text together is a
 * piece. So each piece of n characters gives up to n - 1 rules, one for every place to cut it where
 * both halves can be symbols: pieces themselves, or single characters. Prefix and suffix hashes
 * make that linear in the bytes of the vocabulary. */
#include "src/tokenizer/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

#define LONE_CHAR (BPE_NONE - 1) /* a character that is no piece (yet no symbol either) */

typedef int cut_fn(void *context, struct tokenizer *t, int32_t id, uint32_t left, uint32_t right,
                   struct err *e);

static size_t char_bytes(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* What the n bytes can be: a piece, LONE_CHAR, or BPE_NONE. */
static uint32_t half(const struct tokenizer *t, uint64_t hash, const char *bytes, size_t n)
{
    int32_t id = vocab_find_hashed(&t->vocab, hash, bytes, n);
    if (id >= 0 && joinable(t->vocab.pieces[id].type)) return (uint32_t)id;
    return char_bytes(bytes[0]) == n ? LONE_CHAR : BPE_NONE;
}

/* Call f for every cut of a piece into two halves that can be symbols. */
static int each_cut(struct tokenizer *t, int32_t id, cut_fn *f, void *context, struct err *e)
{
    uint64_t before[PIECE_MOST + 1], after = 0, power = 1;
    const struct vocab *v = &t->vocab;
    size_t n;
    const char *bytes = vocab_bytes(v, id, &n);
    before[0] = 0;
    for (size_t i = 0; i < n; i++) {
        before[i + 1] = vocab_hash_append(v, before[i], (uint8_t)bytes[i]);
    }
    int code = 0;
    for (size_t i = n; !code && i-- > 1;) {
        after = vocab_hash_prepend(v, after, (uint8_t)bytes[i], &power);
        if (((unsigned char)bytes[i] & 0xc0) == 0x80) continue; /* inside a character */
        uint32_t left = half(t, before[i], bytes, i);
        if (left == BPE_NONE) continue;
        uint32_t right = half(t, after, bytes + i, n - i);
        if (right != BPE_NONE) code = f(context, t, id, left, right, e);
    }
    return code;
}

/* ---- by score ----------------------------------------------------------------------------------
 */

/* The symbol of a character that is no piece, made when it is new. */
static int lone_symbol(struct tokenizer *t, uint32_t *symbol, const char *bytes, size_t n,
                       struct err *e)
{
    int32_t i = vocab_find(&t->chars, bytes, n);
    if (i < 0) {
        int code = vocab_add(&t->chars, bytes, n, 0, TOKEN_NORMAL, "characters", e);
        if (code) return code;
        i = (int32_t)t->chars.n - 1;
    }
    *symbol = (uint32_t)(t->vocab.n + (size_t)i);
    return 0;
}

static int add_cut(void *context, struct tokenizer *t, int32_t id, uint32_t left, uint32_t right,
                   struct err *e)
{
    uint32_t rank = *(uint32_t *)context;
    size_t n;
    const char *bytes = vocab_bytes(&t->vocab, id, &n);
    int code = 0;
    size_t left_n = left == LONE_CHAR ? char_bytes(bytes[0]) : t->vocab.pieces[left].n;
    if (left == LONE_CHAR) code = lone_symbol(t, &left, bytes, left_n, e);
    if (!code && right == LONE_CHAR) {
        code = lone_symbol(t, &right, bytes + left_n, n - left_n, e);
    }
    return code ? code : bpe_add(&t->bpe, left, right, rank, (uint32_t)id, e);
}

static int higher_score_first(const void *a, const void *b, void *pieces)
{
    float x = ((struct piece *)pieces)[*(const int32_t *)a].score;
    float y = ((struct piece *)pieces)[*(const int32_t *)b].score;
    return (x < y) - (x > y);
}

static int add_by_score(struct tokenizer *t, const int32_t *ids, size_t n, struct err *e)
{
    uint32_t rank = 0;
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) { /* pieces of equal score share a rank */
        const struct piece *p = t->vocab.pieces;
        if (i && p[ids[i]].score < p[ids[i - 1]].score) rank++;
        code = each_cut(t, ids[i], add_cut, &rank, e);
    }
    return code;
}

static int rules_by_score(struct tokenizer *t, const char *where, struct err *e)
{
    int32_t *ids = mem_alloc(t->vocab.n, sizeof *ids, e);
    if (!ids) return e->code;
    size_t n = 0;
    int code = 0;
    for (size_t i = 0; !code && i < t->vocab.n; i++) {
        const struct piece *p = &t->vocab.pieces[i];
        if (!joinable(p->type)) continue;
        ids[n++] = (int32_t)i;
        if (isfinite(p->score)) continue;
        code = err_set(e, "%s: piece %zu: found the score %g, wanted a finite number", where, i,
                       (double)p->score);
    }
    if (!code) {
        qsort_r(ids, n, sizeof *ids, higher_score_first, t->vocab.pieces);
        code = add_by_score(t, ids, n, e);
    }
    mem_free(ids);
    return code;
}

/* Number the unused pieces that some rule makes: they have to be taken apart again. */
static int number_unused(struct tokenizer *t, struct err *e)
{
    struct bpe *b = &t->bpe;
    for (size_t i = 0; i < b->n_slots; i++) {
        const struct bpe_rule *r = &b->slots[i];
        if (r->rank == BPE_NONE || t->vocab.pieces[r->joined].type != TOKEN_UNUSED) continue;
        if (!b->unused) {
            b->unused = mem_alloc(t->vocab.n, sizeof *b->unused, e);
            if (!b->unused) return e->code;
            memset(b->unused, 0xff, t->vocab.n * sizeof *b->unused);
            b->n_symbols = t->vocab.n;
        }
        if (b->unused[r->joined] == BPE_NONE) b->unused[r->joined] = (uint32_t)b->n_unused++;
    }
    return 0;
}

/* ---- by a list of merges -----------------------------------------------------------------------
 */

/* Merges of or to special and byte pieces are left out: they would let text spell such a token. */
static int rules_by_merges(struct tokenizer *t, const char *where, struct err *e)
{
    const struct piece *p = t->vocab.pieces;
    for (size_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        uint32_t left = (uint32_t)m->left, right = (uint32_t)m->right;
        if (bpe_find(&t->bpe, left, right)) {
            return err_set(e, "%s: merge %zu repeats an earlier one", where, i);
        }
        if (!joinable(p[left].type) || !joinable(p[right].type) || !joinable(p[m->joined].type)) {
            continue;
        }
        if (bpe_add(&t->bpe, left, right, (uint32_t)i, (uint32_t)m->joined, e)) return e->code;
    }
    return 0;
}

/* For containers that know scores only: minus the rank of the first merge that makes a piece, and
 * below those the pieces that no merge makes. Both stay exact, being below 2^25. */
static void score_by_merges(struct tokenizer *t)
{
    struct piece *p = t->vocab.pieces;
    for (size_t i = 0; i < t->vocab.n; i++) {
        if (p[i].type == TOKEN_NORMAL) p[i].score = -(float)(t->n_merges + i);
    }
    for (size_t i = t->n_merges; i-- > 0;) {
        if (p[t->merges[i].joined].type != TOKEN_NORMAL) continue;
        p[t->merges[i].joined].score = -(float)i;
    }
}

int rules_make(struct tokenizer *t, const char *where, struct err *e)
{
    int code = bpe_init(&t->bpe, e);
    if (code) return code;
    if (!t->by_score) {
        code = rules_by_merges(t, where, e);
        if (!code && t->kind == TOKENIZER_SPM) score_by_merges(t);
        return code;
    }
    code = rules_by_score(t, where, e);
    return code ? code : number_unused(t, e);
}

/* ---- do scores say the same? -------------------------------------------------------------------
 */

struct fit {
    bool ok;
    uint32_t *least, *most; /* by piece: the ranks of the rules that make it */
};

static int check_cut(void *context, struct tokenizer *t, int32_t id, uint32_t left, uint32_t right,
                     struct err *e)
{
    (void)e;
    struct fit *f = context;
    const struct bpe_rule *r = NULL;
    if (left != LONE_CHAR && right != LONE_CHAR) r = bpe_find(&t->bpe, left, right);
    if (!r || r->joined != (uint32_t)id) {
        f->ok = false;
        return 0;
    }
    if (r->rank < f->least[id]) f->least[id] = r->rank;
    if (f->most[id] == BPE_NONE || r->rank > f->most[id]) f->most[id] = r->rank;
    return 0;
}

/* Ranks are distinct, so the ranges overlap exactly when, walking up the ranks, a piece is met
 * again after another one. */
static bool ranges_apart(const struct tokenizer *t, const struct fit *f)
{
    uint32_t last = 0; /* the highest rank of the piece in hand */
    int32_t piece = -1;
    for (size_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        const struct bpe_rule *r = bpe_find(&t->bpe, (uint32_t)m->left, (uint32_t)m->right);
        if (!r || r->joined == (uint32_t)piece) continue;
        if (piece >= 0 && i <= last) return false;
        piece = (int32_t)r->joined;
        last = f->most[piece];
        if (f->least[piece] != i) return false;
    }
    return true;
}

int rules_fit_scores(bool *fit, const struct tokenizer *t, struct err *e)
{
    *fit = t->by_score;
    if (t->by_score || t->kind != TOKENIZER_SPM) return 0;
    struct fit f = { .ok = true };
    f.least = mem_alloc(t->vocab.n, sizeof *f.least, e);
    f.most = mem_alloc(t->vocab.n, sizeof *f.most, e);
    int code = f.least && f.most ? 0 : e->code;
    if (!code) {
        memset(f.least, 0xff, t->vocab.n * sizeof *f.least);
        memset(f.most, 0xff, t->vocab.n * sizeof *f.most);
    }
    for (size_t i = 0; !code && f.ok && i < t->vocab.n; i++) {
        if (!joinable(t->vocab.pieces[i].type)) continue;
        code = each_cut((struct tokenizer *)t, (int32_t)i, check_cut, &f, e);
    }
    *fit = !code && f.ok && ranges_apart(t, &f);
    mem_free(f.least);
    mem_free(f.most);
    return code;
}
