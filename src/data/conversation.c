#include "src/data/conversation.h"

#include <string.h>

#include "src/base/mem.h"

const char *role_name(enum role r)
{
    static const char *const names[] = { "system", "user", "assistant", "tool" };
    return names[r];
}

const char *fault_name(enum fault f)
{
#define NAME(upper, text) text,
    static const char *const names[] = { RECORD_FAULTS(NAME) };
    return names[f];
}

void conversation_clear(struct conversation *c, enum record_kind kind)
{
    c->kind = kind;
    c->n = c->n_ids = 0;
    c->forest = c->every_path = c->chosen = false;
    str_clear(&c->text);
    str_clear(&c->remarks);
}

void conversation_free(struct conversation *c)
{
    mem_free(c->turns);
    mem_free(c->ids);
    mem_free(c->labels);
    str_free(&c->text);
    str_free(&c->remarks);
    *c = (struct conversation){ 0 };
}

/* Make room for n more bytes of text. Turns point into it, so a move takes them along. */
static int reserve(struct conversation *c, size_t n, struct err *e)
{
    size_t need;
    if (!mem_add(&need, c->text.n, n)) return err_set(e, "out of memory: a text of %zu bytes", n);
    if (need <= c->text.cap) return 0;
    size_t cap = need + need / 2 + 64;
    char *p = mem_alloc(cap, 1, e);
    if (!p) return e->code;
    if (c->text.n) memcpy(p, c->text.p, c->text.n);
    for (size_t i = 0; i < c->n; i++) {
        struct turn *t = &c->turns[i];
        t->text = p + (t->text - c->text.p);
        if (t->input) t->input = p + (t->input - c->text.p);
    }
    mem_free(c->text.p);
    c->text.p = p;
    c->text.cap = cap;
    return 0;
}

/* Store the bytes and a NUL after them. */
static int store(const char **out, struct conversation *c, const char *text, size_t n,
                 struct err *e)
{
    size_t with_nul;
    if (!mem_add(&with_nul, n, 2)) return err_set(e, "out of memory: a text of %zu bytes", n);
    int code = reserve(c, with_nul, e); /* str_add() needs room for its own NUL */
    if (code) return code;
    size_t at = c->text.n;
    str_add(&c->text, text, n);
    str_addc(&c->text, 0);
    *out = c->text.p + at;
    return str_error(&c->text, e);
}

int conversation_add(struct conversation *c, enum role role, const char *text, size_t n,
                     struct err *e)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 8;
        struct turn *turns = mem_resize(c->turns, cap, sizeof *turns, e);
        if (!turns) return e->code;
        c->turns = turns;
        c->cap = cap;
    }
    struct turn t = { .role = role, .n = n, .train = role == ROLE_ASSISTANT, .parent = TURN_ROOT };
    int code = store(&t.text, c, text, n, e);
    if (code) return code;
    c->turns[c->n++] = t;
    return 0;
}

int conversation_extend(struct conversation *c, const char *text, size_t n, struct err *e)
{
    CHECK(c->n > 0 && !c->turns[c->n - 1].input);
    struct turn *t = &c->turns[c->n - 1];
    CHECK(t->text + t->n + 1 == c->text.p + c->text.n);
    c->text.n--; /* the NUL; the next bytes take its place */
    const char *more;
    int code = store(&more, c, text, n, e);
    if (code) return code;
    t->n += n;
    return 0;
}

int conversation_add_input(struct conversation *c, const char *text, size_t n, struct err *e)
{
    CHECK(c->n > 0);
    if (n == 0) return 0;
    const char *input;
    int code = store(&input, c, text, n, e);
    if (code) return code;
    c->turns[c->n - 1].input = input;
    c->turns[c->n - 1].input_n = n;
    return 0;
}

void conversation_remark(struct conversation *c, enum remark kind, const char *name)
{
    size_t n = strlen(name) + 1;
    char letter = (char)('a' + kind);
    for (const char *p = c->remarks.p, *end = p ? p + c->remarks.n : p; p < end;) {
        if (*p == letter && strcmp(p + 1, name) == 0) return;
        p += strlen(p) + 1;
    }
    if (c->remarks.n + n + 1 > CONVERSATION_REMARKS_BYTES) return;
    str_addc(&c->remarks, letter);
    str_add(&c->remarks, name, n);
}

void conversation_exclude(struct conversation *c)
{
    for (size_t i = 0; i < c->n; i++) {
        c->turns[i].train = false;
        c->turns[i].context = true;
    }
    for (size_t i = 0; i < c->n_ids; i++) c->labels[i] = LABEL_NONE;
}

int conversation_add_id(struct conversation *c, int32_t id, int32_t label, struct err *e)
{
    if (c->n_ids == c->ids_cap) {
        size_t cap = c->ids_cap ? 2 * c->ids_cap : 256;
        int32_t *ids = mem_resize(c->ids, cap, sizeof *ids, e);
        if (!ids) return e->code;
        c->ids = ids;
        int32_t *labels = mem_resize(c->labels, cap, sizeof *labels, e);
        if (!labels) return e->code;
        c->labels = labels;
        c->ids_cap = cap;
    }
    c->ids[c->n_ids] = id;
    c->labels[c->n_ids++] = label;
    return 0;
}
