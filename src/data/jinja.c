/* Expressions and blocks; jinja_value.c has the words and values of which they consist. */
#include "src/data/jinja.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/data/jinja_value.h"

static int condition(struct jinja_value *v, struct jinja_reader *r);
static int block(struct jinja_reader *r, const char *const *ends, const char **end);

/* ---- calls, filters, tests ------------------------------------------------------------------- */

enum { ARGUMENTS = 3 };

/* Read the arguments of a call up to its ), and keep the first ARGUMENTS. name=value goes into a
 * namespace. */
static int arguments(struct jinja_value *first, size_t *n, struct jinja_reader *r, size_t space)
{
    int code = 0;
    *n = 0;
    for (size_t i = 0; i < ARGUMENTS; i++) first[i] = (struct jinja_value){ 0 };
    while (!code && !jinja_is_sign(r, ")")) {
        const struct jinja_word *w = jinja_word_at(r);
        bool keyword = w->kind == JINJA_NAME && w[1].kind == JINJA_SIGN && w[1].n == 1 &&
                       *jinja_bytes_of(r, w + 1) == '=';
        struct jinja_value v;
        if (keyword) r->at += 2;
        code = condition(&v, r);
        if (!code && keyword && space) {
            code = jinja_assign(r, jinja_bytes_of(r, w), w->n, space, &v);
        } else if (!code && keyword) {
            code = jinja_refuse(r, "an argument by name");
        }
        if (*n < ARGUMENTS) first[*n] = v;
        *n += 1;
        if (!code && !jinja_skip_sign(r, ",") && !jinja_is_sign(r, ")")) code = jinja_want(r, ")");
    }
    return code ? code : jinja_want(r, ")");
}

/* upper(), lower(), capitalize() and title() for a role's name: ASCII letters only. */
static int change_case(struct jinja_value *v, struct jinja_reader *r, const char *how, size_t n)
{
    const char *text = jinja_text_of(r, v);
    if (v->kind != JINJA_IS_TEXT || jinja_has_marks(text, v->n))
        return jinja_refuse(r, "changing the case of a message's text");
    struct str s = { 0 };
    bool starts = true, title = jinja_named(how, n, "title");
    for (size_t i = 0; i < v->n; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if ((unsigned char)c > 126) s.failed = true;
        bool up = jinja_named(how, n, "upper") || (!jinja_named(how, n, "lower") && starts);
        starts = title ? !letter : false;
        str_addc(&s, letter ? (char)(up ? c & ~32 : c | 32) : c);
    }
    int code = s.failed ? jinja_refuse(r, "changing the case of these letters")
                        : jinja_make_text(v, r, s.p ? s.p : "", s.n);
    str_free(&s);
    return code;
}

static int trim_value(struct jinja_value *v, struct jinja_reader *r)
{
    if (v->kind != JINJA_IS_TEXT) return jinja_refuse(r, "trimming a value that is not a text");
    struct str s = { 0 };
    jinja_trim(&s, jinja_text_of(r, v), v->n);
    int code = str_error(&s, r->e);
    if (!code) code = jinja_make_text(v, r, s.p ? s.p : "", s.n);
    str_free(&s);
    return code;
}

static int count_items(struct jinja_value *v, struct jinja_reader *r)
{
    if (v->kind == JINJA_LIST) {
        *v = jinja_number((long)v->n);
        return 0;
    }
    if (v->kind != JINJA_IS_TEXT || jinja_has_marks(jinja_text_of(r, v), v->n)) {
        return jinja_refuse(r, "the length of a message's text");
    }
    *v = jinja_number((long)v->n);
    return 0;
}

/* selectattr('role', 'equalto', 'user') */
static int select_turns(struct jinja_value *v, struct jinja_reader *r, bool keep)
{
    struct jinja_value a[ARGUMENTS], role;
    size_t n;
    int code = arguments(a, &n, r, 0);
    if (code || r->dead) return code;
    bool by_role = v->kind == JINJA_LIST && n == 3 && a[2].kind == JINJA_IS_TEXT &&
                   a[0].kind == JINJA_IS_TEXT && a[1].kind == JINJA_IS_TEXT &&
                   jinja_named(jinja_text_of(r, &a[0]), a[0].n, "role") &&
                   (jinja_named(jinja_text_of(r, &a[1]), a[1].n, "equalto") ||
                    jinja_named(jinja_text_of(r, &a[1]), a[1].n, "==") ||
                    jinja_named(jinja_text_of(r, &a[1]), a[1].n, "eq"));
    if (!by_role) return jinja_refuse(r, "this selection");
    struct jinja_value out = { .kind = JINJA_LIST };
    for (size_t i = 0; !code && i < v->n; i++) {
        bool same;
        code = jinja_turn_attribute(&role, r, v->turn[i], "role", 4);
        if (!code) code = jinja_equal(&same, r, &role, &a[2]);
        if (!code && same == keep) out.turn[out.n++] = v->turn[i];
    }
    *v = out;
    return code;
}

/* Filters and methods are the same here: | trim, .strip(). */
static int apply(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n,
                 bool called)
{
    struct jinja_value a[ARGUMENTS];
    size_t count = 0;
    if (jinja_named(name, n, "selectattr") || jinja_named(name, n, "rejectattr")) {
        if (!called) return jinja_refuse(r, "a filter without its arguments");
        return select_turns(v, r, *name == 's');
    }
    int code = called ? arguments(a, &count, r, 0) : 0;
    if (code || r->dead) return code;
    if ((jinja_named(name, n, "trim") || jinja_named(name, n, "strip")) && !count)
        return trim_value(v, r);
    if (jinja_named(name, n, "length") || jinja_named(name, n, "count")) return count_items(v, r);
    if (jinja_named(name, n, "upper") || jinja_named(name, n, "lower") ||
        jinja_named(name, n, "capitalize") || jinja_named(name, n, "title")) {
        return change_case(v, r, name, n);
    }
    if (jinja_named(name, n, "list") && v->kind == JINJA_LIST) return 0;
    if (jinja_named(name, n, "string") && v->kind == JINJA_IS_TEXT) return 0;
    if (jinja_named(name, n, "first") && v->kind == JINJA_LIST) {
        *v = jinja_item(v, 0);
        return 0;
    }
    if (jinja_named(name, n, "last") && v->kind == JINJA_LIST) {
        *v = jinja_item(v, -1);
        return 0;
    }
    if ((jinja_named(name, n, "default") || jinja_named(name, n, "d")) && count) {
        bool falsy = count > 1 && jinja_is_true(r, &a[1]) && !jinja_is_true(r, v);
        if (v->kind == JINJA_UNDEFINED || falsy) *v = a[0];
        return 0;
    }
    if (jinja_named(name, n, "get") && count && v->kind == JINJA_TURN &&
        a[0].kind == JINJA_IS_TEXT) {
        code = jinja_attribute(v, r, jinja_text_of(r, &a[0]), a[0].n);
        if (!code && v->kind == JINJA_UNDEFINED) {
            v->kind = JINJA_NONE;
            if (count > 1) *v = a[1];
        }
        return code;
    }
    return jinja_refuse(r, "a filter or method that is not known");
}

static int test(struct jinja_value *v, struct jinja_reader *r)
{
    static const char *const words[] = { "defined",  "undefined", "none",   "string",  "mapping",
                                         "iterable", "sequence",  "number", "boolean", "true",
                                         "false",    "odd",       "even" };
    bool negated = jinja_skip_name(r, "not");
    const struct jinja_word *w = jinja_word_at(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a test is missing");
    size_t which = 0, all = sizeof words / sizeof *words;
    while (which < all && !jinja_named(jinja_bytes_of(r, w), w->n, words[which])) which++;
    if (which == all && jinja_named(jinja_bytes_of(r, w), w->n, "None")) which = 2;
    if (which == all) {
        int code = jinja_refuse(r, "a test that is not known");
        if (code) return code;
    }
    r->at++;
    enum jinja_value_kind k = v->kind;
    bool many = k == JINJA_IS_TEXT || k == JINJA_LIST, whole = k == JINJA_IS_NUMBER;
    const bool is[] = { k != JINJA_UNDEFINED,
                        k == JINJA_UNDEFINED,
                        k == JINJA_NONE,
                        k == JINJA_IS_TEXT,
                        k == JINJA_TURN,
                        many || k == JINJA_TURN,
                        many || k == JINJA_TURN,
                        whole || k == JINJA_BOOLEAN,
                        k == JINJA_BOOLEAN,
                        k == JINJA_BOOLEAN && v->number,
                        k == JINJA_BOOLEAN && !v->number,
                        whole && v->number % 2,
                        whole && v->number % 2 == 0 };
    *v = jinja_boolean((which < all && is[which]) != negated);
    return 0;
}

static int call(struct jinja_value *v, struct jinja_reader *r)
{
    struct jinja_value of = *v, a[ARGUMENTS];
    size_t n, space = 0;
    bool makes_space = of.kind == JINJA_FUNCTION && of.number == JINJA_NAMESPACE && !r->dead;
    if (makes_space) space = ++r->spaces;
    int code = arguments(a, &n, r, space);
    if (code || r->dead) return code;
    if (makes_space) {
        *v = (struct jinja_value){ .kind = JINJA_SPACE, .number = (long)space };
        return 0;
    }
    if (of.kind != JINJA_FUNCTION) return jinja_refuse(r, "a call");
    r->refuses = true;
    r->dead++; /* permanently */
    *v = (struct jinja_value){ 0 };
    return 0;
}

/* ---- expressions ----------------------------------------------------------------------------- */

static int string(struct jinja_value *v, struct jinja_reader *r)
{
    size_t from = r->pool.n;
    for (; jinja_word_at(r)->kind == JINJA_STRING; r->at++) {
        str_add(&r->pool, jinja_bytes_of(r, jinja_word_at(r)), jinja_word_at(r)->n);
    }
    return jinja_finish_text(v, r, from);
}

static int primary(struct jinja_value *v, struct jinja_reader *r)
{
    const struct jinja_word *w = jinja_word_at(r);
    *v = (struct jinja_value){ 0 };
    if (w->kind == JINJA_STRING) return string(v, r);
    if (w->kind == JINJA_NUMBER) {
        *v = jinja_number(0);
        for (size_t i = 0; i < w->n && i < 9; i++)
            v->number = 10 * v->number + (jinja_bytes_of(r, w)[i] - '0');
        r->at++;
        return 0;
    }
    if (w->kind == JINJA_NAME) {
        r->at++;
        return r->dead ? 0 : jinja_look_up(v, r, jinja_bytes_of(r, w), w->n);
    }
    if (jinja_skip_sign(r, "(")) {
        int code = condition(v, r);
        while (!code && jinja_skip_sign(r, ",") && !jinja_is_sign(r, ")")) { /* a tuple */
            code = jinja_refuse(r, "a tuple");
            if (!code) code = condition(v, r);
        }
        return code ? code : jinja_want(r, ")");
    }
    if (jinja_skip_sign(r, "[")) {
        int code = jinja_is_sign(r, "]") ? 0 : jinja_refuse(r, "a list");
        while (!code && !jinja_is_sign(r, "]")) {
            code = condition(v, r);
            if (!code && !jinja_skip_sign(r, ",") && !jinja_is_sign(r, "]"))
                code = jinja_want(r, "]");
        }
        *v = (struct jinja_value){ .kind = JINJA_LIST };
        return code ? code : jinja_want(r, "]");
    }
    return err_set(r->e, "a value is missing");
}

/* [i] or [i:j] */
static int subscript(struct jinja_value *v, struct jinja_reader *r)
{
    struct jinja_value of = *v, i = jinja_number(0), j = jinja_number((long)of.n);
    bool slice;
    int code = jinja_is_sign(r, ":") ? 0 : condition(&i, r);
    slice = jinja_skip_sign(r, ":");
    if (!code && slice && !jinja_is_sign(r, "]") && !jinja_is_sign(r, ":")) code = condition(&j, r);
    if (!code && jinja_is_sign(r, ":")) {
        code = jinja_refuse(r, "a slice by steps");
        while (!code && !jinja_is_sign(r, "]") && jinja_word_at(r)->kind != JINJA_CLOSE) r->at++;
    }
    if (!code) code = jinja_want(r, "]");
    if (code || r->dead) return code;
    if (!slice && i.kind == JINJA_IS_TEXT) return jinja_attribute(v, r, jinja_text_of(r, &i), i.n);
    if (of.kind != JINJA_LIST || i.kind != JINJA_IS_NUMBER || j.kind != JINJA_IS_NUMBER)
        return jinja_refuse(r, "this index");
    if (!slice) {
        *v = jinja_item(&of, i.number);
        return 0;
    }
    long n = (long)of.n, from = i.number < 0 ? i.number + n : i.number;
    long to = j.number < 0 ? j.number + n : j.number;
    *v = (struct jinja_value){ .kind = JINJA_LIST };
    for (long k = from < 0 ? 0 : from; k < to && k < n; k++) v->turn[v->n++] = of.turn[k];
    return 0;
}

static int dot(struct jinja_value *v, struct jinja_reader *r)
{
    const struct jinja_word *w = jinja_word_at(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    bool method = v->kind == JINJA_IS_TEXT ||
                  (v->kind == JINJA_TURN && jinja_named(jinja_bytes_of(r, w), w->n, "get"));
    if (method && jinja_skip_sign(r, "(")) return apply(v, r, jinja_bytes_of(r, w), w->n, true);
    return jinja_attribute(v, r, jinja_bytes_of(r, w), w->n);
}

static int filter(struct jinja_value *v, struct jinja_reader *r)
{
    const struct jinja_word *w = jinja_word_at(r);
    if (w->kind != JINJA_NAME) return err_set(r->e, "a filter is missing");
    r->at++;
    return apply(v, r, jinja_bytes_of(r, w), w->n, jinja_skip_sign(r, "("));
}

/* A value with all that follows it: .name [i] (...) | filter is test. */
static int postfix(struct jinja_value *v, struct jinja_reader *r)
{
    int code = primary(v, r);
    while (!code) {
        if (jinja_skip_sign(r, ".")) {
            code = dot(v, r);
        } else if (jinja_skip_sign(r, "[")) {
            code = subscript(v, r);
        } else if (jinja_skip_sign(r, "(")) {
            code = call(v, r);
        } else if (jinja_skip_sign(r, "|")) {
            code = filter(v, r);
        } else if (jinja_skip_name(r, "is")) {
            code = test(v, r);
        } else {
            break;
        }
    }
    return code;
}

static int negative(struct jinja_value *v, struct jinja_reader *r)
{
    if (!jinja_skip_sign(r, "-")) return postfix(v, r);
    int code = postfix(v, r);
    if (!code && v->kind != JINJA_IS_NUMBER)
        code = jinja_refuse(r, "a minus before a value that is not a number");
    v->number = -v->number;
    return code;
}

static int arithmetic(struct jinja_value *v, struct jinja_reader *r, char sign,
                      const struct jinja_value *b)
{
    if (r->dead) return 0;
    if (sign == '~' || (sign == '+' && v->kind == JINJA_IS_TEXT && b->kind == JINJA_IS_TEXT)) {
        struct jinja_value a = *v;
        return jinja_join(v, r, &a, b);
    }
    bool numbers = (v->kind == JINJA_IS_NUMBER || v->kind == JINJA_BOOLEAN) &&
                   b->kind == JINJA_IS_NUMBER;
    if (!numbers) return jinja_refuse(r, "this sum");
    long x = v->number, y = b->number;
    if (sign == '%' && y <= 0) return jinja_refuse(r, "this remainder");
    *v = jinja_number(sign == '+' ? x + y : sign == '-' ? x - y : ((x % y) + y) % y);
    return 0;
}

/* Signs from the loosest to the tightest, as Jinja has them. */
static int binary(struct jinja_value *v, struct jinja_reader *r, size_t level)
{
    static const char *const signs[] = { "+-", "~", "%" };
    struct jinja_value b;
    if (level == sizeof signs / sizeof *signs) return negative(v, r);
    int code = binary(v, r, level + 1);
    while (!code && jinja_word_at(r)->kind == JINJA_SIGN && jinja_word_at(r)->n == 1 &&
           strchr(signs[level], *jinja_bytes_of(r, jinja_word_at(r)))) {
        char sign = *jinja_bytes_of(r, jinja_word_at(r));
        r->at++;
        code = binary(&b, r, level + 1);
        if (!code) code = arithmetic(v, r, sign, &b);
    }
    return code;
}

/* x in ['a', 'b'], x in message, x in 'text' */
static int contains(struct jinja_value *v, struct jinja_reader *r, bool negated)
{
    struct jinja_value x = *v, b;
    bool found = false;
    int code = 0;
    if (jinja_is_sign(r, "[") || jinja_is_sign(r, "(")) {
        const char *end = jinja_is_sign(r, "[") ? "]" : ")";
        r->at++;
        while (!code && !jinja_is_sign(r, end)) {
            bool same = false;
            code = condition(&b, r);
            if (!code && !r->dead) code = jinja_equal(&same, r, &x, &b);
            found |= same;
            if (!code && !jinja_skip_sign(r, ",") && !jinja_is_sign(r, end))
                code = jinja_want(r, end);
        }
        if (!code) code = jinja_want(r, end);
        *v = jinja_boolean(found != negated);
        return code;
    }
    code = binary(&b, r, 0);
    if (code || r->dead) return code;
    const char *text = jinja_text_of(r, &x);
    if (x.kind == JINJA_IS_TEXT && b.kind == JINJA_TURN) {
        found = jinja_named(text, x.n, "role") || jinja_named(text, x.n, "content");
    } else if (x.kind == JINJA_IS_TEXT && b.kind == JINJA_IS_TEXT &&
               !jinja_has_marks(jinja_text_of(r, &b), b.n) && !jinja_has_marks(text, x.n)) {
        found = memmem(jinja_text_of(r, &b), b.n, text, x.n) != NULL;
    } else {
        return jinja_refuse(r, "looking into a message's text");
    }
    *v = jinja_boolean(found != negated);
    return 0;
}

static int comparison(struct jinja_value *v, struct jinja_reader *r)
{
    static const char *const signs[] = { "==", "!=", "<", ">", "<=", ">=" };
    struct jinja_value b;
    int code = binary(v, r, 0);
    while (!code) {
        if (jinja_skip_name(r, "in")) {
            code = contains(v, r, false);
            continue;
        }
        if (jinja_is_name(r, "not") && jinja_word_at(r)[1].kind == JINJA_NAME) {
            r->at++;
            if (!jinja_skip_name(r, "in")) return err_set(r->e, "a value is missing");
            code = contains(v, r, true);
            continue;
        }
        size_t sign = 0, all = sizeof signs / sizeof *signs;
        while (sign < all && !jinja_is_sign(r, signs[sign])) sign++;
        if (sign == all) break;
        r->at++;
        code = binary(&b, r, 0);
        if (code || r->dead) continue;
        bool same = false;
        if (sign < 2) {
            code = jinja_equal(&same, r, v, &b);
            *v = jinja_boolean(same == (sign == 0));
        } else if (v->kind == JINJA_IS_NUMBER && b.kind == JINJA_IS_NUMBER) {
            long x = v->number, y = b.number;
            *v = jinja_boolean(sign == 2 ? x < y : sign == 3 ? x > y : sign == 4 ? x <= y : x >= y);
        } else {
            code = jinja_refuse(r, "this comparison");
        }
    }
    return code;
}

static int negation(struct jinja_value *v, struct jinja_reader *r)
{
    size_t nots = 0;
    while (jinja_skip_name(r, "not")) nots++;
    int code = comparison(v, r);
    if (!code && nots) *v = jinja_boolean(jinja_is_true(r, v) != (nots % 2 == 1));
    return code;
}

/* and, or: the result is the operand that decides, as in Python. The other operand is read without
 * effect. */
static int logic(struct jinja_value *v, struct jinja_reader *r, bool is_or)
{
    struct jinja_value b;
    int code = is_or ? logic(v, r, false) : negation(v, r);
    while (!code && jinja_skip_name(r, is_or ? "or" : "and")) {
        bool decided = !r->dead && jinja_is_true(r, v) == is_or;
        r->dead += decided;
        code = is_or ? logic(&b, r, false) : negation(&b, r);
        r->dead -= decided;
        if (!decided) *v = b;
    }
    return code;
}

/* An expression, or `A if C else B`: C decides which of the two counts. */
static int condition(struct jinja_value *v, struct jinja_reader *r)
{
    if (++r->steps > JINJA_STEPS) return err_set(r->e, "it takes too many steps");
    if (++r->depth > JINJA_DEPTH) return err_set(r->e, "it is nested too deep");
    size_t begin = r->at;
    struct jinja_value c = jinja_boolean(true), other = { 0 };
    r->dead++;
    int code = logic(v, r, true);
    r->dead--;
    bool choice = !code && jinja_skip_name(r, "if");
    if (choice) code = logic(&c, r, true);
    bool on = jinja_is_true(r, &c);
    size_t end = r->at;
    if (!code && on && !r->dead) {
        r->at = begin;
        code = logic(v, r, true);
        if (choice) r->at = end;
    }
    r->dead += on;
    if (!code && choice && jinja_skip_name(r, "else")) code = condition(&other, r);
    r->dead -= on;
    if (!on) *v = other;
    r->depth--;
    return code;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static int print(struct jinja_reader *r)
{
    struct jinja_value v = { 0 };
    int code = condition(&v, r);
    if (!code) code = jinja_want_close(r);
    if (!code && !r->dead) code = jinja_add_value(r, r->out, &v);
    return code;
}

static int set(struct jinja_reader *r)
{
    const struct jinja_word *w = jinja_word_at(r), *of = NULL;
    struct jinja_value v = { 0 }, space = { 0 };
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    if (jinja_skip_sign(r, ".")) {
        of = w;
        w = jinja_word_at(r);
        r->at++;
    }
    if (!jinja_is_sign(r, "=")) return err_set(r->e, "a set without = is not supported");
    r->at++;
    int code = condition(&v, r);
    if (!code) code = jinja_want_close(r);
    if (code || r->dead) return code;
    if (!of) return jinja_assign(r, jinja_bytes_of(r, w), w->n, 0, &v);
    code = jinja_look_up(&space, r, jinja_bytes_of(r, of), of->n);
    if (!code && space.kind != JINJA_SPACE) code = jinja_refuse(r, "an attribute that is set");
    return code ? code : jinja_assign(r, jinja_bytes_of(r, w), w->n, (size_t)space.number, &v);
}

/* if, elif, else: the first branch whose condition holds counts; the others are read without
 * effect. */
static int choose(struct jinja_reader *r)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    const char *end = "elif";
    bool done = false, last = false;
    int code = 0;
    while (!code && !last) {
        struct jinja_value c = jinja_boolean(true);
        r->dead += done;
        if (!strcmp(end, "elif")) code = condition(&c, r);
        if (!code) code = jinja_want_close(r);
        r->dead -= done;
        bool off = done || !jinja_is_true(r, &c);
        r->dead += off;
        if (!code) code = block(r, ends, &end);
        r->dead -= off;
        done |= !off;
        last = !code && !strcmp(end, "endif");
        if (last) code = jinja_want_close(r);
    }
    return code;
}

/* Forget the names that were set in a turn of a loop; names in a namespace stay. */
static void end_scope(struct jinja_reader *r, size_t from)
{
    size_t n = from;
    for (size_t i = from; i < r->n_variables; i++)
        if (r->variable[i].space) r->variable[n++] = r->variable[i];
    r->n_variables = n;
}

static int repeat(struct jinja_reader *r)
{
    static const char *const ends[] = { "endfor", NULL };
    const struct jinja_word *w = jinja_word_at(r);
    struct jinja_value over = { 0 };
    const char *end;
    if (w->kind != JINJA_NAME) return err_set(r->e, "a name is missing");
    r->at++;
    while (r->dead && jinja_skip_sign(r, ",") && jinja_word_at(r)->kind == JINJA_NAME) r->at++;
    if (!jinja_skip_name(r, "in")) return err_set(r->e, "a loop over pairs is not supported");
    int code = logic(&over, r, true); /* an if after it would be a filter */
    if (!code && jinja_is_name(r, "if")) code = jinja_refuse(r, "a loop with a condition");
    while (!code && r->dead && jinja_word_at(r)->kind < JINJA_END &&
           jinja_word_at(r)->kind != JINJA_CLOSE)
        r->at++;
    if (!code) code = jinja_want_close(r);
    if (!code && !r->dead && over.kind != JINJA_LIST)
        code = jinja_refuse(r, "a loop over something else");
    size_t begin = r->at, scope = r->scope;
    struct jinja_loop outer = r->loop;
    bool none = r->dead || !over.n; /* then the body is read once, without effect */
    r->dead += none;
    for (size_t i = 0; !code && i < (none ? 1 : over.n); i++) {
        r->at = begin;
        r->scope = r->n_variables;
        r->loop = (struct jinja_loop){ over, i };
        struct jinja_value v = jinja_item(&over, (long)i);
        code = jinja_assign(r, jinja_bytes_of(r, w), w->n, 0, &v);
        if (!code) code = block(r, ends, &end);
        end_scope(r, r->scope);
    }
    r->dead -= none;
    r->scope = scope;
    r->loop = outer;
    return code ? code : jinja_want_close(r);
}

/* Skip a macro: it would be read when it is called, and calls are not supported. */
static int skip_macro(struct jinja_reader *r)
{
    for (; jinja_word_at(r)->kind != JINJA_END; r->at++) {
        if (jinja_word_at(r)->kind != JINJA_BLOCK) continue;
        r->at++;
        if (jinja_skip_name(r, "endmacro")) return jinja_want_close(r);
    }
    return err_set(r->e, "a macro without an end");
}

static int statement(struct jinja_reader *r)
{
    if (jinja_skip_name(r, "if")) return choose(r);
    if (jinja_skip_name(r, "for")) return repeat(r);
    if (jinja_skip_name(r, "set")) return set(r);
    if (jinja_skip_name(r, "macro")) return skip_macro(r);
    /* a generation block marks the tokens of an answer and writes nothing */
    if (jinja_skip_name(r, "generation") || jinja_skip_name(r, "endgeneration"))
        return jinja_want_close(r);
    const struct jinja_word *w = jinja_word_at(r);
    return err_set(r->e, "the block %s is not supported", err_quote(jinja_bytes_of(r, w), w->n));
}

/* Read up to one of the blocks in `ends`, whose name becomes *end and is read; NULL: up to the end
 * of the program. */
static int block(struct jinja_reader *r, const char *const *ends, const char **end)
{
    int code = 0;
    if (++r->depth > JINJA_DEPTH) return err_set(r->e, "it is nested too deep");
    while (!code) {
        const struct jinja_word *w = jinja_word_at(r);
        if (++r->steps > JINJA_STEPS) return err_set(r->e, "it takes too many steps");
        if (w->kind == JINJA_END) {
            if (ends) return err_set(r->e, "a block without an end");
            break;
        }
        r->at++;
        if (w->kind == JINJA_TEXT && !r->dead) str_add(r->out, jinja_bytes_of(r, w), w->n);
        if (w->kind == JINJA_PRINT) code = print(r);
        if (w->kind != JINJA_BLOCK) continue;
        for (size_t i = 0; ends && ends[i]; i++) {
            if (!jinja_skip_name(r, ends[i])) continue;
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
    struct jinja_reader *r = mem_alloc(1, sizeof *r, e);
    if (!r) return e->code;
    *r = (struct jinja_reader){ .words = program, .c = c, .out = out, .e = e };
    str_clear(out);
    str_addz(out, "");
    int code = block(r, NULL, NULL);
    if (!code) code = str_error(out, e);
    *refuses = r->refuses;
    str_free(&r->pool);
    mem_free(r);
    return code;
}
