#include "src/data/chat_template.h"

#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/data/jinja.h"
#include "src/data/template_tokens.h"

/* Models whose programs have no row, but share a marker with one: a program is theirs when it has
 * both markers. */
static const struct {
    const char *marker, *and, *model;
} others[] = {
    { "<|end|>", "<|assistant|>", "Phi-3" },
    { "<|im_sep|>", "<|im_start|>", "Phi-4" },
    { "[gMASK]", "<|assistant|>", "GLM-4" },
    { "<start_of_turn>", "<end_of_turn>", "Gemma" },
    { "<｜User｜>", "<｜Assistant｜>", "DeepSeek" },
};

/* Markers that suggest a row when the program itself is not known, the most specific ones first. */
static const struct {
    const char *marker, *row;
} hints[] = {
    { "Cutting Knowledge Date", "llama3.1" },
    { "<|start_header_id|>", "llama3" },
    { "You are Qwen, created by Alibaba Cloud", "qwen2.5" },
    { "<|im_start|>", "chatml" },
    { "<<SYS>>", "llama2" },
    { "[INST]", "mistral_v3" },
    { "[INST]", "mistral" },
    { "<|prompter|>", "oasst" },
    { "<|assistant|>", "zephyr" },
    { "ASSISTANT:", "vicuna_v1.1" },
    { "### Assistant", "vicuna_v0" },
    { "### Response:", "alpaca" },
};

/* ---- what a row writes ----------------------------------------------------------------------- */

struct row {
    const struct template *t;
    const struct tokenizer *tok; /* NULL: any */
    bool bos;                    /* where the row leaves it open: whether BOS stands at the front */
    bool spelt;    /* the row's first token is spelt; else it is BOS, whatever its name */
    bool unfolded; /* the system text is left out */
};

/* A special token, as a reading contains it. */
static void add_special(struct str *out, const struct template_piece *p)
{
    if (piece_is(p, "bos") || piece_is(p, "eos")) {
        str_addc(out, piece_is(p, "bos") ? MARK_BOS : MARK_EOS);
    } else {
        str_add(out, p->text, p->n);
    }
}

/* A part, with `text` for the record's text in it. Stops at {answer} when text is NULL. */
static void add_part(struct str *out, const struct row *x, const char *part, const struct str *text)
{
    struct template_piece p;
    for (const char *at = part; piece_next(&p, &at);) {
        if (!p.is_name) {
            str_add(out, p.text, p.n);
        } else if (piece_is(&p, "date")) {
            str_addz(out, x->t->date);
        } else if (piece_is_special(&p)) {
            add_special(out, &p);
        } else if (text) {
            str_add(out, text->n ? text->p : "", text->n);
        } else {
            return;
        }
    }
}

/* Add the text of turn i; where `fold` is given, the system text is folded into it. */
static void add_text(struct str *out, const struct row *x, size_t i, const char *fold,
                     const char *system)
{
    struct str s = { 0 };
    struct template_piece p;
    for (const char *at = fold ? fold : "{user}"; piece_next(&p, &at);) {
        if (!p.is_name) {
            str_add(&s, p.text, p.n);
        } else if (piece_is(&p, "system")) {
            str_addz(&s, system);
        } else {
            str_add(&s, (char[]){ MARK_TEXT, (char)('0' + i) }, 2);
        }
    }
    if (s.failed) out->failed = true;
    if (x->t->strip && s.n) {
        jinja_trim(out, s.p, s.n);
    } else if (s.n) {
        str_add(out, s.p, s.n);
    }
    str_free(&s);
}

static void add_system(struct str *out, const struct row *x, const char *system)
{
    struct str text = { 0 };
    if (x->t->strip) {
        jinja_trim(&text, system, strlen(system));
    } else {
        str_addz(&text, system);
    }
    if (text.failed) out->failed = true;
    add_part(out, x, x->t->system, &text);
    str_free(&text);
}

/* The text that the row writes for a case, without its header for the next answer. */
static void add_turns(struct str *out, const struct row *x, const struct jinja_case *c)
{
    static const char record[] = { MARK_TEXT, '0', 0 };
    const struct template *t = x->t;
    size_t from = c->role[0] == ROLE_SYSTEM, last = c->n;
    const char *system = from && !x->unfolded ? record : from ? NULL : t->default_system;
    while (last > from && c->role[last - 1] != ROLE_USER) last--;
    size_t folded = !t->fold || !system ? c->n : t->fold_last ? last - 1 : from;
    if (t->begin || x->bos) {
        struct template_piece p = { "bos", 3, true };
        const char *at = t->begin;
        bool any = !at || piece_next(&p, &at);
        bool named = any && piece_is_special(&p) && !x->spelt;
        if (named) str_addc(out, MARK_BOS);
        if (t->begin) add_part(out, x, named ? at : t->begin, NULL);
    }
    if (system && t->system) add_system(out, x, system);
    for (size_t i = from; i < c->n; i++) {
        struct str text = { 0 };
        bool user = c->role[i] == ROLE_USER;
        add_text(&text, x, i, i == folded ? t->fold : NULL, system);
        if (text.failed) out->failed = true;
        if (user && i > from) add_part(out, x, t->between, NULL);
        add_part(out, x, user ? t->user : t->assistant, &text);
        str_free(&text);
    }
}

/* ---- the cases ------------------------------------------------------------------------------- */

#define U ROLE_USER
#define A ROLE_ASSISTANT
#define S ROLE_SYSTEM
static const struct jinja_case cases[] = {
    { { U }, 1, true, false },
    { { S, U }, 2, true, false },
    { { U, A }, 2, false, false },
    { { S, U, A }, 3, false, false },
    { { U, A, U }, 3, true, false },
    { { S, U, A, U }, 4, true, false },
    { { U, A, U, A }, 4, false, false },
    { { S, U, A, U, A }, 5, false, false },
    { { U, A, U, A, U }, 5, true, false },
    { { U }, 1, true, true },
    { { S, U }, 2, true, true },
    { { U, A, U, A }, 4, false, true },
    { { S, U, A, U, A }, 5, false, true },
};
enum { CASES = sizeof cases / sizeof *cases };

/* The text that a program writes in each case. */
struct reading {
    struct str text[CASES];
    bool refuses[CASES];
};

static void reading_free(struct reading *x)
{
    for (size_t i = 0; i < CASES; i++) str_free(&x->text[i]);
}

static const char *token_text(const struct tokenizer *tok, int32_t id, size_t *n)
{
    *n = 0;
    return tok && id >= 0 ? tokenizer_piece(tok, id, n) : "";
}

/* A BOS or EOS that a program spells is replaced by its name. */
static void name_tokens(struct str *s, const struct tokenizer *tok)
{
    struct str out = { 0 };
    size_t n[2];
    const char *text[] = { token_text(tok, tok ? tokenizer_bos(tok) : -1, &n[0]),
                           token_text(tok, tok ? tokenizer_eos(tok) : -1, &n[1]) };
    bool same = n[0] == n[1] && !memcmp(text[0], text[1], n[0]);
    str_addz(&out, "");
    for (size_t at = 0; at < s->n;) {
        size_t k = 0;
        while (k < 2 && (!n[k] || s->n - at < n[k] || memcmp(s->p + at, text[k], n[k]) != 0)) k++;
        if (same && k == 0) k = 1;
        char byte = k < 2 ? (char)(k ? MARK_EOS : MARK_BOS) : s->p[at];
        if (same && byte == MARK_BOS) byte = MARK_EOS;
        str_addc(&out, byte);
        at += k < 2 ? n[k] : 1;
    }
    str_free(s);
    *s = out;
}

static int read_program(struct reading *out, const char *jinja, const struct tokenizer *tok,
                        struct err *e)
{
    struct jinja_words words = { 0 };
    int code = jinja_cut(&words, jinja, e);
    for (size_t i = 0; !code && i < CASES; i++) {
        code = jinja_read(&out->text[i], &out->refuses[i], &words, &cases[i], e);
        if (!code) name_tokens(&out->text[i], tok);
        if (!code) code = str_error(&out->text[i], e);
    }
    jinja_words_free(&words);
    return code;
}

static size_t without_end(const struct str *s, const char *white)
{
    size_t n = s->n;
    while (n && s->p[n - 1] && strchr(white, s->p[n - 1])) n--;
    return n;
}

static bool same_but_end(const struct str *a, const struct str *b, const char *white)
{
    size_t n = without_end(a, white);
    return n == without_end(b, white) && (!n || !memcmp(a->p, b->p, n));
}

/* Whether the row writes that text for the case. */
static bool writes(const struct row *x, size_t i, const struct str *text, struct err *e)
{
    const struct jinja_case *c = &cases[i];
    struct str turns = { 0 }, whole = { 0 };
    str_addz(&turns, "");
    str_addz(&whole, "");
    add_turns(&turns, x, c);
    add_turns(&whole, x, c);
    add_part(&whole, x, x->t->assistant, NULL);
    name_tokens(&turns, x->tok);
    name_tokens(&whole, x->tok);
    bool failed = str_error(&turns, e) || str_error(&whole, e);
    bool same = !failed && (same_but_end(text, &whole, c->prompt ? " " : " \n") ||
                            same_but_end(text, &turns, " \n"));
    str_free(&turns);
    str_free(&whole);
    return same;
}

static bool fits(const struct row *x, const struct reading *r, struct err *e)
{
    for (size_t i = 0; i < CASES; i++) {
        const struct jinja_case *c = &cases[i];
        bool system = c->role[0] == ROLE_SYSTEM;
        struct row without = *x;
        without.unfolded = true;
        if (r->refuses[i] && system) continue;
        if (r->refuses[i]) return false;
        if (writes(x, i, &r->text[i], e)) continue;
        /* Mistral's v0.3 puts the system text into the last turn, which may be an answer; an empty
         * system text may be left out */
        bool may_leave = system && (c->empty || (x->t->fold_last && !c->prompt));
        if (!may_leave || !writes(&without, i, &r->text[i], e)) return false;
    }
    return true;
}

/* ---- rows that differ a little --------------------------------------------------------------- */

/* The program's text in the place of the row's placeholder; false: there is no such place, or a
 * record's text is there. */
static bool solve(struct str *out, const struct row *x, size_t i, const struct reading *r)
{
    enum { PLACEHOLDER = 6 };
    struct str want = { 0 };
    str_addz(&want, "");
    add_turns(&want, x, &cases[i]);
    add_part(&want, x, x->t->assistant, NULL);
    name_tokens(&want, x->tok);
    const struct str *got = &r->text[i];
    size_t got_n = without_end(got, " "), want_n = without_end(&want, " ");
    const char *place = want.failed ? NULL : memchr(want.p, PLACEHOLDER, want_n);
    size_t front = place ? (size_t)(place - want.p) : 0;
    size_t back = place ? want_n - front - 1 : 0;
    bool found = place && got_n > front + back && !memcmp(got->p, want.p, front) &&
                 !memcmp(got->p + got_n - back, place + 1, back);
    str_clear(out);
    for (size_t k = front; found && k < got_n - back; k++) {
        found = (unsigned char)got->p[k] >= ' ' || strchr("\t\r\n", got->p[k]);
        str_addc(out, got->p[k]);
    }
    str_free(&want);
    return found && !out->failed;
}

/* Put the program's own text into a copy of the row; the texts live in `text`. */
static bool fits_changed(struct row *x, struct template *t, struct str text[2],
                         const struct reading *r, struct err *e)
{
    static const char placeholder[] = "\x06";
    const struct template row = *t;
    enum { USER = 0, SYSTEM_USER = 1 };
    for (size_t strip = 0; strip < 2; strip++) {
        *t = row;
        t->strip = row.strip != (strip == 1);
        if (fits(x, r, e)) return true;
        if (t->date) t->date = placeholder;
        if (t->date && solve(&text[0], x, SYSTEM_USER, r)) {
            t->date = text[0].p;
            if (fits(x, r, e)) return true;
        } else {
            t->date = row.date;
        }
        t->default_system = placeholder;
        if ((t->system || t->fold) && solve(&text[1], x, USER, r)) {
            t->default_system = text[1].p;
            if (fits(x, r, e)) return true;
        }
        t->default_system = NULL;
        if (row.default_system && fits(x, r, e)) return true;
    }
    return false;
}

/* ---- the result ------------------------------------------------------------------------------ */

/* Write a part in which the special tokens that it spells are placed by id, as transformers
 * does. */
static bool add_spelt(struct str *out, const char *part, const struct tokenizer *tok)
{
    struct template_piece p;
    bool changed = false;
    for (const char *at = part, *from = part; piece_next(&p, &at); from = at) {
        if (p.is_name || p.n < 2) {
            str_add(out, from, (size_t)(at - from));
            continue;
        }
        for (size_t i = 0; i < p.n; i++) {
            size_t n = 0;
            bool special = template_spelt_special(&n, tok, p.text + i, p.n - i) >= 0;
            if (special) str_addc(out, '{');
            str_add(out, p.text + i, special ? n : 1);
            if (special) str_addc(out, '}');
            changed |= special;
            i += special ? n - 1 : 0;
        }
    }
    return changed;
}

static void add_member(struct str *s, const char *name, const char *text)
{
    str_addf(s, ", \"%s\": ", name);
    if (text) {
        json_add_string(s, text, strlen(text));
    } else {
        str_addz(s, "null");
    }
}

/* Write the parts that spell special tokens; returns whether there are any. */
static bool add_spelt_parts(struct str *s, const struct template *t, const struct tokenizer *tok)
{
    const struct {
        const char *name, *part;
    } parts[] = { { "system", t->system },       { "user", t->user },   { "tool", t->tool },
                  { "assistant", t->assistant }, { "input", t->input }, { "between", t->between } };
    bool any = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct str part = { 0 };
        str_addz(&part, "");
        bool changed = add_spelt(&part, parts[i].part, tok);
        if (part.failed) s->failed = true;
        if (changed && !part.failed) add_member(s, parts[i].name, part.p);
        any |= changed;
        str_free(&part);
    }
    return any;
}

/* Whether the row begins with a token whose name differs from this tokenizer's BOS. */
static bool begins_otherwise(const struct template *row, const struct tokenizer *tok)
{
    struct template_piece p;
    size_t n;
    const char *at = row->begin, *bos = token_text(tok, tokenizer_bos(tok), &n);
    if (!piece_next(&p, &at) || !piece_is_special(&p) || piece_is(&p, "bos")) return false;
    return n && (n != p.n || memcmp(bos, p.text, n) != 0);
}

/* The row itself, or a definition of the differences from it. */
static const struct template *finish(const struct template *row, const struct row *x, struct err *e)
{
    struct str s = { 0 }, parts = { 0 };
    const struct template *out = NULL, *t = x->t;
    const struct tokenizer *tok = x->tok;
    bool bos = x->bos || row->begin;
    bool own_bos = row->begin ? !x->spelt && begins_otherwise(row, tok)
                              : bos != tokenizer_adds_bos(tok);
    bool same = row->strip == t->strip && row->default_system == t->default_system &&
                row->date == t->date && !own_bos;
    str_addf(&s, "{\"name\": \"%s", row->name);
    if (own_bos) str_addz(&s, bos ? " with BOS" : " without BOS");
    if (row->strip != t->strip) str_addz(&s, t->strip ? ", stripped" : ", not stripped");
    if (row->default_system != t->default_system)
        str_addz(&s, t->default_system ? ", another system text" : ", no system text");
    if (row->date != t->date) str_addz(&s, ", another date");
    if (add_spelt_parts(&parts, row, tok)) str_addz(&s, ", marks as special tokens");
    str_addf(&s, "\", \"like\": \"%s\"", row->name);
    if (own_bos) add_member(&s, "begin", bos ? "{bos}" : "");
    if (row->strip != t->strip) str_addf(&s, ", \"strip\": %s", t->strip ? "true" : "false");
    if (row->default_system != t->default_system)
        add_member(&s, "default_system", t->default_system);
    if (row->date != t->date) add_member(&s, "date", t->date);
    if (parts.n) str_add(&s, parts.p, parts.n);
    if (parts.failed) s.failed = true;
    str_addc(&s, '}');
    if (same && !parts.n) {
        out = row;
    } else if (!str_error(&s, e) && template_define(&out, s.p, e)) {
        out = NULL;
    }
    str_free(&parts);
    str_free(&s);
    return out;
}

const char *chat_template_model(const char *jinja)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strstr(jinja, others[i].marker) && strstr(jinja, others[i].and)) return others[i].model;
    return NULL;
}

const char *chat_template_nearest(const char **marker, const char *jinja,
                                  const struct tokenizer *tok)
{
    if (chat_template_model(jinja)) return NULL;
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        *marker = hints[i].marker;
        if (!strstr(jinja, *marker)) continue;
        if (tok && !template_fits(template_named(hints[i].row), tok)) continue;
        if (!tok && !strcmp(hints[i].row, "mistral_v3")) continue;
        return hints[i].row;
    }
    return NULL;
}

static void not_known(const char *jinja, const struct tokenizer *tok, struct err *e)
{
    const char *marker, *row = chat_template_nearest(&marker, jinja, tok);
    const char *model = chat_template_model(jinja);
    if (model) {
        err_set(e,
                "the model's chat template, %s, is not one that lorac knows: it looks like %s's, "
                "for which there is no template; describe it in a `template` section",
                err_quotez(jinja), model);
    } else if (row) {
        err_set(e,
                "the model's chat template, %s, is not one that lorac knows; it has %s, as "
                "template: %s has: compare the two with `lorac data show`",
                err_quotez(jinja), marker, row);
    } else {
        err_set(e, "the model's chat template, %s, is not one that lorac knows", err_quotez(jinja));
    }
}

/* The first row that writes the text that was read: unchanged, or else with small changes. */
static const struct template *find_row(const struct reading *r, const struct tokenizer *tok,
                                       bool exact, struct err *e)
{
    char names[1024], *rest = names, *name;
    snprintf(names, sizeof names, "%s", template_names());
    bool bos = r->text[0].n && *r->text[0].p == MARK_BOS;
    while ((name = strsep(&rest, " "))) {
        const struct template *row = template_named(name);
        struct template t = *row;
        struct str text[2] = { { 0 }, { 0 } };
        struct row x = { .t = &t, .tok = tok };
        const struct template *found = NULL;
        for (int k = 0; !found && k < 2; k++) { /* a text may begin with the same token */
            x.bos = k && bos && !row->begin;
            x.spelt = k && row->begin;
            t = *row;
            if (exact ? fits(&x, r, e) : fits_changed(&x, &t, text, r, e)) {
                found = tok ? finish(row, &x, e) : row;
            }
        }
        str_free(&text[0]);
        str_free(&text[1]);
        if (found) return found;
    }
    return NULL;
}

const char *chat_template_row(const char *jinja, struct err *e)
{
    struct reading r = { 0 };
    const struct template *found = NULL;
    if (!read_program(&r, jinja, NULL, e)) found = find_row(&r, NULL, true, e);
    reading_free(&r);
    if (!found) not_known(jinja, NULL, e);
    return found ? found->name : NULL;
}

const struct template *chat_template_read(const char *jinja, const struct tokenizer *tok,
                                          struct err *e)
{
    struct reading r = { 0 };
    const struct template *found = NULL;
    if (!read_program(&r, jinja, tok, e)) {
        found = find_row(&r, tok, true, e);
        if (!found) found = find_row(&r, tok, false, e);
    }
    reading_free(&r);
    if (!found) not_known(jinja, tok, e);
    return found;
}
