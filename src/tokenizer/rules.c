/* A score belongs to a piece, and SentencePiece joins any two neighbours whose text together is a
 * piece. So a piece of n characters gives up to n - 1 rules: one for each cut whose halves can both
 * be symbols, that is pieces or single characters. Prefix and suffix hashes make that linear in the
 * bytes of the vocabulary. */
#include "src/tokenizer/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

#define LONE_CHAR (BPE_NONE - 1) /* a character that is not a piece (and not yet a symbol) */

typedef int cut_fn(void *context, struct tokenizer *t, int32_t id, uint32_t left, uint32_t right,
                   struct err *e);

static size_t char_bytes(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* The symbol that the n bytes can be: a piece, LONE_CHAR, or BPE_NONE. */
static uint32_t half(const struct tokenizer *t, uint64_t hash, const char *bytes, size_t n)
{
    int32_t id = vocab_find_hashed(&t->vocab, hash, bytes, n);
    if (id >= 0 && joinable(t, id)) return (uint32_t)id;
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

/* ---- by score -------------------------------------------------------------------------------- */

/* The symbol of a character that is not a piece; a new one is made when needed. */
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
        if (!joinable(t, (int32_t)i)) continue;
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

static int number_unused_piece(struct tokenizer *t, uint32_t id, struct err *e)
{
    struct bpe *b = &t->bpe;
    if (!b->unused) {
        b->unused = mem_alloc(t->vocab.n, sizeof *b->unused, e);
        if (!b->unused) return e->code;
        memset(b->unused, 0xff, t->vocab.n * sizeof *b->unused);
        b->n_symbols = t->vocab.n;
    }
    if (b->unused[id] == BPE_NONE) b->unused[id] = (uint32_t)b->n_unused++;
    return 0;
}

/* Unused pieces that a rule makes must be taken apart again; those of one character become
 * unknown. */
static int number_unused(struct tokenizer *t, struct err *e)
{
    const struct piece *p = t->vocab.pieces;
    int code = 0;
    for (size_t i = 0; !code && i < t->bpe.n_slots; i++) {
        const struct bpe_rule *r = &t->bpe.slots[i];
        if (r->rank == BPE_NONE || p[r->joined].type != TOKEN_UNUSED) continue;
        code = number_unused_piece(t, r->joined, e);
    }
    for (size_t i = 0; !code && i < t->vocab.n; i++) {
        if (p[i].type != TOKEN_UNUSED || piece_characters(t, (int32_t)i) != 1) continue;
        code = number_unused_piece(t, (uint32_t)i, e);
    }
    return code;
}

/* ---- by a list of merges --------------------------------------------------------------------- */

/* Merges from or to special and byte pieces are left out: with them a text could spell such a
 * token. */
static int rules_by_merges(struct tokenizer *t, const char *where, struct err *e)
{
    for (size_t i = 0; i < t->n_merges; i++) {
        const struct merge *m = &t->merges[i];
        uint32_t left = (uint32_t)m->left, right = (uint32_t)m->right;
        if (bpe_find(&t->bpe, left, right)) {
            return err_set(e, "%s: merge %zu repeats an earlier one", where, i);
        }
        if (!joinable(t, m->left) || !joinable(t, m->right) || !joinable(t, m->joined)) {
            continue;
        }
        if (bpe_add(&t->bpe, left, right, (uint32_t)i, (uint32_t)m->joined, e)) return e->code;
    }
    return 0;
}

/* ---- scores for merges --------------------------------------------------------------------------
 * Hugging Face's converter lists, for every piece from the best score down, all cuts of the piece.
 * The cuts of pieces with equal scores stand together, those with longer parts first. A list of
 * that form can be turned back into scores, which tokenizer.model and GGUF need. */

struct rule_fit {
    bool all_cuts;  /* every cut is a merge */
    uint32_t *last; /* by piece: the highest rank of its merges */
};

static int check_cut(void *context, struct tokenizer *t, int32_t id, uint32_t left, uint32_t right,
                     struct err *e)
{
    (void)e;
    struct rule_fit *f = context;
    const struct bpe_rule *r = NULL;
    if (left != LONE_CHAR && right != LONE_CHAR) r = bpe_find(&t->bpe, left, right);
    if (!r) {
        f->all_cuts = false;
    } else if (r->rank > f->last[id]) {
        f->last[id] = r->rank;
    }
    return 0;
}

static bool longer_first(const struct tokenizer *t, const struct merge *a, const struct merge *b)
{
    size_t left_a = piece_characters(t, a->left), left_b = piece_characters(t, b->left);
    if (left_a != left_b) return left_a > left_b;
    return piece_characters(t, a->right) >= piece_characters(t, b->right);
}

/* Go through the ranks in order. A run of merges that ends where all its pieces are done has one
 * score. */
static bool score_runs(struct tokenizer *t, const struct rule_fit *f)
{
    const struct merge *m = t->merges, *before = NULL;
    size_t start = 0, last = 0;
    bool mixed = false; /* more than one piece in this run */
    bool fits = true;
    for (size_t i = 0; i < t->n_merges; i++) {
        struct piece *p = &t->vocab.pieces[m[i].joined];
        const struct bpe_rule *r = bpe_find(&t->bpe, (uint32_t)m[i].left, (uint32_t)m[i].right);
        if (!r) continue; /* to a special piece */
        bool within = before && i <= last;
        if (!within) {
            start = i;
            mixed = false;
        } else if (m[i].joined != before->joined && !mixed) {
            mixed = true;
            for (size_t k = start + 1; k < i; k++) fits &= longer_first(t, &m[k - 1], &m[k]);
        }
        if (within && mixed) fits &= longer_first(t, before, &m[i]);
        p->score = -(float)start;
        if (!within || f->last[m[i].joined] > last) last = f->last[m[i].joined];
        before = &m[i];
    }
    return fits;
}

static int score_by_merges(struct tokenizer *t, struct err *e)
{
    struct piece *p = t->vocab.pieces;
    struct rule_fit f = { .all_cuts = true, .last = mem_alloc(t->vocab.n, sizeof *f.last, e) };
    if (!f.last) return e->code;
    int code = 0;
    for (size_t i = 0; !code && i < t->vocab.n; i++) {
        if (p[i].type != TOKEN_NORMAL) continue;
        p[i].score = -(float)(t->n_merges + i); /* what no merge makes; exact below 2^25 */
        code = each_cut(t, (int32_t)i, check_cut, &f, e);
    }
    t->scores_fit = !code && score_runs(t, &f) && f.all_cuts;
    mem_free(f.last);
    return code;
}

int rules_make(struct tokenizer *t, const char *where, struct err *e)
{
    int code = bpe_init(&t->bpe, e);
    if (code) return code;
    if (!t->by_score) {
        code = rules_by_merges(t, where, e);
        return code || t->kind != TOKENIZER_SPM ? code : score_by_merges(t, e);
    }
    t->scores_fit = true;
    code = rules_by_score(t, where, e);
    return code ? code : number_unused(t, e);
}
