#include "src/data/template.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/data/chat_template.h"

/* How a row writes its parts: text, with {system}, {user}, {input}, {answer} for the record's, and
 * {bos}, {eos} or the exact text of a special token for what is placed by id. The EOS of an answer
 * is the first special token behind {answer}. */
struct template
{
    const char *name;
    const char *system; /* a system text; NULL where it is folded */
    const char *fold;   /* a system text and the first user text made one user text, or NULL */
    const char *default_system;       /* where the record has none; NULL: then nothing is written */
    const char *default_system_input; /* the same where the first user turn has an input */
    const char *user;
    const char *input; /* heading of an input; NULL: it follows the user text after a blank line */
    const char *assistant;
    const char *between; /* in front of every user turn but the first, or NULL */
    bool strips;         /* user texts and answers lose the white space around them */
    bool alternates;     /* takes only (system) user assistant user assistant ... */
};

#define ALPACA                                                                                     \
    .system = "{system}\n\n",                                                                      \
    .default_system = "Below is an instruction that describes a task. Write a response that "      \
                      "appropriately completes the request.",                                      \
    .default_system_input = "Below is an instruction that describes a task, paired with an input " \
                            "that provides further context. Write a response that appropriately "  \
                            "completes the request.",                                              \
    .user = "### Instruction:\n{user}\n\n", .input = "### Input:\n{input}\n\n", .between = "\n\n", \
    .alternates = true

#define CHATML                                                                                     \
    .system = "{<|im_start|>}system\n{system}{<|im_end|>}\n",                                      \
    .user = "{<|im_start|>}user\n{user}{<|im_end|>}\n",                                            \
    .assistant = "{<|im_start|>}assistant\n{answer}{<|im_end|>}\n"

static const struct template templates[] = {
    { .name = "alpaca", ALPACA, .assistant = "### Response:\n{answer}{eos}" },
    { .name = "alpaca_stanford", ALPACA, .assistant = "### Response:{answer}{eos}" },
    { .name = "llama2",
      .fold = "<<SYS>>\n{system}\n<</SYS>>\n\n{user}",
      .user = "{bos}[INST] {user} [/INST]",
      .assistant = " {answer} {eos}",
      .strips = true,
      .alternates = true },
    { .name = "chatml", CHATML },
    { .name = "smollm2",
      CHATML,
      .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face" },
    { .name = "plain", .system = "{system}", .user = "{user}", .assistant = "{answer}{eos}" },
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* ---- the table ---------------------------------------------------------------------------------
 */

const struct template *template_named(const char *name)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (strcmp(templates[i].name, name) == 0) return &templates[i];
    }
    return NULL;
}

const char *template_name(const struct template *t)
{
    return t->name;
}

const char *template_names(void)
{
    static char names[TEMPLATES * 32];
#pragma omp critical(template_names)
    if (!names[0]) {
        struct str s = { 0 };
        for (size_t i = 0; i < TEMPLATES; i++) {
            str_addf(&s, "%s%s", i ? " " : "", templates[i].name);
        }
        CHECK(s.n < sizeof names);
        if (s.n) memcpy(names, s.p, s.n);
        str_free(&s);
    }
    return names;
}

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
    const char *parts[] = { t->system, t->fold,  t->default_system, t->default_system_input,
                            t->user,   t->input, t->assistant,      t->between };
    struct str s = { 0 };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        str_addf(&s, "%zu %s\n", parts[i] ? strlen(parts[i]) + 1 : 0, parts[i] ? parts[i] : "");
    }
    str_addf(&s, "%d %d\n", t->strips, t->alternates);
    int code = str_error(&s, e);
    if (!code) code = sha256_of(digest, s.p, s.n, e);
    str_free(&s);
    return code;
}

const struct template *template_of_model(const struct tokenizer *tok, struct err *e)
{
    const char *jinja = tokenizer_chat_template(tok);
    const char *name = NULL;
    if (jinja) {
        name = chat_template_row(jinja, e);
    } else {
        err_set(e, "the model has no chat template");
    }
    if (name) {
        const struct template *t = template_named(name);
        CHECK(t);
        return t;
    }
    err_prefix(e, "data.template: model");
    struct err why = *e;
    err_usage(e, "%s; choose one of: %s", why.msg, template_names());
    return NULL;
}

/* ---- special tokens ----------------------------------------------------------------------------
 */

/* One piece of a row's string. */
struct piece {
    const char *text;
    size_t n;
    bool is_name; /* stood in braces */
};

/* Cut the next piece off; false at the end. */
static bool next_piece(struct piece *out, const char **at)
{
    const char *p = *at;
    if (!p || !*p) return false;
    if (*p == '{') {
        const char *end = strchr(p, '}');
        CHECK(end);
        *out = (struct piece){ p + 1, (size_t)(end - p) - 1, true };
        *at = end + 1;
    } else {
        *out = (struct piece){ p, strcspn(p, "{"), false };
        *at = p + out->n;
    }
    return true;
}

static bool is_named(const struct piece *p, const char *name)
{
    return p->is_name && p->n == strlen(name) && memcmp(p->text, name, p->n) == 0;
}

static bool is_special(const struct piece *p)
{
    return p->is_name && !is_named(p, "system") && !is_named(p, "user") && !is_named(p, "input") &&
           !is_named(p, "answer");
}

/* Its id, or -1. */
static int32_t special_id(const struct tokenizer *tok, const struct piece *p)
{
    if (is_named(p, "bos")) return tokenizer_bos(tok);
    if (is_named(p, "eos")) return tokenizer_eos(tok);
    char text[64];
    CHECK(p->n < sizeof text);
    memcpy(text, p->text, p->n);
    text[p->n] = 0;
    return tokenizer_special(tok, text);
}

/* Whether a special token of the row is not in the tokenizer; *out is it. */
static bool lacks(struct piece *out, const struct template *t, const struct tokenizer *tok)
{
    const char *parts[] = { t->system, t->user, t->input, t->assistant };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (const char *at = parts[i]; next_piece(out, &at);) {
            if (is_special(out) && special_id(tok, out) < 0) return true;
        }
    }
    return false;
}

int template_check(const struct template *t, const struct tokenizer *tok, struct err *e)
{
    t = row_of(t);
    struct piece missing, other;
    if (!lacks(&missing, t, tok)) return 0;
    struct str works = { 0 };
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (!lacks(&other, &templates[i], tok)) str_addf(&works, " %s", templates[i].name);
    }
    int code = str_error(&works, e);
    if (!code) {
        code = err_usage(e,
                         "data.template: %s places the special token %s, which the tokenizer "
                         "does not have; templates that would work:%s",
                         t->name, err_quote(missing.text, missing.n), works.n ? works.p : " none");
    }
    str_free(&works);
    return code;
}

bool template_stops(const struct template *t, const struct tokenizer *tok, int32_t id)
{
    if (tokenizer_is_eos(tok, id)) return true;
    bool behind = false;
    struct piece p;
    for (const char *at = row_of(t)->assistant; next_piece(&p, &at);) {
        if (behind && is_special(&p)) return special_id(tok, &p) == id;
        behind = behind || is_named(&p, "answer");
    }
    return false;
}

/* ---- runs --------------------------------------------------------------------------------------
 */

struct span {
    const char *text;
    size_t n;
};

/* What a character says about the tokens that cover it: one TARGET makes a token a target, unless a
 * NEVER, of an answer that is not to be learnt, forbids it. */
enum mark { OTHER, TARGET, NEVER };

struct render {
    const struct template *t;
    const struct tokenizer *tok;
    struct encoded *x;
    bool all;      /* train_on: everything */
    bool on_eos;   /* train_on_eos */
    enum mark now; /* of what is written next */
    bool answered; /* an answer was written whose EOS is still to come */
    struct err *e;
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

/* Tokenise the run that was collected. */
static int flush(struct render *r)
{
    struct encoded *x = r->x;
    int code = str_error(&x->run, r->e);
    if (!code) code = str_error(&x->mask, r->e);
    if (code || x->run.n == 0) return code;
    size_t from = x->tokens.n;
    code = tokenizer_encode(r->tok, &x->tokens, x->run.p, x->run.n, 0, r->e);
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

/* Tokenizers' spans are 32 bits wide. */
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

static int add_special(struct render *r, const struct piece *p)
{
    int32_t id = special_id(r->tok, p);
    if (id < 0) return template_check(r->t, r->tok, r->e);
    int code = flush(r);
    if (!code) code = tokens_add(&r->x->tokens, id, 0, 0, r->e);
    if (!code) code = add_flag(r->x, r->x->tokens.n - 1, r->now == TARGET, r->e);
    if (code || !r->answered) return code;
    r->answered = false;
    r->now = r->all ? TARGET : OTHER;
    return add_end(r->x, r->e);
}

/* ---- turns -------------------------------------------------------------------------------------
 */

struct parts {
    struct span system, user, input, answer;
    bool trained; /* the answer */
};

static int add_part(struct render *r, const struct piece *p, const struct parts *v)
{
    if (!p->is_name) return add_text(r, p->text, p->n, r->now);
    if (is_special(p)) return add_special(r, p);
    if (is_named(p, "answer")) {
        r->now = !v->trained ? NEVER : r->on_eos ? TARGET : OTHER;
        r->answered = true;
        return add_text(r, v->answer.text, v->answer.n, v->trained ? TARGET : NEVER);
    }
    const struct span *s = is_named(p, "system") ? &v->system
                           : is_named(p, "user") ? &v->user
                                                 : &v->input;
    return add_text(r, s->text, s->n, r->now);
}

static int add_format(struct render *r, const char *format, const struct parts *v)
{
    struct piece p;
    int code = 0;
    for (const char *at = format; !code && next_piece(&p, &at);) code = add_part(r, &p, v);
    return code;
}

/* What Python's str.strip() takes for white space, as the chat templates that strip are Python's.
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

/* The text of a user turn: with its input when that has no heading of its own, with the system text
 * when that is folded into it. */
static int user_text(struct span *out, struct render *r, const struct turn *t,
                     const struct span *folded)
{
    const struct template *row = r->t;
    *out = (struct span){ t->text, t->n };
    bool joins = t->input && !row->input;
    if (joins || folded) {
        struct str *s = &r->x->content;
        str_clear(s);
        struct piece p;
        for (const char *at = folded ? row->fold : "{user}"; next_piece(&p, &at);) {
            bool system = is_named(&p, "system");
            if (system) str_add(s, folded->text, folded->n);
            if (!p.is_name) str_add(s, p.text, p.n);
            if (is_named(&p, "user")) str_add(s, t->text, t->n);
        }
        if (joins) str_addz(s, "\n\n");
        if (joins) str_add(s, t->input, t->input_n);
        int code = str_error(s, r->e);
        if (code) return code;
        *out = (struct span){ s->p, s->n };
    }
    if (row->strips) *out = strip(*out);
    return 0;
}

static int add_user(struct render *r, const struct turn *t, const struct span *folded, bool first)
{
    struct parts v = { .input = { t->input, t->input_n } };
    int code = user_text(&v.user, r, t, folded);
    if (!code && !first) code = add_format(r, r->t->between, &v);
    if (!code) code = add_format(r, r->t->user, &v);
    if (!code && t->input) code = add_format(r, r->t->input, &v);
    return code;
}

/* Turn i cannot stand where it stands. */
static int check_order(const struct render *r, const struct conversation *c)
{
    if (!r->t->alternates) return 0;
    size_t from = c->n > 0 && c->turns[0].role == ROLE_SYSTEM;
    for (size_t i = from; i < c->n; i++) {
        enum role wanted = (i - from) % 2 ? ROLE_ASSISTANT : ROLE_USER;
        if (c->turns[i].role == wanted) continue;
        return err_set(r->e,
                       "turn %zu: found %s, wanted %s: the template %s takes user and "
                       "assistant in turn, and a system text only in front",
                       i + 1, role_name(c->turns[i].role), role_name(wanted), r->t->name);
    }
    return 0;
}

/* The system text in front: the record's, else the row's. False when there is none. */
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

static int add_turns(struct render *r, const struct conversation *c, enum train_on train_on)
{
    struct parts v = { 0 };
    bool has_system = system_text(&v.system, r->t, c);
    bool folds = has_system && r->t->fold;
    int code = has_system && !folds ? add_format(r, r->t->system, &v) : 0;
    size_t last = c->n;
    while (last > 0 && c->turns[last - 1].role != ROLE_ASSISTANT) last--;
    size_t from = c->n && c->turns[0].role == ROLE_SYSTEM, users = 0;
    for (size_t i = from; !code && i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        struct span text = { t->text, t->n };
        if (t->role == ROLE_USER) {
            code = add_user(r, t, folds && users == 0 ? &v.system : NULL, users == 0);
            users++;
        } else if (t->role == ROLE_SYSTEM) {
            code = add_format(r, r->t->system, &(struct parts){ .system = text });
        } else {
            bool trained = t->train && (train_on != TRAIN_ON_LAST_RESPONSE || i + 1 == last);
            struct parts answer = { .answer = r->t->strips ? strip(text) : text,
                                    .trained = trained };
            code = add_format(r, r->t->assistant, &answer);
        }
    }
    return code;
}

/* ---- examples ----------------------------------------------------------------------------------
 */

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

/* Forget what an earlier encoding left, and place the BOS that the tokenizer wants, unless the row
 * writes its own. */
static int begin(struct render *r, bool with_row)
{
    struct encoded *x = r->x;
    x->tokens.n = x->n_ends = 0;
    str_clear(&x->run);
    str_clear(&x->mask);
    bool own = with_row && strncmp(r->t->user, "{bos}", 5) == 0;
    if (own || !r->tok || !tokenizer_adds_bos(r->tok)) return 0;
    return add_special(r, &(struct piece){ "bos", 3, true });
}

int template_encode(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, const struct render_options *o, struct err *e)
{
    bool all = o->train_on == TRAIN_ON_EVERYTHING;
    struct render r = { row_of(t), tok, out, all, o->train_on_eos, all ? TARGET : OTHER, false, e };
    int code = 0;
    if (c->kind == RECORD_TOKENS) {
        out->tokens.n = out->n_ends = 0;
        code = encode_ids(out, c, e);
    } else if (c->kind == RECORD_TEXT) {
        CHECK(c->n == 1);
        r.all = true; /* every token of a text, and with train_on_eos its EOS */
        struct parts v = { .answer = { c->turns[0].text, c->turns[0].n }, .trained = true };
        code = begin(&r, false);
        if (!code) code = add_format(&r, "{answer}{eos}", &v);
    } else {
        code = check_order(&r, c);
        if (!code) code = begin(&r, true);
        if (!code) code = add_turns(&r, c, o->train_on);
        if (!code) code = flush(&r);
    }
    if (!code && out->tokens.n) out->target[0] = 0;
    return code;
}

/* The row's header of an answer without the spaces at its end: the answer's first word brings its
 * own. */
static int add_header(struct render *r)
{
    const char *header = r->t->assistant, *answer = strstr(header, "{answer}");
    CHECK(answer);
    const char *end = answer;
    while (end > header && end[-1] == ' ') end--;
    struct parts none = { 0 };
    struct piece p;
    int code = 0;
    for (const char *at = header; !code && at < end && next_piece(&p, &at);) {
        if (!p.is_name && p.text + p.n > end) p.n = (size_t)(end - p.text);
        code = add_part(r, &p, &none);
    }
    return code;
}

int template_prompt(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, struct err *e)
{
    struct render r = { .t = row_of(t), .tok = tok, .x = out, .e = e };
    bool is_text = c->kind == RECORD_TEXT;
    CHECK(c->kind != RECORD_TOKENS && c->n > 0);
    if (!is_text && c->turns[c->n - 1].role != ROLE_USER) {
        return err_set(e, "a prompt ends with the %s's turn, wanted the user's",
                       role_name(c->turns[c->n - 1].role));
    }
    int code = is_text ? 0 : check_order(&r, c);
    if (!code) code = begin(&r, !is_text);
    if (!code && is_text) code = add_text(&r, c->turns[0].text, c->turns[0].n, OTHER);
    if (!code && !is_text) code = add_turns(&r, c, TRAIN_ON_RESPONSES);
    if (!code && !is_text) code = add_header(&r);
    if (!code) code = flush(&r);
    if (!code && out->tokens.n) memset(out->target, 0, out->tokens.n);
    return code;
}
