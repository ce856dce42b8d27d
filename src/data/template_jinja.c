#include "src/data/template_jinja.h"

#include <string.h>

#include "src/data/template_tokens.h"

struct writer {
    struct str *out;
    const struct template *t;
    const struct tokenizer *tok;
    bool after_special; /* the last thing written is a special token */
    bool spelt;         /* a text spells one */
    bool control;       /* a text has a byte that no Jinja string can hold */
};

/* Add a Jinja string. */
static void add_string(struct writer *w, const char *text, size_t n)
{
    static const char bytes[] = "\n\r\t\\'", names[] = "nrt\\'";
    size_t length;
    str_addc(w->out, '\'');
    for (size_t i = 0; i < n; i++) {
        const char *at = text[i] ? strchr(bytes, text[i]) : NULL;
        if (at) {
            str_add(w->out, (char[]){ '\\', names[at - bytes] }, 2);
        } else {
            str_addc(w->out, text[i]);
        }
        w->control |= !at && (unsigned char)text[i] < ' ';
        w->spelt |= template_spelt_special(&length, w->tok, text + i, n - i) >= 0;
    }
    str_addc(w->out, '\'');
}

static void add_special(struct writer *w, const struct template_piece *p)
{
    int32_t bos = tokenizer_bos(w->tok);
    size_t n = 0;
    const char *text = bos >= 0 ? tokenizer_piece(w->tok, bos, &n) : "";
    bool is_bos = piece_is(p, "bos") || (p->n == n && !memcmp(p->text, text, n));
    if (is_bos || piece_is(p, "eos")) {
        str_addz(w->out, is_bos ? "bos_token" : "eos_token");
        return;
    }
    str_addc(w->out, '\'');
    for (size_t i = 0; i < p->n; i++) {
        if (p->text[i] == '\'' || p->text[i] == '\\') str_addc(w->out, '\\');
        str_addc(w->out, p->text[i]);
    }
    str_addc(w->out, '\'');
}

static void add_text(struct writer *w, const char *text, size_t n)
{
    bool own = w->t->spaced && w->after_special && *text == ' ' && tokenizer_prefixes(w->tok, 0);
    add_string(w, text + own, n - own);
}

/* Add a part as a sum of strings; the record's text in it is the expression `text`. For NULL the
 * part ends there, without the spaces before it, like a prompt. */
static void add_sum(struct writer *w, const char *part, const char *text)
{
    struct template_piece p;
    const char *plus = "";
    bool ends = false;
    for (const char *at = part; !ends && piece_next(&p, &at);) {
        bool names_text = p.is_name && !piece_is_special(&p) && !piece_is(&p, "date");
        size_t n = p.n;
        if (names_text && !text) break;
        const char *answer = text || p.is_name ? NULL : part_find(part, "answer");
        if (answer && answer == at) {
            ends = true;
            while (n && p.text[n - 1] == ' ') n--;
            if (!n) break;
        }
        str_addz(w->out, plus);
        plus = " + ";
        if (names_text) {
            str_addz(w->out, text);
        } else if (piece_is(&p, "date")) {
            add_string(w, w->t->date, strlen(w->t->date));
        } else if (piece_is_special(&p)) {
            add_special(w, &p);
        } else {
            add_text(w, p.text, n);
        }
        w->after_special = piece_is_special(&p);
    }
    if (!*plus) str_addz(w->out, "''");
}

static void add_print(struct writer *w, const char *part, const char *text)
{
    if (!part || !*part) return;
    str_addz(w->out, "{{- ");
    add_sum(w, part, text);
    str_addz(w->out, " -}}");
}

/* Add the system text and the first user text as one text, where a row folds. */
static void add_fold(struct writer *w)
{
    struct template_piece p;
    const char *plus = "";
    for (const char *at = w->t->fold; piece_next(&p, &at);) {
        str_addz(w->out, plus);
        plus = " + ";
        if (piece_is(&p, "system")) {
            str_addz(w->out, "system");
        } else if (p.is_name) {
            str_addz(w->out, "message['content']");
        } else {
            add_string(w, p.text, p.n);
        }
    }
}

static void add_begin(struct writer *w)
{
    bool bos = !w->t->begin && tokenizer_adds_bos(w->tok) && tokenizer_bos(w->tok) >= 0;
    add_print(w, w->t->begin ? w->t->begin : bos ? "{bos}" : "", "''");
    w->after_special = true;
}

/* Add the values known before the first turn: the system text, and the user turn for it. */
static void add_front(struct writer *w)
{
    const struct template *t = w->t;
    const char *text = t->default_system;
    str_addz(w->out, "{%- set ns = namespace(turns=0, users=0, last=0) -%}");
    if (t->fold) {
        str_addz(w->out, "{%- if messages[0]['role'] == 'system' -%}"
                         "{%- set system = messages[0]['content'] -%}{%- else -%}"
                         "{%- set system = ");
        if (text) {
            add_string(w, text, strlen(text));
        } else {
            str_addz(w->out, "false");
        }
        str_addz(w->out, " -%}{%- endif -%}");
    } else if (t->system && text) {
        struct str value = { 0 };
        struct writer inner = *w;
        inner.out = &value;
        if (t->strip) str_addc(&value, '(');
        add_string(&inner, text, strlen(text));
        if (t->strip) str_addz(&value, " | trim)");
        w->control |= inner.control;
        w->spelt |= inner.spelt;
        str_addz(w->out, "{%- if messages[0]['role'] != 'system' -%}");
        add_print(w, t->system, value.p ? value.p : "''");
        str_addz(w->out, "{%- endif -%}");
        if (value.failed) w->out->failed = true;
        str_free(&value);
    }
    if (t->fold_last) {
        str_addz(w->out, "{%- for message in messages -%}{%- if message['role'] == 'user' or "
                         "message['role'] == 'tool' -%}{%- set ns.last = loop.index0 -%}"
                         "{%- endif -%}{%- endfor -%}");
    }
}

static void add_system(struct writer *w)
{
    const struct template *t = w->t;
    str_addz(w->out, "{%- if message['role'] == 'system' -%}");
    if (!t->system && !t->fold) {
        str_addz(w->out, "{{- raise_exception('This template has no place for a system text') -}}");
        return;
    }
    if (t->alternate || t->fold) {
        str_addz(w->out, "{%- if not loop.first -%}{{- raise_exception('A system text has to come "
                         "first') -}}{%- endif -%}");
    }
    add_print(w, t->system, t->strip ? "(message['content'] | trim)" : "message['content']");
}

static void add_answer(struct writer *w)
{
    const char *strip = "(message['content'] | trim)";
    str_addz(w->out, "{%- elif message['role'] == 'assistant' -%}");
    struct template_piece p = { 0 };
    for (const char *at = w->t->user; piece_next(&p, &at);) continue;
    w->after_special = piece_is_special(&p);
    add_print(w, w->t->assistant, w->t->strip ? strip : "message['content']");
}

static void add_user(struct writer *w)
{
    const struct template *t = w->t;
    const char *text = t->fold ? "text" : "message['content']";
    str_addz(w->out, "{%- elif message['role'] == 'user' or message['role'] == 'tool' -%}");
    if (t->fold) {
        str_addf(w->out, "{%%- if system != false and %s -%%}{%%- set text = ",
                 t->fold_last ? "loop.index0 == ns.last" : "ns.users == 0");
        add_fold(w);
        str_addz(w->out, " -%}{%- else -%}{%- set text = message['content'] -%}{%- endif -%}");
    }
    if (t->strip) text = t->fold ? "(text | trim)" : "(message['content'] | trim)";
    w->after_special = true;
    if (t->between && *t->between) {
        str_addz(w->out, "{%- if ns.users > 0 -%}");
        add_print(w, t->between, "''");
        str_addz(w->out, "{%- endif -%}");
    }
    if (t->tool) {
        str_addz(w->out, "{%- if message['role'] == 'tool' -%}");
        add_print(w, t->tool, text);
        str_addz(w->out, "{%- else -%}");
    }
    add_print(w, t->user, text);
    if (t->tool) str_addz(w->out, "{%- endif -%}");
    str_addz(w->out, "{%- set ns.users = ns.users + 1 -%}{%- else -%}"
                     "{{- raise_exception('Only the roles system, user, assistant and tool are "
                     "known') -}}{%- endif -%}");
}

static void add_order(struct writer *w)
{
    if (!w->t->alternate) return;
    str_addz(w->out, "{%- if message['role'] != 'system' -%}"
                     "{%- if (message['role'] == 'assistant') != (ns.turns % 2 == 1) -%}"
                     "{{- raise_exception('User and assistant have to take turns') -}}"
                     "{%- endif -%}{%- set ns.turns = ns.turns + 1 -%}{%- endif -%}");
}

int template_to_jinja(struct str *out, const char **why, const struct template *t,
                      const struct tokenizer *tok, struct err *e)
{
    struct writer w = { .out = out, .t = t ? t : template_named("plain"), .tok = tok };
    add_begin(&w);
    add_front(&w);
    str_addz(out, "{%- for message in messages -%}");
    add_order(&w);
    add_system(&w);
    add_answer(&w);
    add_user(&w);
    str_addz(out, "{%- endfor -%}{%- if add_generation_prompt -%}");
    add_print(&w, w.t->assistant, NULL);
    str_addz(out, "{%- endif -%}");
    *why = w.control ? "a text in it has a control character"
           : w.spelt ? "a text in it spells a special token, which was trained as letters"
                     : NULL;
    return str_error(out, e);
}
