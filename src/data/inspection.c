#include "src/data/inspection.h"

#include <omp.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/data/digests.h"

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20 };

struct inspect_slot {
    struct record_slice slice;
    unsigned found; /* 1u << enum found */
    struct digest *answers;
    size_t n_answers, answers_cap;
    size_t messages;
    int code;
    enum fault fault;
    struct str remarks;
    struct err e;
};

const char *finding_name(enum found f)
{
#define NAME(id, key, name) name,
    static const char *const names[] = { INSPECT_FINDINGS(NAME) };
    return names[f];
}

const char *finding_key(enum found f)
{
#define KEY(id, key, name) key,
    static const char *const keys[] = { INSPECT_FINDINGS(KEY) };
    return keys[f];
}

/* ---- what a text holds ----------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has(const char *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what)) != NULL;
}

static bool has_private_key(const char *text, size_t n)
{
    static const char begin[] = "-----BEGIN ", end[] = "PRIVATE KEY";
    enum { LABEL = 32 };
    const char *last = text + n;
    for (const char *at = text; (at = memmem(at, (size_t)(last - at), begin, sizeof begin - 1));) {
        at += sizeof begin - 1;
        size_t left = (size_t)(last - at), label = left < LABEL ? left : LABEL;
        if (memmem(at, label, end, sizeof end - 1)) return true;
    }
    return false;
}

static bool has_access_token(const char *text, size_t n)
{
    static const struct {
        const char *prefix;
        size_t behind; /* the least number of letters, digits, - and _ after it */
    } tokens[] = {
        { "AKIA", 16 },        { "ASIA", 16 },   { "ghp_", 36 },  { "gho_", 36 },
        { "github_pat_", 40 }, { "glpat-", 20 }, { "xoxb-", 20 }, { "xoxp-", 20 },
        { "AIza", 35 },        { "sk-", 32 },    { "hf_", 30 },   { "npm_", 36 },
        { "sk_live_", 20 },
    };
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
        const char *at = text, *last = text + n;
        size_t prefix = strlen(tokens[t].prefix);
        while ((at = memmem(at, (size_t)(last - at), tokens[t].prefix, prefix))) {
            bool begins = at == text || !is_alnum(at[-1]);
            const char *end = at += prefix;
            while (end < last && (is_alnum(*end) || *end == '-' || *end == '_')) end++;
            if (begins && (size_t)(end - at) >= tokens[t].behind) return true;
        }
    }
    return false;
}

/* letters@name.name, the last name of letters alone. */
static bool has_email(const char *text, size_t n)
{
    const char *last = text + n, *at = text;
    while ((at = memchr(at, '@', (size_t)(last - at)))) {
        const char *end = ++at, *dot = NULL;
        bool before = at - 1 > text && (is_alnum(at[-2]) || strchr("._%+-", at[-2]));
        while (end < last && (is_alnum(*end) || *end == '-' ||
                              (*end == '.' && end + 1 < last && is_alnum(end[1])))) {
            if (*end == '.') dot = end;
            end++;
        }
        if (!before || !dot || dot == at || end - dot < 3) continue;
        bool letters = true;
        for (const char *p = dot + 1; p < end; p++) letters = letters && is_alpha(*p);
        if (letters) return true;
    }
    return false;
}

static bool has_marks(const char *text, size_t n)
{
    static const char *const marks[] = {
        "</s>",          "[INST]",        "[/INST]",    "<|im_start|>",
        "<|im_end|>",    "<<SYS>>",       "<|eot_id|>", "<|start_header_id|>",
        "<|endoftext|>", "### Response:",
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has(text, n, marks[i])) return true;
    return false;
}

static bool has_control(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 32 && c != '\n' && c != '\t' && c != '\r') || c == 127) return true;
    }
    return false;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", text[i]) || text[i] == 0) return false;
    return true;
}

static unsigned look_at(const char *text, size_t n)
{
    unsigned found = 0;
    if (has_marks(text, n)) found |= 1u << FOUND_MARKS;
    if (has(text, n, "\xef\xbf\xbd")) found |= 1u << FOUND_REPLACED;
    if (has_control(text, n)) found |= 1u << FOUND_CONTROL;
    if (has_private_key(text, n)) found |= 1u << FOUND_KEY;
    if (has_access_token(text, n)) found |= 1u << FOUND_ACCESS;
    if (has_email(text, n)) found |= 1u << FOUND_EMAIL;
    return found;
}

/* ---- records --------------------------------------------------------------------------------- */

static int add_answer(struct inspect_slot *s, const struct turn *t)
{
    if (s->n_answers == s->answers_cap) {
        size_t cap = s->answers_cap ? 2 * s->answers_cap : 4;
        struct digest *answers = mem_resize(s->answers, cap, sizeof *answers, &s->e);
        if (!answers) return s->e.code;
        s->answers = answers;
        s->answers_cap = cap;
    }
    return digest_of_bytes(&s->answers[s->n_answers++], t->text, t->n, &s->e);
}

static void look_at_slot(struct inspect_slot *s, struct conversation *c, const struct records *r)
{
    s->found = 0;
    s->n_answers = 0;
    s->code = records_parse(r, &s->slice, c, &s->e);
    s->fault = c->fault;
    s->messages = c->kind == RECORD_TOKENS ? 1 : c->n;
    if (s->code) return;
    if (c->remarks.n) str_add(&s->remarks, c->remarks.p, c->remarks.n);
    s->code = str_error(&s->remarks, &s->e);
    if (s->code || c->kind == RECORD_TOKENS) return;
    bool whole_texts = c->kind == RECORD_TEXT || c->kind == RECORD_SEGMENTS;
    for (size_t i = 0; !s->code && i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        s->found |= look_at(t->text, t->n);
        if (t->input) s->found |= look_at(t->input, t->input_n);
        if (t->role != ROLE_ASSISTANT || whole_texts) continue;
        if (is_blank(t->text, t->n)) {
            s->found |= 1u << FOUND_EMPTY_ANSWER;
        } else {
            s->code = add_answer(s, t);
        }
    }
    if (c->kind == RECORD_SEGMENTS) s->found &= ~(1u << FOUND_MARKS); /* intended there */
}

static void note(struct inspection *out, enum found f, size_t line)
{
    struct finding *x = &out->found[f];
    if (x->n < FINDING_LINES) x->lines[x->n] = line;
    x->n++;
}

static int take(struct inspection *out, struct digests *answers, const struct inspect_slot *s,
                struct err *e)
{
    out->records++;
    if (s->code) {
        if (s->code == ERR_MEMORY) {
            *e = s->e;
            return s->code;
        }
        if (out->bad < MALFORMED_SHOWN) out->malformed[out->bad] = s->e;
        out->bad++;
        out->faults[s->fault]++;
        return 0;
    }
    out->messages += s->messages;
    remarks_take(&out->remarks, &s->remarks);
    bool same = false;
    for (size_t i = 0; i < s->n_answers; i++) {
        uint32_t copies;
        int code = digests_put(answers, &copies, &s->answers[i], e);
        if (code) return code;
        same = same || copies > 0;
    }
    for (int f = 0; f < FOUND_KINDS; f++) {
        if (s->found & 1u << f || (f == FOUND_SAME_ANSWER && same))
            note(out, (enum found)f, s->slice.line);
    }
    return 0;
}

static size_t cut_batch(struct inspect_slot *slots, struct records *r)
{
    size_t n = 0, bytes = 0;
    bool more = true;
    while (n < BATCH_RECORDS && bytes < BATCH_BYTES) {
        struct inspect_slot *s = &slots[n];
        s->slice = (struct record_slice){ 0 };
        str_clear(&s->remarks);
        s->code = records_slice(r, &s->slice, &more, &s->e);
        s->fault = s->slice.fault;
        if (!s->code && !more) break;
        bytes += s->slice.n;
        n++;
    }
    return n;
}

static int read_all(struct inspection *out, struct records *r, struct inspect_slot *slots,
                    struct conversation *threads, struct err *e)
{
    struct digests answers = { 0 };
    int code = 0;
    for (size_t n; !code && (n = cut_batch(slots, r)) > 0;) {
#pragma omp parallel for schedule(dynamic, 4)
        for (size_t i = 0; i < n; i++)
            if (!slots[i].code) look_at_slot(&slots[i], &threads[omp_get_thread_num()], r);
        for (size_t i = 0; !code && i < n; i++) code = take(out, &answers, &slots[i], e);
        records_release(r);
    }
    out->most_identical = digests_most(&answers);
    digests_free(&answers);
    return code;
}

int inspect(struct inspection *out, const char *path, const struct records_options *o,
            struct err *e)
{
    struct records *r;
    size_t n_threads = (size_t)omp_get_max_threads();
    *out = (struct inspection){ 0 };
    int code = records_open(&r, path, o, e);
    if (code) return code;
    out->format = records_format(r);
    struct conversation *threads = mem_alloc(n_threads, sizeof *threads, e);
    struct inspect_slot *slots = threads ? mem_alloc(BATCH_RECORDS, sizeof *slots, e) : NULL;
    code = slots ? read_all(out, r, slots, threads, e) : e->code;
    for (size_t i = 0; threads && i < n_threads; i++) conversation_free(&threads[i]);
    for (size_t i = 0; slots && i < BATCH_RECORDS; i++) {
        mem_free(slots[i].answers);
        str_free(&slots[i].remarks);
    }
    mem_free(threads);
    mem_free(slots);
    records_close(r);
    return code;
}
