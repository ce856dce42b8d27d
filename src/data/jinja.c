#include "src/data/jinja.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

enum { VARIABLES = 256, STEPS = 200000, DEPTH = 48, POOL_BYTES = 1 << 21 };

enum value_kind {
    UNDEFINED,
    NONE,
    BOOLEAN,
    NUMBER,
    TEXT,     /* at, n in the pool */
    LIST,     /* of turns */
    TURN,     /* number */
    LOOP,     /* the innermost for */
    SPACE,    /* a namespace: number */
    FUNCTION, /* number: which of functions[] */
};

struct value {
    enum value_kind kind;
    long number;
    size_t at, n; /* of a TEXT its bytes, of a LIST n turns */
    uint8_t turn[JINJA_TURNS];
};

struct variable {
    const char *name; /* in the program */
    size_t n, space;  /* space: 0, or the namespace it belongs to */
    struct value value;
};

struct loop {
    struct value over;
    size_t i;
};

struct reader {
    const struct jinja_words *words;
    const struct jinja_case *c;
    size_t at;   /* the word that comes next */
    size_t dead; /* > 0: what is read makes no difference, and nothing of it is refused */
    size_t steps, depth;
    bool refuses;    /* an exception was raised: nothing more is read */
    struct str pool; /* texts that values are made of */
    struct str *out;
    struct variable variable[VARIABLES];
    size_t n_variables, scope, spaces; /* scope: where the innermost one begins */
    struct loop loop;                  /* the innermost one; over.kind UNDEFINED: none */
    struct err *e;
};

static int condition(struct value *v, struct reader *r);
static int block(struct reader *r, const char *const *ends, const char **end);

/* ---- words ------------------------------------------------------------------------------------ */

static const struct jinja_word *word(const struct reader *r)
{
    return &r->words->word[r->at];
}

static const char *bytes_of(const struct reader *r, const struct jinja_word *w)
{
    return r->words->bytes.p + w->at;
}

static int refuse(struct reader *r, const char *what)
{
    if (r->dead) return 0;
    const struct jinja_word *w = word(r);
    return err_set(r->e, "%s at %s is not looked into", what, err_quote(bytes_of(r, w), w->n));
}

static bool is_word(const struct reader *r, enum jinja_kind kind, const char *text)
{
    const struct jinja_word *w = word(r);
    return w->kind == kind && w->n == strlen(text) && !memcmp(bytes_of(r, w), text, w->n);
}

static bool is_sign(const struct reader *r, const char *text)
{
    return is_word(r, JINJA_SIGN, text);
}

static bool is_name(const struct reader *r, const char *text)
{
    return is_word(r, JINJA_NAME, text);
}

static bool skip_sign(struct reader *r, const char *text)
{
    bool is = is_sign(r, text);
    r->at += is;
    return is;
}

static bool skip_name(struct reader *r, const char *text)
{
    bool is = is_name(r, text);
    r->at += is;
    return is;
}

/* Structure is wanted also of what makes no difference. */
static int want(struct reader *r, const char *sign)
{
    if (skip_sign(r, sign)) return 0;
    return err_set(r->e, "a %s is missing", sign);
}

static int want_close(struct reader *r)
{
    if (word(r)->kind != JINJA_CLOSE) return err_set(r->e, "a tag has more words than are known");
    r->at++;
    return 0;
}

/* ---- values ----------------------------------------------------------------------------------- */

static struct value boolean(bool on)
{
    return (struct value){ .kind = BOOLEAN, .number = on };
}

static struct value number(long n)
{
    return (struct value){ .kind = NUMBER, .number = n };
}

static const char *text_of(const struct reader *r, const struct value *v)
{
    return v->n ? r->pool.p + v->at : "";
}

/* A value of the bytes that were added to the pool since `from`. */
static int finish_text(struct value *v, struct reader *r, size_t from)
{
    if (r->pool.n > POOL_BYTES) return err_set(r->e, "it makes more text than is looked into");
    *v = (struct value){ .kind = TEXT, .at = from, .n = r->pool.n - from };
    return str_error(&r->pool, r->e);
}

static int make_text(struct value *v, struct reader *r, const char *bytes, size_t n)
{
    size_t from = r->pool.n;
    str_add(&r->pool, bytes, n);
    return finish_text(v, r, from);
}

static int make_mark(struct value *v, struct reader *r, enum jinja_mark mark)
{
    return make_text(v, r, (char[]){ (char)mark }, 1);
}

static bool is_mark(char c)
{
    return c >= MARK_BOS && c <= MARK_TRIM_END;
}

/* Whether it holds something whose letters are not known. */
static bool has_marks(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_mark(text[i])) return true;
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

void jinja_trim(struct str *out, const char *text, size_t n)
{
    while (n && is_space(*text)) text++, n--;
    while (n && is_space(text[n - 1])) n--;
    if (!n) return;
    size_t depth = 0, whole = 0; /* trimmed already: one pair of marks around all of it */
    for (size_t i = 0; i < n; i++) {
        depth += text[i] == MARK_TRIM;
        depth -= text[i] == MARK_TRIM_END;
        whole += depth == 0;
    }
    bool ends_in_text = n > 1 && text[n - 2] == MARK_TEXT;
    bool known = *text != MARK_TEXT && *text != MARK_TRIM && !ends_in_text &&
                 text[n - 1] != MARK_TRIM_END;
    if (known || (*text == MARK_TRIM && whole == 1)) {
        str_add(out, text, n);
        return;
    }
    str_addc(out, MARK_TRIM);
    str_add(out, text, n);
    str_addc(out, MARK_TRIM_END);
}

/* Whether a text is empty; false with an error for one of which that is not known. */
static bool is_empty(const struct reader *r, const struct value *v)
{
    const char *text = text_of(r, v);
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

static bool is_true(const struct reader *r, const struct value *v)
{
    switch (v->kind) {
    case UNDEFINED:
    case NONE:
        return false;
    case BOOLEAN:
    case NUMBER:
        return v->number != 0;
    case TEXT:
        return !is_empty(r, v);
    case LIST:
        return v->n > 0;
    default:
        return true;
    }
}

static int add_value(struct reader *r, struct str *out, const struct value *v)
{
    switch (v->kind) {
    case TEXT:
        str_add(out, text_of(r, v), v->n);
        return 0;
    case NUMBER:
        str_addf(out, "%ld", v->number);
        return 0;
    case UNDEFINED:
        return 0;
    default:
        return refuse(r, "printing what is not a text");
    }
}

static int join(struct value *v, struct reader *r, const struct value *a, const struct value *b)
{
    struct str s = { 0 };
    int code = add_value(r, &s, a);
    if (!code) code = add_value(r, &s, b);
    if (!code) code = make_text(v, r, s.p ? s.p : "", s.n);
    if (!code) code = str_error(&s, r->e);
    str_free(&s);
    return code;
}

static int equal(bool *same, struct reader *r, const struct value *a, const struct value *b)
{
    *same = false;
    bool numbers = (a->kind == NUMBER || a->kind == BOOLEAN) &&
                   (b->kind == NUMBER || b->kind == BOOLEAN);
    if (a->kind == TEXT && b->kind == TEXT) {
        const char *x = text_of(r, a), *y = text_of(r, b);
        *same = a->n == b->n && !memcmp(x, y, a->n);
        bool marks = has_marks(x, a->n) || has_marks(y, b->n);
        if (*same || !marks) return 0;
        if (!a->n || !b->n) {
            *same = is_empty(r, a) && is_empty(r, b);
            return 0;
        }
        return refuse(r, "comparing a message's text");
    }
    if (numbers || (a->kind == b->kind && a->kind == TURN)) {
        *same = a->number == b->number;
        return 0;
    }
    if (a->kind != b->kind) return 0;
    if (a->kind == UNDEFINED || a->kind == NONE) {
        *same = true;
        return 0;
    }
    return refuse(r, "this comparison");
}

/* ---- names ------------------------------------------------------------------------------------ */

static struct variable *find(struct reader *r, const char *name, size_t n, size_t space,
                             size_t from)
{
    for (size_t i = r->n_variables; i-- > from;) {
        struct variable *v = &r->variable[i];
        if (v->space == space && v->n == n && !memcmp(v->name, name, n)) return v;
    }
    return NULL;
}

static int assign(struct reader *r, const char *name, size_t n, size_t space,
                  const struct value *value)
{
    if (r->dead) return 0;
    struct variable *v = find(r, name, n, space, space ? 0 : r->scope);
    if (!v) {
        if (r->n_variables == VARIABLES) return refuse(r, "more variables than are kept");
        v = &r->variable[r->n_variables++];
    }
    *v = (struct variable){ name, n, space, *value };
    return 0;
}

enum function { RAISE_EXCEPTION, NAMESPACE };

static bool named(const char *name, size_t n, const char *word_)
{
    return n == strlen(word_) && !memcmp(name, word_, n);
}

static int look_up(struct value *v, struct reader *r, const char *name, size_t n)
{
    const struct variable *known = find(r, name, n, 0, 0);
    *v = (struct value){ 0 };
    if (known) {
        *v = known->value;
    } else if (named(name, n, "true") || named(name, n, "True")) {
        *v = boolean(true);
    } else if (named(name, n, "false") || named(name, n, "False")) {
        *v = boolean(false);
    } else if (named(name, n, "none") || named(name, n, "None") || named(name, n, "tools") ||
               named(name, n, "documents")) {
        v->kind = NONE;
    } else if (named(name, n, "bos_token")) {
        return make_mark(v, r, MARK_BOS);
    } else if (named(name, n, "eos_token")) {
        return make_mark(v, r, MARK_EOS);
    } else if (named(name, n, "add_generation_prompt")) {
        *v = boolean(r->c->prompt);
    } else if (named(name, n, "messages")) {
        v->kind = LIST;
        v->n = r->c->n;
        for (size_t i = 0; i < v->n; i++) v->turn[i] = (uint8_t)i;
    } else if (named(name, n, "loop") && r->loop.over.kind) {
        v->kind = LOOP;
    } else if (named(name, n, "raise_exception")) {
        *v = (struct value){ .kind = FUNCTION, .number = RAISE_EXCEPTION };
    } else if (named(name, n, "namespace")) {
        *v = (struct value){ .kind = FUNCTION, .number = NAMESPACE };
    } else if (n > 6 && !memcmp(name + n - 6, "_token", 6)) {
        return refuse(r, "another special token");
    }
    return 0;
}

static int turn_attribute(struct value *v, struct reader *r, long turn, const char *name, size_t n)
{
    *v = (struct value){ 0 };
    if (named(name, n, "role")) {
        const char *role = role_name(r->c->role[turn]);
        return make_text(v, r, role, strlen(role));
    }
    if (named(name, n, "content"))
        return make_text(v, r, (char[]){ MARK_TEXT, (char)('0' + turn) }, 2);
    return 0; /* a message has nothing else */
}

static struct value item(const struct value *list, long i)
{
    if (i < 0) i += (long)list->n;
    if (i < 0 || i >= (long)list->n) return (struct value){ 0 };
    return (struct value){ .kind = TURN, .number = list->turn[i] };
}

static int loop_attribute(struct value *v, struct reader *r, const char *name, size_t n)
{
    long i = (long)r->loop.i, all = (long)r->loop.over.n;
    if (named(name, n, "index")) {
        *v = number(i + 1);
    } else if (named(name, n, "index0")) {
        *v = number(i);
    } else if (named(name, n, "revindex")) {
        *v = number(all - i);
    } else if (named(name, n, "revindex0")) {
        *v = number(all - i - 1);
    } else if (named(name, n, "length")) {
        *v = number(all);
    } else if (named(name, n, "first")) {
        *v = boolean(i == 0);
    } else if (named(name, n, "last")) {
        *v = boolean(i + 1 == all);
    } else if (named(name, n, "previtem")) {
        *v = i ? item(&r->loop.over, i - 1) : (struct value){ 0 };
    } else if (named(name, n, "nextitem")) {
        *v = i + 1 < all ? item(&r->loop.over, i + 1) : (struct value){ 0 };
    } else {
        return refuse(r, "this of a loop");
    }
    return 0;
}

static int attribute(struct value *v, struct reader *r, const char *name, size_t n)
{
    struct value of = *v;
    if (r->dead) return 0;
    if (of.kind == TURN) return turn_attribute(v, r, of.number, name, n);
    if (of.kind == LOOP) return loop_attribute(v, r, name, n);
    if (of.kind == SPACE) {
        const struct variable *x = find(r, name, n, (size_t)of.number, 0);
        *v = x ? x->value : (struct value){ 0 };
        return 0;
    }
    return refuse(r, "an attribute of something else");
}

/* ---- calls, filters, tests -------------------------------------------------------------------- */

enum { ARGUMENTS = 3 };

/* The arguments of a call up to its ), the first ARGUMENTS of them kept. name=value: into a namespace. */
static int arguments(struct value *first, size_t *n, struct reader *r, size_t space)
{
    int code = 0;
    *n = 0;
    for (size_t i = 0; i < ARGUMENTS; i++) first[i] = (struct value){ 0 };
    while (!code && !is_sign(r, ")")) {
        const struct jinja_word *w = word(r);
        bool keyword = w->kind == JINJA_NAME && w[1].kind == JINJA_SIGN && w[1].n == 1 &&
                       *bytes_of(r, w + 1) == '=';
        struct value v;
        if (keyword) r->at += 2;
        code = condition(&v, r);
        if (!code && keyword && space) {
            code = assign(r, bytes_of(r, w), w->n, space, &v);
        } else if (!code && keyword) {
            code = refuse(r, "an argument by name");
        }
        if (*n < ARGUMENTS) first[*n] = v;
        *n += 1;
        if (!code && !skip_sign(r, ",") && !is_sign(r, ")")) code = want(r, ")");
    }
    return code ? code : want(r, ")");
}

/* Letters only: what upper(), lower(), capitalize() and title() make of a role's name. */
static int change_case(struct value *v, struct reader *r, const char *how, size_t n)
{
    const char *text = text_of(r, v);
    if (v->kind != TEXT || has_marks(text, v->n)) return refuse(r, "the case of a message's text");
    struct str s = { 0 };
    bool starts = true, title = named(how, n, "title");
    for (size_t i = 0; i < v->n; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if ((unsigned char)c > 126) s.failed = true;
        bool up = named(how, n, "upper") || (!named(how, n, "lower") && starts);
        starts = title ? !letter : false;
        str_addc(&s, letter ? (char)(up ? c & ~32 : c | 32) : c);
    }
    int code = s.failed ? refuse(r, "the case of such letters")
                        : make_text(v, r, s.p ? s.p : "", s.n);
    str_free(&s);
    return code;
}

static int trim_value(struct value *v, struct reader *r)
{
    if (v->kind != TEXT) return refuse(r, "trimming what is not a text");
    struct str s = { 0 };
    jinja_trim(&s, text_of(r, v), v->n);
    int code = str_error(&s, r->e);
    if (!code) code = make_text(v, r, s.p ? s.p : "", s.n);
    str_free(&s);
    return code;
}

static int count_items(struct value *v, struct reader *r)
{
    if (v->kind == LIST) {
        *v = number((long)v->n);
        return 0;
    }
    if (v->kind != TEXT || has_marks(text_of(r, v), v->n)) {
        return refuse(r, "the length of a message's text");
    }
    *v = number((long)v->n);
    return 0;
}

/* selectattr('role', 'equalto', 'user') */
static int select_turns(struct value *v, struct reader *r, bool keep)
{
    struct value a[ARGUMENTS], role;
    size_t n;
    int code = arguments(a, &n, r, 0);
    if (code || r->dead) return code;
    bool by_role = v->kind == LIST && n == 3 && a[2].kind == TEXT && a[0].kind == TEXT &&
                   a[1].kind == TEXT && named(text_of(r, &a[0]), a[0].n, "role") &&
                   (named(text_of(r, &a[1]), a[1].n, "equalto") ||
                    named(text_of(r, &a[1]), a[1].n, "==") ||
                    named(text_of(r, &a[1]), a[1].n, "eq"));
    if (!by_role) return refuse(r, "such a selection");
    struct value out = { .kind = LIST };
    for (size_t i = 0; !code && i < v->n; i++) {
        bool same;
        code = turn_attribute(&role, r, v->turn[i], "role", 4);
        if (!code) code = equal(&same, r, &role, &a[2]);
        if (!code && same == keep) out.turn[out.n++] = v->turn[i];
    }
    *v = out;
    return code;
}

/* Filters and methods are the same here: | trim, .strip(). */
static int apply(struct value *v, struct reader *r, const char *name, size_t n, bool called)
{
    struct value a[ARGUMENTS];
    size_t count = 0;
    if (named(name, n, "selectattr") || named(name, n, "rejectattr")) {
        if (!called) return refuse(r, "a filter without its arguments");
        return select_turns(v, r, *name == 's');
    }
    int code = called ? arguments(a, &count, r, 0) : 0;
    if (code || r->dead) return code;
    if ((named(name, n, "trim") || named(name, n, "strip")) && !count) return trim_value(v, r);
    if (named(name, n, "length") || named(name, n, "count")) return count_items(v, r);
    if (named(name, n, "upper") || named(name, n, "lower") || named(name, n, "capitalize") ||
        named(name, n, "title")) {
        return change_case(v, r, name, n);
    }
    if (named(name, n, "list") && v->kind == LIST) return 0;
    if (named(name, n, "string") && v->kind == TEXT) return 0;
    if (named(name, n, "first") && v->kind == LIST) {
        *v = item(v, 0);
        return 0;
    }
    if (named(name, n, "last") && v->kind == LIST) {
        *v = item(v, -1);
        return 0;
    }
    if ((named(name, n, "default") || named(name, n, "d")) && count) {
        bool falsy = count > 1 && is_true(r, &a[1]) && !is_true(r, v);
        if (v->kind == UNDEFINED || falsy) *v = a[0];
        return 0;
    }
    if (named(name, n, "get") && count && v->kind == TURN && a[0].kind == TEXT) {
        code = attribute(v, r, text_of(r, &a[0]), a[0].n);
        if (!code && v->kind == UNDEFINED) {
            v->kind = NONE;
            if (count > 1) *v = a[1];
        }
        return code;
    }
    return refuse(r, "a filter or method that is not known");
}

static int test(struct value *v, struct reader *r)
{
    static const char *const words[] = { "defined",  "undefined", "none",   "string",  "mapping",
                                         "iterable", "sequence",  "number", "boolean", "true",
                                         "false",    "odd",       "even" };
    bool negated = skip_name(r, "not");
    const struct jinja_word *w = word(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a test is missing");
    size_t which = 0, all = sizeof words / sizeof *words;
    while (which < all && !named(bytes_of(r, w), w->n, words[which])) which++;
    if (which == all && named(bytes_of(r, w), w->n, "None")) which = 2;
    if (which == all) {
        int code = refuse(r, "a test that is not known");
        if (code) return code;
    }
    r->at++;
    enum value_kind k = v->kind;
    bool many = k == TEXT || k == LIST, whole = k == NUMBER;
    const bool is[] = { k != UNDEFINED,
                        k == UNDEFINED,
                        k == NONE,
                        k == TEXT,
                        k == TURN,
                        many || k == TURN,
                        many || k == TURN,
                        whole || k == BOOLEAN,
                        k == BOOLEAN,
                        k == BOOLEAN && v->number,
                        k == BOOLEAN && !v->number,
                        whole && v->number % 2,
                        whole && v->number % 2 == 0 };
    *v = boolean((which < all && is[which]) != negated);
    return 0;
}

static int call(struct value *v, struct reader *r)
{
    struct value of = *v, a[ARGUMENTS];
    size_t n, space = 0;
    bool makes_space = of.kind == FUNCTION && of.number == NAMESPACE && !r->dead;
    if (makes_space) space = ++r->spaces;
    int code = arguments(a, &n, r, space);
    if (code || r->dead) return code;
    if (makes_space) {
        *v = (struct value){ .kind = SPACE, .number = (long)space };
        return 0;
    }
    if (of.kind != FUNCTION) return refuse(r, "a call");
    r->refuses = true;
    r->dead++; /* for good */
    *v = (struct value){ 0 };
    return 0;
}

/* ---- expressions ------------------------------------------------------------------------------ */

static int string(struct value *v, struct reader *r)
{
    size_t from = r->pool.n;
    for (; word(r)->kind == JINJA_STRING; r->at++) {
        str_add(&r->pool, bytes_of(r, word(r)), word(r)->n);
    }
    return finish_text(v, r, from);
}

static int primary(struct value *v, struct reader *r)
{
    const struct jinja_word *w = word(r);
    *v = (struct value){ 0 };
    if (w->kind == JINJA_STRING) return string(v, r);
    if (w->kind == JINJA_NUMBER) {
        *v = number(0);
        for (size_t i = 0; i < w->n && i < 9; i++)
            v->number = 10 * v->number + (bytes_of(r, w)[i] - '0');
        r->at++;
        return 0;
    }
    if (w->kind == JINJA_NAME) {
        r->at++;
        return r->dead ? 0 : look_up(v, r, bytes_of(r, w), w->n);
    }
    if (skip_sign(r, "(")) {
        int code = condition(v, r);
        while (!code && skip_sign(r, ",") && !is_sign(r, ")")) { /* a tuple */
            code = refuse(r, "a tuple");
            if (!code) code = condition(v, r);
        }
        return code ? code : want(r, ")");
    }
    if (skip_sign(r, "[")) {
        int code = is_sign(r, "]") ? 0 : refuse(r, "a list");
        while (!code && !is_sign(r, "]")) {
            code = condition(v, r);
            if (!code && !skip_sign(r, ",") && !is_sign(r, "]")) code = want(r, "]");
        }
        *v = (struct value){ .kind = LIST };
        return code ? code : want(r, "]");
    }
    return err_set(r->e, "a value is missing");
}

/* [i] or [i:j] */
static int subscript(struct value *v, struct reader *r)
{
    struct value of = *v, i = number(0), j = number((long)of.n);
    bool slice;
    int code = is_sign(r, ":") ? 0 : condition(&i, r);
    slice = skip_sign(r, ":");
    if (!code && slice && !is_sign(r, "]") && !is_sign(r, ":")) code = condition(&j, r);
    if (!code && is_sign(r, ":")) {
        code = refuse(r, "a slice by steps");
        while (!code && !is_sign(r, "]") && word(r)->kind != JINJA_CLOSE) r->at++;
    }
    if (!code) code = want(r, "]");
    if (code || r->dead) return code;
    if (!slice && i.kind == TEXT) return attribute(v, r, text_of(r, &i), i.n);
    if (of.kind != LIST || i.kind != NUMBER || j.kind != NUMBER) return refuse(r, "such an index");
    if (!slice) {
        *v = item(&of, i.number);
        return 0;
    }
    long n = (long)of.n, from = i.number < 0 ? i.number + n : i.number;
    long to = j.number < 0 ? j.number + n : j.number;
    *v = (struct value){ .kind = LIST };
    for (long k = from < 0 ? 0 : from; k < to && k < n; k++) v->turn[v->n++] = of.turn[k];
    return 0;
}

static int dot(struct value *v, struct reader *r)
{
    const struct jinja_word *w = word(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    bool method = v->kind == TEXT || (v->kind == TURN && named(bytes_of(r, w), w->n, "get"));
    if (method && skip_sign(r, "(")) return apply(v, r, bytes_of(r, w), w->n, true);
    return attribute(v, r, bytes_of(r, w), w->n);
}

static int filter(struct value *v, struct reader *r)
{
    const struct jinja_word *w = word(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a filter is missing");
    r->at++;
    return apply(v, r, bytes_of(r, w), w->n, skip_sign(r, "("));
}

/* A value with all that follows it: .name [i] (...) | filter is test. */
static int postfix(struct value *v, struct reader *r)
{
    int code = primary(v, r);
    while (!code) {
        if (skip_sign(r, ".")) {
            code = dot(v, r);
        } else if (skip_sign(r, "[")) {
            code = subscript(v, r);
        } else if (skip_sign(r, "(")) {
            code = call(v, r);
        } else if (skip_sign(r, "|")) {
            code = filter(v, r);
        } else if (skip_name(r, "is")) {
            code = test(v, r);
        } else {
            break;
        }
    }
    return code;
}

static int negative(struct value *v, struct reader *r)
{
    if (!skip_sign(r, "-")) return postfix(v, r);
    int code = postfix(v, r);
    if (!code && v->kind != NUMBER) code = refuse(r, "a minus before what is not a number");
    v->number = -v->number;
    return code;
}

static int arithmetic(struct value *v, struct reader *r, char sign, const struct value *b)
{
    if (r->dead) return 0;
    if (sign == '~' || (sign == '+' && v->kind == TEXT && b->kind == TEXT)) {
        struct value a = *v;
        return join(v, r, &a, b);
    }
    bool numbers = (v->kind == NUMBER || v->kind == BOOLEAN) && b->kind == NUMBER;
    if (!numbers) return refuse(r, "such a sum");
    long x = v->number, y = b->number;
    if (sign == '%' && y <= 0) return refuse(r, "such a remainder");
    *v = number(sign == '+' ? x + y : sign == '-' ? x - y : ((x % y) + y) % y);
    return 0;
}

/* Signs from the loosest to the tightest, as Jinja has them. */
static int binary(struct value *v, struct reader *r, size_t level)
{
    static const char *const signs[] = { "+-", "~", "%" };
    struct value b;
    if (level == sizeof signs / sizeof *signs) return negative(v, r);
    int code = binary(v, r, level + 1);
    while (!code && word(r)->kind == JINJA_SIGN && word(r)->n == 1 &&
           strchr(signs[level], *bytes_of(r, word(r)))) {
        char sign = *bytes_of(r, word(r));
        r->at++;
        code = binary(&b, r, level + 1);
        if (!code) code = arithmetic(v, r, sign, &b);
    }
    return code;
}

/* x in ['a', 'b'], x in message, x in 'text' */
static int contains(struct value *v, struct reader *r, bool negated)
{
    struct value x = *v, b;
    bool found = false;
    int code = 0;
    if (is_sign(r, "[") || is_sign(r, "(")) {
        const char *end = is_sign(r, "[") ? "]" : ")";
        r->at++;
        while (!code && !is_sign(r, end)) {
            bool same = false;
            code = condition(&b, r);
            if (!code && !r->dead) code = equal(&same, r, &x, &b);
            found |= same;
            if (!code && !skip_sign(r, ",") && !is_sign(r, end)) code = want(r, end);
        }
        if (!code) code = want(r, end);
        *v = boolean(found != negated);
        return code;
    }
    code = binary(&b, r, 0);
    if (code || r->dead) return code;
    const char *text = text_of(r, &x);
    if (x.kind == TEXT && b.kind == TURN) {
        found = named(text, x.n, "role") || named(text, x.n, "content");
    } else if (x.kind == TEXT && b.kind == TEXT && !has_marks(text_of(r, &b), b.n) &&
               !has_marks(text, x.n)) {
        found = memmem(text_of(r, &b), b.n, text, x.n) != NULL;
    } else {
        return refuse(r, "looking into a message's text");
    }
    *v = boolean(found != negated);
    return 0;
}

static int comparison(struct value *v, struct reader *r)
{
    static const char *const signs[] = { "==", "!=", "<", ">", "<=", ">=" };
    struct value b;
    int code = binary(v, r, 0);
    while (!code) {
        if (skip_name(r, "in")) {
            code = contains(v, r, false);
            continue;
        }
        if (is_name(r, "not") && word(r)[1].kind == JINJA_NAME) {
            r->at++;
            if (!skip_name(r, "in")) return err_set(r->e, "a value is missing");
            code = contains(v, r, true);
            continue;
        }
        size_t sign = 0, all = sizeof signs / sizeof *signs;
        while (sign < all && !is_sign(r, signs[sign])) sign++;
        if (sign == all) break;
        r->at++;
        code = binary(&b, r, 0);
        if (code || r->dead) continue;
        bool same = false;
        if (sign < 2) {
            code = equal(&same, r, v, &b);
            *v = boolean(same == (sign == 0));
        } else if (v->kind == NUMBER && b.kind == NUMBER) {
            long x = v->number, y = b.number;
            *v = boolean(sign == 2 ? x < y : sign == 3 ? x > y : sign == 4 ? x <= y : x >= y);
        } else {
            code = refuse(r, "this comparison");
        }
    }
    return code;
}

static int negation(struct value *v, struct reader *r)
{
    size_t nots = 0;
    while (skip_name(r, "not")) nots++;
    int code = comparison(v, r);
    if (!code && nots) *v = boolean(is_true(r, v) != (nots % 2 == 1));
    return code;
}

/* and, or: the operand that decides, as in Python. What does not count is not looked into. */
static int logic(struct value *v, struct reader *r, bool is_or)
{
    struct value b;
    int code = is_or ? logic(v, r, false) : negation(v, r);
    while (!code && skip_name(r, is_or ? "or" : "and")) {
        bool decided = !r->dead && is_true(r, v) == is_or;
        r->dead += decided;
        code = is_or ? logic(&b, r, false) : negation(&b, r);
        r->dead -= decided;
        if (!decided) *v = b;
    }
    return code;
}

/* An expression, and `A if C else B`: C says which of the two is looked into. */
static int condition(struct value *v, struct reader *r)
{
    if (++r->steps > STEPS) return err_set(r->e, "it takes more steps than are looked into");
    if (++r->depth > DEPTH) return err_set(r->e, "it is nested deeper than is looked into");
    size_t begin = r->at;
    struct value c = boolean(true), other = { 0 };
    r->dead++;
    int code = logic(v, r, true);
    r->dead--;
    bool choice = !code && skip_name(r, "if");
    if (choice) code = logic(&c, r, true);
    bool on = is_true(r, &c);
    size_t end = r->at;
    if (!code && on && !r->dead) {
        r->at = begin;
        code = logic(v, r, true);
        if (choice) r->at = end;
    }
    r->dead += on;
    if (!code && choice && skip_name(r, "else")) code = condition(&other, r);
    r->dead -= on;
    if (!on) *v = other;
    r->depth--;
    return code;
}

/* ---- blocks ----------------------------------------------------------------------------------- */

static int print(struct reader *r)
{
    struct value v = { 0 };
    int code = condition(&v, r);
    if (!code) code = want_close(r);
    if (!code && !r->dead) code = add_value(r, r->out, &v);
    return code;
}

static int set(struct reader *r)
{
    const struct jinja_word *w = word(r), *of = NULL;
    struct value v = { 0 }, space = { 0 };
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    if (skip_sign(r, ".")) {
        of = w;
        w = word(r);
        r->at++;
    }
    if (!is_sign(r, "=")) return err_set(r->e, "a set without = is not looked into");
    r->at++;
    int code = condition(&v, r);
    if (!code) code = want_close(r);
    if (code || r->dead) return code;
    if (!of) return assign(r, bytes_of(r, w), w->n, 0, &v);
    code = look_up(&space, r, bytes_of(r, of), of->n);
    if (!code && space.kind != SPACE) code = refuse(r, "an attribute that is set");
    return code ? code : assign(r, bytes_of(r, w), w->n, (size_t)space.number, &v);
}

/* if, elif, else: the first whose condition holds; all others are read without effect. */
static int choose(struct reader *r)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    const char *end = "elif";
    bool done = false, last = false;
    int code = 0;
    while (!code && !last) {
        struct value c = boolean(true);
        r->dead += done;
        if (!strcmp(end, "elif")) code = condition(&c, r);
        if (!code) code = want_close(r);
        r->dead -= done;
        bool off = done || !is_true(r, &c);
        r->dead += off;
        if (!code) code = block(r, ends, &end);
        r->dead -= off;
        done |= !off;
        last = !code && !strcmp(end, "endif");
        if (last) code = want_close(r);
    }
    return code;
}

/* The names that a turn of a loop was given are forgotten; what a namespace was given stays. */
static void end_scope(struct reader *r, size_t from)
{
    size_t n = from;
    for (size_t i = from; i < r->n_variables; i++)
        if (r->variable[i].space) r->variable[n++] = r->variable[i];
    r->n_variables = n;
}

static int repeat(struct reader *r)
{
    static const char *const ends[] = { "endfor", NULL };
    const struct jinja_word *w = word(r);
    struct value over = { 0 };
    const char *end;
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    while (r->dead && skip_sign(r, ",") && word(r)->kind == JINJA_NAME) r->at++;
    if (!skip_name(r, "in")) return err_set(r->e, "a loop over pairs is not looked into");
    int code = logic(&over, r, true); /* an if after it would be a filter */
    if (!code && is_name(r, "if")) code = refuse(r, "a loop over some");
    while (!code && r->dead && word(r)->kind < JINJA_END && word(r)->kind != JINJA_CLOSE) r->at++;
    if (!code) code = want_close(r);
    if (!code && !r->dead && over.kind != LIST) code = refuse(r, "a loop over something else");
    size_t begin = r->at, scope = r->scope;
    struct loop outer = r->loop;
    bool none = r->dead || !over.n; /* then it is read once, without effect */
    r->dead += none;
    for (size_t i = 0; !code && i < (none ? 1 : over.n); i++) {
        r->at = begin;
        r->scope = r->n_variables;
        r->loop = (struct loop){ over, i };
        struct value v = item(&over, (long)i);
        code = assign(r, bytes_of(r, w), w->n, 0, &v);
        if (!code) code = block(r, ends, &end);
        end_scope(r, r->scope);
    }
    r->dead -= none;
    r->scope = scope;
    r->loop = outer;
    return code ? code : want_close(r);
}

/* A macro is read when it is called, which is not looked into. */
static int skip_macro(struct reader *r)
{
    for (; word(r)->kind != JINJA_END; r->at++) {
        if (word(r)->kind != JINJA_BLOCK) continue;
        r->at++;
        if (skip_name(r, "endmacro")) return want_close(r);
    }
    return err_set(r->e, "a macro without an end");
}

static int statement(struct reader *r)
{
    if (skip_name(r, "if")) return choose(r);
    if (skip_name(r, "for")) return repeat(r);
    if (skip_name(r, "set")) return set(r);
    if (skip_name(r, "macro")) return skip_macro(r);
    /* which tokens are an answer's: nothing is written */
    if (skip_name(r, "generation") || skip_name(r, "endgeneration")) return want_close(r);
    const struct jinja_word *w = word(r);
    return err_set(r->e, "the block %s is not looked into", err_quote(bytes_of(r, w), w->n));
}

/* Up to one of the blocks in `ends`, whose name is *end and was read; NULL: to the program's end. */
static int block(struct reader *r, const char *const *ends, const char **end)
{
    int code = 0;
    if (++r->depth > DEPTH) return err_set(r->e, "it is nested deeper than is looked into");
    while (!code) {
        const struct jinja_word *w = word(r);
        if (++r->steps > STEPS) return err_set(r->e, "it takes more steps than are looked into");
        if (w->kind == JINJA_END) {
            if (ends) return err_set(r->e, "a block without an end");
            break;
        }
        r->at++;
        if (w->kind == JINJA_TEXT && !r->dead) str_add(r->out, bytes_of(r, w), w->n);
        if (w->kind == JINJA_PRINT) code = print(r);
        if (w->kind != JINJA_BLOCK) continue;
        for (size_t i = 0; ends && ends[i]; i++) {
            if (!skip_name(r, ends[i])) continue;
            *end = ends[i];
            r->depth--;
            return 0;
        }
        code = statement(r);
    }
    r->depth--;
    return code;
}

int jinja_read(struct str *out, bool *refuses, const struct jinja_words *program,
               const struct jinja_case *c, struct err *e)
{
    CHECK(c->n <= JINJA_TURNS);
    struct reader *r = mem_alloc(1, sizeof *r, e);
    if (!r) return e->code;
    *r = (struct reader){ .words = program, .c = c, .out = out, .e = e };
    str_clear(out);
    str_addz(out, "");
    int code = block(r, NULL, NULL);
    if (!code) code = str_error(out, e);
    *refuses = r->refuses;
    str_free(&r->pool);
    mem_free(r);
    return code;
}
