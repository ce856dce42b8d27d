#include "src/data/fit.h"

#include <string.h>

#include "src/base/mem.h"

void fit_free(struct fit *f)
{
    encoded_free(&f->whole);
    encoded_free(&f->part);
    mem_free(f->turns);
    mem_free(f->path);
    mem_free(f->number);
    mem_free(f->state);
    *f = (struct fit){ 0 };
}

/* Append the tokens from .. to-1 if one of them, apart from the first, is a target. */
static int add(struct examples *out, const struct encoded *x, size_t from, size_t to, struct err *e)
{
    if (to <= from + 1 || !memchr(x->target + from + 1, 1, to - from - 1)) return 0;
    return examples_add(out, x->tokens.ids + from, x->target + from, to - from, e);
}

static int truncate_record(struct examples *out, const struct encoded *x, size_t max, struct err *e)
{
    for (size_t i = x->n_ends; i-- > 0;) {
        size_t end = x->ends[i];
        if (end <= max && end > 1 && memchr(x->target + 1, 1, end - 1))
            return add(out, x, 0, end, e);
    }
    return add(out, x, 0, max, e);
}

static int split_chunks(struct examples *out, const struct encoded *x, size_t max, struct err *e)
{
    int code = 0;
    for (size_t from = 0; !code && from < x->tokens.n; from += max) {
        size_t left = x->tokens.n - from;
        code = add(out, x, from, from + (left < max ? left : max), e);
    }
    return code;
}

/* ---- splitting a chat ------------------------------------------------------------------------ */

/* A long chat as a list of exchanges: each ends with an assistant turn. */
struct fit_chat {
    struct fit *f;
    const struct conversation *c;
    const struct fit_options *o;
    size_t last; /* the turn after the last answer */
    struct err *e;
};

/* Encode the system turn and the n turns from `from` into f->part. last_response keeps its meaning
 * for the whole chat, not for each piece. */
static int encode_turns(const struct fit_chat *s, size_t from, size_t n)
{
    struct fit *f = s->f;
    const struct conversation *c = s->c;
    size_t k = 0;
    if (n + 1 > f->turns_cap) {
        struct turn *turns = mem_resize(f->turns, 2 * (n + 1), sizeof *turns, s->e);
        if (!turns) return s->e->code;
        f->turns = turns;
        f->turns_cap = 2 * (n + 1);
    }
    if (c->turns[0].role == ROLE_SYSTEM && from > 0) f->turns[k++] = c->turns[0];
    struct render_options render = s->o->render;
    for (size_t i = from; i < from + n; i++, k++) {
        f->turns[k] = c->turns[i];
        if (render.train_on == TRAIN_ON_LAST_RESPONSE && i + 1 != s->last)
            f->turns[k].train = false;
    }
    if (render.train_on == TRAIN_ON_LAST_RESPONSE) render.train_on = TRAIN_ON_RESPONSES;
    struct conversation view = { .kind = c->kind, .turns = f->turns, .n = k };
    return template_encode(&f->part, s->o->template, s->o->tok, &view, &render, s->e);
}

/* The turn after the exchange whose first turn is `from`. */
static size_t exchange_end(const struct conversation *c, size_t from)
{
    size_t i = from;
    while (c->turns[i].role != ROLE_ASSISTANT) i++;
    return i + 1;
}

/* Encode the longest piece of at most n exchanges from turn `from` that fits, found by bisection;
 * *taken = 0 when even the first does not fit. Then f->part holds the piece. */
static int longest_piece(size_t *taken, const struct fit_chat *s, size_t from, size_t n)
{
    size_t fits = 0, too_many = n + 1, encoded = 0;
    for (size_t try = n; fits + 1 < too_many; try = (fits + too_many) / 2) {
        size_t end = from;
        for (size_t i = 0; i < try; i++) end = exchange_end(s->c, end);
        int code = encode_turns(s, from, end - from);
        if (code) return code;
        encoded = try;
        if (s->f->part.tokens.n <= s->o->max_length) {
            fits = try;
        } else {
            too_many = try;
        }
    }
    *taken = fits;
    if (fits == 0 || encoded == fits) return 0;
    size_t end = from;
    for (size_t i = 0; i < fits; i++) end = exchange_end(s->c, end);
    return encode_turns(s, from, end - from);
}

/* A system text that leaves no room would be encoded again for every exchange without result. */
static int has_room(bool *room, const struct fit_chat *s)
{
    struct turn turns[3] = { s->c->turns[0],
                             { .role = ROLE_USER, .text = "" },
                             { .role = ROLE_ASSISTANT, .text = "" } };
    *room = true;
    if (turns[0].role != ROLE_SYSTEM) return 0;
    struct conversation view = { .kind = s->c->kind, .turns = turns, .n = 3 };
    int code = template_encode(&s->f->part, s->o->template, s->o->tok, &view, &s->o->render, s->e);
    *room = s->f->part.tokens.n < s->o->max_length;
    return code;
}

static int split_chat(struct examples *out, struct fit_result *result, const struct fit_chat *s)
{
    const struct encoded *whole = &s->f->whole;
    bool room;
    int code = has_room(&room, s);
    if (code) return code;
    if (!room) {
        result->lost += whole->n_ends;
        return 0;
    }
    size_t from = s->c->turns[0].role == ROLE_SYSTEM;
    for (size_t k = 0; !code && k < whole->n_ends;) {
        /* at most as many exchanges as fit in the whole chat; its lengths are close to those of the
         * pieces */
        size_t begin = k ? whole->ends[k - 1] : 0, n = 1, taken = 0;
        while (k + n < whole->n_ends && whole->ends[k + n] - begin <= s->o->max_length) n++;
        code = longest_piece(&taken, s, from, n);
        if (code) break;
        if (taken) code = add(out, &s->f->part, 0, s->f->part.tokens.n, s->e);
        if (!taken) result->lost++;
        for (size_t i = 0; i < (taken ? taken : 1); i++) from = exchange_end(s->c, from);
        k += taken ? taken : 1;
    }
    return code;
}

/* ---- a record -------------------------------------------------------------------------------- */

static int fit_long(struct fit *f, struct examples *out, struct fit_result *result,
                    const struct conversation *c, const struct fit_options *o, struct err *e)
{
    bool chunks = (c->kind != RECORD_CHAT && c->kind != RECORD_ALPACA) ||
                  template_is_plain(o->template);
    size_t before = out->n;
    int code = 0;
    switch (o->overlong) {
    case OVERLONG_ERROR:
        result->too_long = true;
        return err_set(e,
                       "found %s, wanted at most data.max_length = %zu; raise it, or set "
                       "data.overlong to drop, truncate or split",
                       str_count(result->length, "token"), o->max_length);
    case OVERLONG_DROP:
        result->lost = 1;
        return 0;
    case OVERLONG_TRUNCATE:
        code = truncate_record(out, &f->whole, o->max_length, e);
        result->truncated = out->n > before;
        break;
    case OVERLONG_SPLIT:
        if (chunks) {
            code = split_chunks(out, &f->whole, o->max_length, e);
        } else {
            struct fit_chat s = { f, c, o, c->n, e };
            while (s.last > 0 && c->turns[s.last - 1].role != ROLE_ASSISTANT) s.last--;
            if (f->whole.n_ends) code = split_chat(out, result, &s);
        }
        result->split = out->n > before;
        break;
    }
    result->without_targets = out->n == before && result->lost == 0;
    return code;
}

/* The number of targets in the examples from .. x->n - 1. */
static size_t targets_from(const struct examples *x, size_t from)
{
    size_t targets = 0;
    if (from == x->n) return 0;
    for (size_t i = x->at[from]; i < x->at[x->n]; i++) targets += x->target[i];
    return targets;
}

/* Fit a conversation that is not a forest; adds to the result. */
static int fit_one(struct fit *f, struct examples *out, struct fit_result *result,
                   const struct conversation *c, const struct fit_options *o, struct err *e)
{
    int code = template_encode(&f->whole, o->template, o->tok, c, &o->render, e);
    size_t length = f->whole.tokens.n, before = out->n, targets = 0;
    if (code) return code;
    if (result->length < length) result->length = length;
    if (length <= o->max_length) {
        code = add(out, &f->whole, 0, length, e);
        result->without_targets = out->n == before;
        return code;
    }
    for (size_t i = 0; i < length; i++) targets += f->whole.target[i];
    code = fit_long(f, out, result, c, o, e);
    if (!code) result->targets_lost += targets - targets_from(out, before);
    return code;
}

/* ---- forests --------------------------------------------------------------------------------- */

/* What is known about a turn. */
enum { ANSWERED_BELOW = 1, DONE = 2 }; /* an answer comes after it; it was a target */

static int reserve_path(struct fit *f, size_t n, struct err *e)
{
    if (n <= f->path_cap) return 0;
    struct turn *path = mem_resize(f->path, n, sizeof *path, e);
    if (!path) return e->code;
    f->path = path;
    uint32_t *number = mem_resize(f->number, n, sizeof *number, e);
    if (!number) return e->code;
    f->number = number;
    uint8_t *state = mem_resize(f->state, n, 1, e);
    if (!state) return e->code;
    f->state = state;
    f->path_cap = n;
    return 0;
}

/* Mark turns of the path in f as done, after an example was made from it: all turns up to the last
 * answer that is whole in the example, or up to the first answer when only a part of that is in
 * it. */
static void mark_done(struct fit *f, size_t n, const struct examples *out,
                      const struct fit_result *path)
{
    size_t answers = 0, whole = f->whole.n_ends;
    if (path->truncated) {
        size_t length = out->at[out->n] - out->at[out->n - 1];
        while (whole > 1 && f->whole.ends[whole - 1] > length) whole--;
    }
    for (size_t i = 0; i < n && answers < whole; i++) {
        f->state[f->number[i]] |= DONE;
        answers += f->path[i].role == ROLE_ASSISTANT;
    }
}

static int fit_path(struct fit *f, struct examples *out, struct fit_result *result,
                    const struct conversation *c, uint32_t leaf, const struct fit_options *o,
                    struct err *e)
{
    size_t n = 0, before = out->n;
    for (uint32_t i = leaf; i != TURN_ROOT; i = c->turns[i].parent) n++;
    for (uint32_t i = leaf, k = (uint32_t)n; i != TURN_ROOT; i = c->turns[i].parent) {
        f->number[--k] = i;
        f->path[k] = c->turns[i];
        f->path[k].context |= !c->every_path && f->state[i] & DONE;
    }
    struct conversation view = { .kind = c->kind, .turns = f->path, .n = n };
    struct fit_result path = { 0 };
    int code = fit_one(f, out, &path, &view, o, e);
    if (result->length < path.length) result->length = path.length;
    result->too_long |= path.too_long;
    if (code) return code;
    bool cut_away = path.without_targets && path.length > o->max_length;
    result->lost += path.lost + cut_away;
    result->targets_lost += path.targets_lost;
    result->truncated |= path.truncated;
    result->split |= path.split;
    if (out->n > before) mark_done(f, n, out, &path);
    return 0;
}

static int fit_forest(struct fit *f, struct examples *out, struct fit_result *result,
                      const struct conversation *c, const struct fit_options *o, struct err *e)
{
    size_t before = out->n;
    int code = reserve_path(f, c->n, e);
    if (code) return code;
    memset(f->state, 0, c->n);
    for (size_t i = c->n; i-- > 0;) {
        uint32_t parent = c->turns[i].parent;
        bool answers = c->turns[i].role == ROLE_ASSISTANT || f->state[i] & ANSWERED_BELOW;
        CHECK(parent == TURN_ROOT || parent < i);
        if (answers && parent != TURN_ROOT) f->state[parent] |= ANSWERED_BELOW;
    }
    for (size_t i = 0; !code && i < c->n; i++) {
        bool leaf = c->turns[i].role == ROLE_ASSISTANT && !(f->state[i] & ANSWERED_BELOW);
        if (leaf) code = fit_path(f, out, result, c, (uint32_t)i, o, e);
    }
    result->without_targets = out->n == before && result->lost == 0;
    return code || c->every_path ? code : examples_join(out, before, e);
}

/* ---- any record ------------------------------------------------------------------------------ */

int fit_record(struct fit *f, struct examples *out, struct fit_result *result,
               const struct conversation *c, const struct fit_options *o, struct err *e)
{
    *result = (struct fit_result){ 0 };
    int code = (c->forest ? fit_forest : fit_one)(f, out, result, c, o, e);
    if (code || !result->without_targets || o->overlong == OVERLONG_DROP) return code;
    return err_set(e,
                   "found no target in it, wanted an answer to learn within data.max_length = %zu "
                   "tokens (data.overlong: drop leaves such records out)",
                   o->max_length);
}
