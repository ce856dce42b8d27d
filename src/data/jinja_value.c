#include "src/data/jinja_value.h"

#include <stdio.h>
#include <string.h>

/* ---- words ----------------------------------------------------------------------------------- */

const struct jinja_word *jinja_word_at(const struct jinja_reader *r)
{
    return &r->words->word[r->at];
}

const char *jinja_bytes_of(const struct jinja_reader *r, const struct jinja_word *w)
{
    return r->words->bytes.p + w->at;
}

int jinja_refuse(struct jinja_reader *r, const char *what)
{
    if (r->dead) return 0;
    const struct jinja_word *w = jinja_word_at(r);
    return err_set(r->e, "%s at %s is not supported", what, err_quote(jinja_bytes_of(r, w), w->n));
}

static bool is_word(const struct jinja_reader *r, enum jinja_kind kind, const char *text)
{
    const struct jinja_word *w = jinja_word_at(r);
    return w->kind == kind && w->n == strlen(text) && !memcmp(jinja_bytes_of(r, w), text, w->n);
}

bool jinja_is_sign(const struct jinja_reader *r, const char *text)
{
    return is_word(r, JINJA_SIGN, text);
}

bool jinja_is_name(const struct jinja_reader *r, const char *text)
{
    return is_word(r, JINJA_NAME, text);
}

bool jinja_skip_sign(struct jinja_reader *r, const char *text)
{
    bool is = jinja_is_sign(r, text);
    r->at += is;
    return is;
}

bool jinja_skip_name(struct jinja_reader *r, const char *text)
{
    bool is = jinja_is_name(r, text);
    r->at += is;
    return is;
}

/* The structure must be right even where the value makes no difference. */
int jinja_want(struct jinja_reader *r, const char *sign)
{
    if (jinja_skip_sign(r, sign)) return 0;
    return err_set(r->e, "a %s is missing", sign);
}

int jinja_want_close(struct jinja_reader *r)
{
    if (jinja_word_at(r)->kind != JINJA_CLOSE)
        return err_set(r->e, "a tag has words that are not known");
    r->at++;
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

struct jinja_value jinja_boolean(bool on)
{
    return (struct jinja_value){ .kind = JINJA_BOOLEAN, .number = on };
}

struct jinja_value jinja_number(long n)
{
    return (struct jinja_value){ .kind = JINJA_IS_NUMBER, .number = n };
}

const char *jinja_text_of(const struct jinja_reader *r, const struct jinja_value *v)
{
    return v->n ? r->pool.p + v->at : "";
}

/* Make a value of the bytes that were added to the pool since `from`. */
int jinja_finish_text(struct jinja_value *v, struct jinja_reader *r, size_t from)
{
    if (r->pool.n > JINJA_POOL_BYTES) return err_set(r->e, "it makes too much text");
    *v = (struct jinja_value){ .kind = JINJA_IS_TEXT, .at = from, .n = r->pool.n - from };
    return str_error(&r->pool, r->e);
}

int jinja_make_text(struct jinja_value *v, struct jinja_reader *r, const char *bytes, size_t n)
{
    size_t from = r->pool.n;
    str_add(&r->pool, bytes, n);
    return jinja_finish_text(v, r, from);
}

static int make_mark(struct jinja_value *v, struct jinja_reader *r, enum jinja_mark mark)
{
    return jinja_make_text(v, r, (char[]){ (char)mark }, 1);
}

/* Whether a text is empty; false and an error where that is not known. */
static bool is_empty(const struct jinja_reader *r, const struct jinja_value *v)
{
    const char *text = jinja_text_of(r, v);
    for (size_t i = 0; i < v->n; i++) {
        if (text[i] == MARK_TEXT) {
            if (!r->c->empty) return false;
            i++;
        } else if (text[i] != MARK_TRIM && text[i] != MARK_TRIM_END) {
            return false;
        }
    }
    return true;
}

bool jinja_is_true(const struct jinja_reader *r, const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOLEAN:
    case JINJA_IS_NUMBER:
        return v->number != 0;
    case JINJA_IS_TEXT:
        return !is_empty(r, v);
    case JINJA_LIST:
        return v->n > 0;
    default:
        return true;
    }
}

int jinja_add_value(struct jinja_reader *r, struct str *out, const struct jinja_value *v)
{
    switch (v->kind) {
    case JINJA_IS_TEXT:
        str_add(out, jinja_text_of(r, v), v->n);
        return 0;
    case JINJA_IS_NUMBER:
        str_addf(out, "%ld", v->number);
        return 0;
    case JINJA_UNDEFINED:
        return 0;
    default:
        return jinja_refuse(r, "printing a value that is not a text");
    }
}

int jinja_join(struct jinja_value *v, struct jinja_reader *r, const struct jinja_value *a,
               const struct jinja_value *b)
{
    struct str s = { 0 };
    int code = jinja_add_value(r, &s, a);
    if (!code) code = jinja_add_value(r, &s, b);
    if (!code) code = jinja_make_text(v, r, s.p ? s.p : "", s.n);
    if (!code) code = str_error(&s, r->e);
    str_free(&s);
    return code;
}

int jinja_equal(bool *same, struct jinja_reader *r, const struct jinja_value *a,
                const struct jinja_value *b)
{
    *same = false;
    bool numbers = (a->kind == JINJA_IS_NUMBER || a->kind == JINJA_BOOLEAN) &&
                   (b->kind == JINJA_IS_NUMBER || b->kind == JINJA_BOOLEAN);
    if (a->kind == JINJA_IS_TEXT && b->kind == JINJA_IS_TEXT) {
        const char *x = jinja_text_of(r, a), *y = jinja_text_of(r, b);
        *same = a->n == b->n && !memcmp(x, y, a->n);
        bool marks = jinja_has_marks(x, a->n) || jinja_has_marks(y, b->n);
        if (*same || !marks) return 0;
        if (!a->n || !b->n) {
            *same = is_empty(r, a) && is_empty(r, b);
            return 0;
        }
        return jinja_refuse(r, "comparing a message's text");
    }
    if (numbers || (a->kind == b->kind && a->kind == JINJA_TURN)) {
        *same = a->number == b->number;
        return 0;
    }
    if (a->kind != b->kind) return 0;
    if (a->kind == JINJA_UNDEFINED || a->kind == JINJA_NONE) {
        *same = true;
        return 0;
    }
    return jinja_refuse(r, "this comparison");
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct jinja_variable *find(struct jinja_reader *r, const char *name, size_t n, size_t space,
                                   size_t from)
{
    for (size_t i = r->n_variables; i-- > from;) {
        struct jinja_variable *v = &r->variable[i];
        if (v->space == space && v->n == n && !memcmp(v->name, name, n)) return v;
    }
    return NULL;
}

int jinja_assign(struct jinja_reader *r, const char *name, size_t n, size_t space,
                 const struct jinja_value *value)
{
    if (r->dead) return 0;
    struct jinja_variable *v = find(r, name, n, space, space ? 0 : r->scope);
    if (!v) {
        if (r->n_variables == JINJA_VARIABLES) return jinja_refuse(r, "this number of variables");
        v = &r->variable[r->n_variables++];
    }
    *v = (struct jinja_variable){ name, n, space, *value };
    return 0;
}

bool jinja_named(const char *name, size_t n, const char *word_)
{
    return n == strlen(word_) && !memcmp(name, word_, n);
}

int jinja_look_up(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n)
{
    const struct jinja_variable *known = find(r, name, n, 0, 0);
    *v = (struct jinja_value){ 0 };
    if (known) {
        *v = known->value;
    } else if (jinja_named(name, n, "true") || jinja_named(name, n, "True")) {
        *v = jinja_boolean(true);
    } else if (jinja_named(name, n, "false") || jinja_named(name, n, "False")) {
        *v = jinja_boolean(false);
    } else if (jinja_named(name, n, "none") || jinja_named(name, n, "None") ||
               jinja_named(name, n, "tools") || jinja_named(name, n, "documents")) {
        v->kind = JINJA_NONE;
    } else if (jinja_named(name, n, "bos_token")) {
        return make_mark(v, r, MARK_BOS);
    } else if (jinja_named(name, n, "eos_token")) {
        return make_mark(v, r, MARK_EOS);
    } else if (jinja_named(name, n, "add_generation_prompt")) {
        *v = jinja_boolean(r->c->prompt);
    } else if (jinja_named(name, n, "messages")) {
        v->kind = JINJA_LIST;
        v->n = r->c->n;
        for (size_t i = 0; i < v->n; i++) v->turn[i] = (uint8_t)i;
    } else if (jinja_named(name, n, "loop") && r->loop.over.kind) {
        v->kind = JINJA_LOOP;
    } else if (jinja_named(name, n, "raise_exception")) {
        *v = (struct jinja_value){ .kind = JINJA_FUNCTION, .number = JINJA_RAISE_EXCEPTION };
    } else if (jinja_named(name, n, "namespace")) {
        *v = (struct jinja_value){ .kind = JINJA_FUNCTION, .number = JINJA_NAMESPACE };
    } else if (n > 6 && !memcmp(name + n - 6, "_token", 6)) {
        return jinja_refuse(r, "another special token");
    }
    return 0;
}

int jinja_turn_attribute(struct jinja_value *v, struct jinja_reader *r, long turn, const char *name,
                         size_t n)
{
    *v = (struct jinja_value){ 0 };
    if (jinja_named(name, n, "role")) {
        const char *role = role_name(r->c->role[turn]);
        return jinja_make_text(v, r, role, strlen(role));
    }
    if (jinja_named(name, n, "content"))
        return jinja_make_text(v, r, (char[]){ MARK_TEXT, (char)('0' + turn) }, 2);
    return 0; /* a message has no other attribute */
}

struct jinja_value jinja_item(const struct jinja_value *list, long i)
{
    if (i < 0) i += (long)list->n;
    if (i < 0 || i >= (long)list->n) return (struct jinja_value){ 0 };
    return (struct jinja_value){ .kind = JINJA_TURN, .number = list->turn[i] };
}

static int loop_attribute(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n)
{
    long i = (long)r->loop.i, all = (long)r->loop.over.n;
    if (jinja_named(name, n, "index")) {
        *v = jinja_number(i + 1);
    } else if (jinja_named(name, n, "index0")) {
        *v = jinja_number(i);
    } else if (jinja_named(name, n, "revindex")) {
        *v = jinja_number(all - i);
    } else if (jinja_named(name, n, "revindex0")) {
        *v = jinja_number(all - i - 1);
    } else if (jinja_named(name, n, "length")) {
        *v = jinja_number(all);
    } else if (jinja_named(name, n, "first")) {
        *v = jinja_boolean(i == 0);
    } else if (jinja_named(name, n, "last")) {
        *v = jinja_boolean(i + 1 == all);
    } else if (jinja_named(name, n, "previtem")) {
        *v = i ? jinja_item(&r->loop.over, i - 1) : (struct jinja_value){ 0 };
    } else if (jinja_named(name, n, "nextitem")) {
        *v = i + 1 < all ? jinja_item(&r->loop.over, i + 1) : (struct jinja_value){ 0 };
    } else {
        return jinja_refuse(r, "this attribute of a loop");
    }
    return 0;
}

int jinja_attribute(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n)
{
    struct jinja_value of = *v;
    if (r->dead) return 0;
    if (of.kind == JINJA_TURN) return jinja_turn_attribute(v, r, of.number, name, n);
    if (of.kind == JINJA_LOOP) return loop_attribute(v, r, name, n);
    if (of.kind == JINJA_SPACE) {
        const struct jinja_variable *x = find(r, name, n, (size_t)of.number, 0);
        *v = x ? x->value : (struct jinja_value){ 0 };
        return 0;
    }
    return jinja_refuse(r, "an attribute of something else");
}
