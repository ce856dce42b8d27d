#include "src/data/template.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/data/chat_template.h"
#include "src/data/template_tokens.h"

static const struct template *row_of(const struct template *t)
{
    return t ? t : template_named("plain");
}

bool template_is_plain(const struct template *t)
{
    return row_of(t) == template_named("plain");
}

int template_digest(uint8_t digest[SHA256_BYTES], const struct template *t, struct err *e)
{
    t = row_of(t);
#define TEMPLATE_VALUE(part, help) t->part,
    const char *parts[] = { TEMPLATE_PARTS(TEMPLATE_VALUE) };
    struct str s = { 0 };
    enum { FIRST_PARTS = 10 }; /* later parts count only where they are set */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i >= FIRST_PARTS && !parts[i]) continue;
        str_addf(&s, "%zu %s\n", parts[i] ? strlen(parts[i]) + 1 : 0, parts[i] ? parts[i] : "");
    }
    str_addf(&s, "%d %d\n", t->strip, t->alternate);
    if (t->fold_last) str_addz(&s, "fold_last\n");
    if (t->spaced) str_addz(&s, "spaced\n");
    int code = str_error(&s, e);
    if (!code) code = sha256_of(digest, s.p, s.n, e);
    str_free(&s);
    return code;
}

const struct template *template_of_model(const struct tokenizer *tok, struct err *e)
{
    const char *jinja = tokenizer_chat_template(tok);
    const struct template *t = NULL;
    if (jinja) {
        t = chat_template_read(jinja, tok, e);
    } else {
        err_set(e, "the model has no chat template");
    }
    if (t) return t;
    err_prefix(e, "template model");
    struct err why = *e;
    err_usage(e, "%s; choose one of: %s", why.msg, template_names());
    return NULL;
}

/* ---- special tokens -------------------------------------------------------------------------- */

/* Name the model's own template where another one does not work: it is the most likely one. */
static void suggest_own(struct str *s, const struct tokenizer *tok)
{
    struct err ignored;
    if (!tokenizer_chat_template(tok)) return;
    const struct template *own = template_of_model(tok, &ignored);
    if (own && template_fits(own, tok)) str_addf(s, " model (the model's own, %s)", own->name);
    template_free(own);
}

int template_check(const struct template *t, const struct tokenizer *tok, struct err *e)
{
    t = row_of(t);
    struct template_piece missing, other;
    if (!template_lacks(&missing, t, tok)) return 0;
    int32_t id = template_token(tok, &missing);
    if (id >= 0) {
        tokenizer_no_row(tok, id, e);
        err_prefix(e, "template %s", t->name);
        struct err why = *e;
        return err_usage(e, "%s", why.msg);
    }
    struct str works = { 0 };
    char name[64];
    suggest_own(&works, tok);
    for (const char *at = template_names(); *at; at += *at == ' ') {
        size_t n = strcspn(at, " ");
        CHECK(n < sizeof name);
        memcpy(name, at, n);
        name[n] = 0;
        if (!template_lacks(&other, template_named(name), tok)) str_addf(&works, " %s", name);
        at += n;
    }
    int code = str_error(&works, e);
    if (!code) {
        code = err_usage(e,
                         "template %s places the special token %s, which the tokenizer "
                         "does not have; templates that would work:%s",
                         t->name, err_quote(missing.text, missing.n), works.n ? works.p : " none");
    }
    str_free(&works);
    return code;
}

int32_t template_end(const struct template *t, const struct tokenizer *tok)
{
    struct template_piece p;
    for (const char *at = part_find(row_of(t)->assistant, "answer"); piece_next(&p, &at);) {
        if (piece_is_special(&p)) return template_token(tok, &p);
    }
    return -1;
}

bool template_stops(const struct template *t, const struct tokenizer *tok, int32_t id)
{
    return tokenizer_is_eos(tok, id) || (id >= 0 && template_end(t, tok) == id);
}

/* ---- runs ------------------------------------------------------------------------------------ */

struct span {
    const char *text;
    size_t n;
};

/* The mark of a character decides about the tokens that cover it: one TARGET makes a token a
 * target, unless a NEVER, from an answer that must not be learnt, forbids it. */
enum mark { OTHER, TARGET, NEVER };

struct render {
    const struct template *t;
    const struct tokenizer *tok;
    struct encoded *x;
    bool all;       /* train_on: everything */
    bool on_eos;    /* train_on_eos */
    enum mark rest; /* the mark of text outside answers, in this turn */
    enum mark now;  /* the mark of the text written next */
    bool answered;  /* an answer was written, its EOS not yet */
    struct err *e;
    int32_t after; /* the special token before the run, -1 when the run begins the text */
};

static int add_flag(struct encoded *x, size_t at, bool on, struct err *e)
{
    if (at >= x->target_cap) {
        size_t cap = x->tokens.cap > at ? x->tokens.cap : at + 1;
        uint8_t *target = mem_resize(x->target, cap, 1, e);
        if (!target) return e->code;
        x->target = target;
        x->target_cap = cap;
    }
    x->target[at] = on;
    return 0;
}

/* Tokenise the collected run; `before`: the special token that follows it, or -1. */
static int flush(struct render *r, int32_t before)
{
    struct encoded *x = r->x;
    int code = str_error(&x->run, r->e);
    if (!code) code = str_error(&x->mask, r->e);
    if (code || x->run.n == 0) return code;
    size_t from = x->tokens.n;
    code = tokenizer_encode_between(r->tok, &x->tokens, x->run.p, x->run.n, 0, r->after, before,
                                    r->e);
    for (size_t i = from; !code && i < x->tokens.n; i++) {
        size_t start = x->tokens.start[i], end = x->tokens.end[i];
        const char *marks = x->mask.p + start;
        bool on = start == end
                      ? r->all
                      : memchr(marks, TARGET, end - start) && !memchr(marks, NEVER, end - start);
        code = add_flag(x, i, on, r->e);
    }
    str_clear(&x->run);
    str_clear(&x->mask);
    return code;
}

/* Limit the text of a turn, because spans of tokens have 32 bits. */
static int add_text(struct render *r, const char *text, size_t n, enum mark mark)
{
    if (n > UINT32_MAX - r->x->run.n) {
        return err_set(r->e, "found more than 4 GiB of text in one turn");
    }
    size_t at = r->x->mask.n;
    str_add(&r->x->run, text, n);
    str_add(&r->x->mask, text, n); /* room first, then the marks */
    if (n && !r->x->mask.failed) memset(r->x->mask.p + at, mark, n);
    return 0;
}

static int add_end(struct encoded *x, struct err *e)
{
    if (x->n_ends == x->ends_cap) {
        size_t cap = x->ends_cap ? 2 * x->ends_cap : 8;
        size_t *ends = mem_resize(x->ends, cap, sizeof *ends, e);
        if (!ends) return e->code;
        x->ends = ends;
        x->ends_cap = cap;
    }
    x->ends[x->n_ends++] = x->tokens.n;
    return 0;
}

static int add_special(struct render *r, const struct template_piece *p)
{
    int32_t id = template_token(r->tok, p);
    if (id < 0) return template_check(r->t, r->tok, r->e);
    if (!tokenizer_has_row(r->tok, id)) return tokenizer_no_row(r->tok, id, r->e);
    int code = flush(r, id);
    r->after = id;
    if (!code) code = tokens_add(&r->x->tokens, id, 0, 0, r->e);
    if (!code) code = add_flag(r->x, r->x->tokens.n - 1, r->now == TARGET, r->e);
    if (code || !r->answered) return code;
    r->answered = false;
    r->now = r->rest;
    return add_end(r->x, r->e);
}

/* ---- turns ----------------------------------------------------------------------------------- */

struct template_parts {
    struct span system, user, input, answer;
    bool trained; /* the answer */
};

static int add_part(struct render *r, const struct template_piece *p,
                    const struct template_parts *v)
{
    if (!p->is_name) {
        bool twice = r->t->spaced && !r->x->run.n && *p->text == ' ' &&
                     tokenizer_prefixes(r->tok, r->after);
        return add_text(r, p->text + twice, p->n - twice, r->now);
    }
    if (piece_is_special(p)) return add_special(r, p);
    if (piece_is(p, "date")) return add_text(r, r->t->date, strlen(r->t->date), r->now);
    if (piece_is(p, "answer")) {
        r->now = !v->trained ? NEVER : r->on_eos ? TARGET : OTHER;
        r->answered = true;
        return add_text(r, v->answer.text, v->answer.n, v->trained ? TARGET : NEVER);
    }
    const struct span *s = piece_is(p, "system") ? &v->system
                           : piece_is(p, "user") ? &v->user
                                                 : &v->input;
    return add_text(r, s->text, s->n, r->now);
}

static int add_format(struct render *r, const char *format, const struct template_parts *v)
{
    struct template_piece p;
    int code = 0;
    for (const char *at = format; !code && piece_next(&p, &at);) code = add_part(r, &p, v);
    return code;
}

/* White space as in Python's str.strip(), because chat templates that strip do it in Python.
 */
static bool is_white(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static struct span strip(struct span s)
{
    uint32_t c;
    size_t len;
    while ((len = utf8_decode(&c, s.text, s.n)) && is_white(c)) s.text += len, s.n -= len;
    while (s.n) {
        len = 1;
        while (len < 4 && len < s.n && ((unsigned char)s.text[s.n - len] & 0xc0) == 0x80) len++;
        if (!utf8_decode(&c, s.text + s.n - len, len) || !is_white(c)) break;
        s.n -= len;
    }
    return s;
}

/* Begin to write a turn; a turn that is context never has a target. */
static void begin_turn(struct render *r, const struct turn *t)
{
    r->now = r->rest = t->context ? NEVER : r->all ? TARGET : OTHER;
}

/* The text of a user turn: with its input, unless the input has its own heading, and with the
 * system text when that is folded into it. */
static int user_text(struct span *out, struct render *r, const struct turn *t,
                     const struct span *folded)
{
    const struct template *row = r->t;
    *out = (struct span){ t->text, t->n };
    bool joins = t->input && !row->input;
    bool ends_line = t->listed && !t->input && template_is_plain(row);
    if (joins || folded || ends_line) {
        struct str *s = &r->x->content;
        str_clear(s);
        struct template_piece p;
        for (const char *at = folded ? row->fold : "{user}"; piece_next(&p, &at);) {
            bool system = piece_is(&p, "system");
            if (system) str_add(s, folded->text, folded->n);
            if (!p.is_name) str_add(s, p.text, p.n);
            if (piece_is(&p, "user")) str_add(s, t->text, t->n);
        }
        if (joins) str_addz(s, "\n\n");
        if (joins) str_add(s, t->input, t->input_n);
        if (ends_line) str_addc(s, '\n');
        int code = str_error(s, r->e);
        if (code) return code;
        *out = (struct span){ s->p, s->n };
    }
    if (row->strip) *out = strip(*out);
    return 0;
}

static int add_user(struct render *r, const struct turn *t, const struct span *folded, bool first)
{
    struct template_parts v = { .input = { t->input, t->input_n } };
    bool tool = t->role == ROLE_TOOL && r->t->tool;
    int code = user_text(&v.user, r, t, folded);
    if (!code && !first) code = add_format(r, r->t->between, &v);
    if (!code) code = add_format(r, tool ? r->t->tool : r->t->user, &v);
    if (!code && t->input) code = add_format(r, r->t->input, &v);
    return code;
}

/* Check that turn i may be at its place. */
static int check_order(const struct render *r, const struct conversation *c)
{
    const struct template *t = r->t;
    size_t from = c->n > 0 && c->turns[0].role == ROLE_SYSTEM;
    for (size_t i = 0; i < c->n; i++) {
        enum role found = c->turns[i].role, wanted = (i - from) % 2 ? ROLE_ASSISTANT : ROLE_USER;
        if (found == ROLE_SYSTEM && !t->system && !(i == 0 && t->fold)) {
            return err_set(r->e, "turn %zu: found system, for which the template %s has no place%s",
                           i + 1, t->name, t->fold ? " but the front" : "");
        }
        if (!t->alternate || i < from || found == wanted) continue;
        if (found == ROLE_TOOL && wanted == ROLE_USER && i > from) continue;
        return err_set(r->e,
                       "turn %zu: found %s, wanted %s: the template %s takes user and "
                       "assistant in turn, and a system text only in front",
                       i + 1, role_name(found), role_name(wanted), t->name);
    }
    return 0;
}

/* The system text at the front: the record's, or else the row's. False when there is none. */
static bool system_text(struct span *out, const struct template *t, const struct conversation *c)
{
    if (c->n && c->turns[0].role == ROLE_SYSTEM) {
        *out = (struct span){ c->turns[0].text, c->turns[0].n };
        return true;
    }
    const char *text = t->default_system;
    for (size_t i = 0; i < c->n; i++) {
        if (c->turns[i].role != ROLE_USER) continue;
        if (c->turns[i].input && t->default_system_input) text = t->default_system_input;
        break;
    }
    if (text) *out = (struct span){ text, strlen(text) };
    return text != NULL;
}

static int add_system(struct render *r, struct span text)
{
    struct template_parts v = { .system = r->t->strip ? strip(text) : text };
    return add_format(r, r->t->system, &v);
}

static int add_answer(struct render *r, const struct turn *t, bool trained)
{
    struct span text = { t->text, t->n };
    struct template_parts v = { .answer = r->t->strip ? strip(text) : text, .trained = trained };
    return add_format(r, r->t->assistant, &v);
}

/* The user turn that a folded system text goes into. */
static size_t folded_turn(const struct template *t, const struct conversation *c)
{
    size_t found = c->n;
    for (size_t i = c->n; i-- > 0;) {
        bool user = c->turns[i].role == ROLE_USER || c->turns[i].role == ROLE_TOOL;
        if (user && !(t->fold_last && found < c->n)) found = i;
    }
    return found;
}

static int add_turns(struct render *r, const struct conversation *c, enum train_on train_on)
{
    struct span system = { 0 };
    bool has_system = system_text(&system, r->t, c), folds = has_system && r->t->fold;
    if (c->n) begin_turn(r, &c->turns[0]);
    int code = has_system && !folds ? add_system(r, system) : 0;
    size_t last = c->n;
    while (last > 0 && c->turns[last - 1].role != ROLE_ASSISTANT) last--;
    size_t from = c->n && c->turns[0].role == ROLE_SYSTEM, users = 0, folded = folded_turn(r->t, c);
    for (size_t i = from; !code && i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        begin_turn(r, t);
        if (t->role == ROLE_SYSTEM) {
            code = add_system(r, (struct span){ t->text, t->n });
        } else if (t->role == ROLE_ASSISTANT) {
            bool counts = train_on != TRAIN_ON_LAST_RESPONSE || i + 1 == last;
            code = add_answer(r, t, t->train && !t->context && counts);
        } else {
            code = add_user(r, t, folds && i == folded ? &system : NULL, users == 0);
            users++;
        }
    }
    return code;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* Add a special token that a text spells, after the text collected before it. */
static int add_spelt(struct render *r, int32_t id, bool on)
{
    int code = flush(r, id);
    if (!code && !tokenizer_has_row(r->tok, id)) code = tokenizer_no_row(r->tok, id, r->e);
    r->after = id;
    if (!code) code = tokens_add(&r->x->tokens, id, 0, 0, r->e);
    return code ? code : add_flag(r->x, r->x->tokens.n - 1, on, r->e);
}

/* Add a text, cut at the special tokens that it spells; in a text record these may be any special
 * tokens. */
static int add_spelling(struct render *r, const char *text, size_t length, enum mark mark,
                        bool is_record)
{
    int code = 0;
    for (size_t at = 0, begin = 0; !code && at < length; at++) {
        size_t n = 0;
        int32_t id = -1;
        if (!is_record) {
            id = template_spelt_special(&n, r->tok, text + at, length - at);
        } else {
            n = tokenizer_special_at(r->tok, text + at, length - at, &id);
        }
        bool at_end = at + 1 == length;
        if (id < 0 && !at_end) continue;
        size_t end = id < 0 ? length : at;
        bool on = mark == TARGET && (!is_record || r->on_eos || !tokenizer_is_eos(r->tok, id));
        code = add_text(r, text + begin, end - begin, mark);
        if (!code && id >= 0) code = add_spelt(r, id, on);
        if (id >= 0) at += n - 1, begin = at + 1;
    }
    return code;
}

/* The texts of all segments as one. */
static int add_segments(struct render *r, const struct conversation *c)
{
    int code = 0;
    for (size_t i = 0; !code && i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        bool on = (r->all || t->train) && !t->context;
        code = add_spelling(r, t->text, t->n, on ? TARGET : OTHER, false);
    }
    return code ? code : flush(r, -1);
}

/* Whether a text ends with an EOS, not counting white space. */
static bool ends_with_eos(const struct tokenizer *tok, const char *text, size_t length)
{
    bool ends = false;
    for (size_t at = 0, n; at < length; at += n ? n : 1) {
        int32_t id;
        n = tokenizer_special_at(tok, text + at, length - at, &id);
        if (n) {
            ends = tokenizer_is_eos(tok, id);
        } else if (!strchr(" \t\r\n", text[at]) || !text[at]) {
            ends = false;
        }
    }
    return ends;
}

/* Add a text whose special tokens are read; begin() has placed the BOS. */
static int add_parsed(struct render *r, const char *text, size_t n)
{
    int32_t first = -1;
    bool own_end = ends_with_eos(r->tok, text, n);
    if (tokenizer_special_at(r->tok, text, n, &first) && first == tokenizer_bos(r->tok))
        r->x->tokens.n = 0;
    int code = add_spelling(r, text, n, TARGET, true);
    if (!code) code = flush(r, -1);
    if (!code && own_end) code = add_end(r->x, r->e);
    if (code || own_end) return code;
    r->now = r->on_eos ? TARGET : OTHER;
    r->answered = true;
    return add_special(r, &(struct template_piece){ "eos", 3, true });
}

/* ---- examples -------------------------------------------------------------------------------- */

void encoded_free(struct encoded *x)
{
    tokens_free(&x->tokens);
    mem_free(x->target);
    mem_free(x->ends);
    str_free(&x->run);
    str_free(&x->mask);
    str_free(&x->content);
    *x = (struct encoded){ 0 };
}

static int encode_ids(struct encoded *x, const struct conversation *c, struct err *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < c->n_ids; i++) {
        code = tokens_add(&x->tokens, c->ids[i], 0, 0, e);
        if (!code) code = add_flag(x, i, c->labels[i] != LABEL_NONE, e);
    }
    return code;
}

/* Clear the result of an earlier encoding, and place the BOS that the tokenizer wants, unless the
 * row writes its own. */
static int begin(struct render *r, bool with_row)
{
    struct encoded *x = r->x;
    x->tokens.n = x->n_ends = 0;
    str_clear(&x->run);
    str_clear(&x->mask);
    if (with_row && r->t->begin) return add_format(r, r->t->begin, &(struct template_parts){ 0 });
    if (!r->tok || !tokenizer_adds_bos(r->tok)) return 0;
    int code = add_special(r, &(struct template_piece){ "bos", 3, true });
    r->after = -1; /* the BOS is not written in the text, which begins after it */
    return code;
}

/* Whether no token of the record is a target (conversation_exclude). */
static bool is_excluded(const struct conversation *c)
{
    size_t i = 0;
    while (i < c->n && c->turns[i].context) i++;
    return c->n > 0 && i == c->n;
}

int template_encode(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, const struct render_options *o, struct err *e)
{
    bool excluded = is_excluded(c), all = o->train_on == TRAIN_ON_EVERYTHING && !excluded;
    enum mark rest = all ? TARGET : OTHER;
    struct render r = { row_of(t), tok, out, all, o->train_on_eos, rest, rest, false, e, -1 };
    int code = 0;
    if (c->kind == RECORD_TOKENS) {
        out->tokens.n = out->n_ends = 0;
        code = encode_ids(out, c, e);
    } else if (c->kind == RECORD_SEGMENTS) {
        out->tokens.n = out->n_ends = 0;
        str_clear(&out->run);
        str_clear(&out->mask);
        code = add_segments(&r, c);
    } else if (c->kind == RECORD_TEXT) {
        CHECK(c->n == 1);
        r.all = !excluded; /* every token of a text, and, with train_on_eos, its EOS */
        struct template_parts v = { .answer = { c->turns[0].text, c->turns[0].n },
                                    .trained = r.all };
        code = begin(&r, false);
        if (!code && o->parse_special) {
            code = add_parsed(&r, v.answer.text, v.answer.n);
        } else if (!code) {
            code = add_format(&r, "{answer}{eos}", &v);
        }
    } else {
        code = check_order(&r, c);
        if (!code) code = begin(&r, true);
        if (!code) code = add_turns(&r, c, o->train_on);
        if (!code) code = flush(&r, -1);
    }
    if (!code && out->tokens.n) out->target[0] = 0;
    return code;
}

/* Add the row's header of an answer without the spaces at its end: the answer's first word has its
 * own. */
static int add_header(struct render *r)
{
    const char *header = r->t->assistant, *answer = part_find(header, "answer");
    CHECK(answer);
    const char *end = answer;
    while (end > header && end[-1] == ' ') end--;
    struct template_parts none = { 0 };
    struct template_piece p;
    int code = 0;
    for (const char *at = header; !code && at < end && piece_next(&p, &at);) {
        if (!p.is_name && p.text + p.n > end) p.n = (size_t)(end - p.text);
        code = add_part(r, &p, &none);
    }
    return code;
}

int template_prompt(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, struct err *e)
{
    struct render r = { .t = row_of(t), .tok = tok, .x = out, .e = e, .after = -1 };
    bool is_text = c->kind == RECORD_TEXT;
    CHECK((c->kind == RECORD_CHAT || c->kind == RECORD_ALPACA || is_text) && c->n > 0);
    enum role ends = c->turns[c->n - 1].role;
    if (!is_text && ends != ROLE_USER && ends != ROLE_TOOL) {
        return err_set(e, "a prompt ends with the %s's turn, wanted the user's", role_name(ends));
    }
    int code = is_text ? 0 : check_order(&r, c);
    if (!code) code = begin(&r, !is_text);
    if (!code && is_text) code = add_text(&r, c->turns[0].text, c->turns[0].n, OTHER);
    if (!code && !is_text) code = add_turns(&r, c, TRAIN_ON_RESPONSES);
    if (!code && !is_text) code = add_header(&r);
    if (!code) code = flush(&r, -1);
    if (!code && out->tokens.n) memset(out->target, 0, out->tokens.n);
    return code;
}
