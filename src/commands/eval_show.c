#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/commands/eval.h"
#include "src/commands/job.h"
#include "src/session/answer.h"

/* As many as `lorac generate` makes when it is not told otherwise. */
enum { ANSWER_TOKENS = 256, QUESTION_CHARS = 160 };

struct show {
    const struct exam *exam;
    const struct exam_result *result;
    struct json_writer *json; /* NULL: for people */
    struct answerer answerer;
    struct str before, after;       /* what the template puts around the text of a user */
    struct str prompt, right, said; /* of one example */
    const struct watch *watch;
    size_t most, shown;
    size_t tokens, expected; /* tokens of the answer that is being made, and of the right one */
    size_t unasked;          /* examples that are wrong but have no question */
};

/* ---- an example as texts --------------------------------------------------------------------- */

/* The answer that holds a token: the tokens from .. to-1 of the example are its targets. */
struct span {
    size_t from, to;
};

static struct span answer_at(const struct examples *x, size_t example, size_t token)
{
    const uint8_t *target = x->target + x->at[example];
    size_t n = x->at[example + 1] - x->at[example];
    struct span s = { token, token + 1 };
    while (s.from > 0 && target[s.from - 1]) s.from--;
    while (s.to < n && target[s.to]) s.to++;
    return s;
}

/* Without the white space at both ends: templates differ in what they put there. */
static void trim(struct str *s)
{
    static const char white[] = " \t\r\n";
    size_t from = s->n ? strspn(s->p, white) : 0;
    while (s->n > from && strchr(white, s->p[s->n - 1])) s->n--;
    if (!s->p) return;
    memmove(s->p, s->p + from, s->n - from);
    s->n -= from;
    s->p[s->n] = 0;
}

static void decode(struct str *out, const struct session *s, const int32_t *ids, size_t n)
{
    str_clear(out);
    tokenizer_decode(s->tok, out, ids, n, false, true);
    trim(out);
}

/* A question in a template has the same text around it as any other. Where that cannot be found
 * out, the prompt is shown as it is. */
static int find_frame(struct show *w, struct err *e)
{
    static const char mark[] = "lorac0question";
    const struct session *s = w->exam->session;
    struct encoded x = { 0 };
    struct conversation c = { 0 };
    struct str text = { 0 };
    struct err unusable;
    conversation_clear(&c, RECORD_CHAT);
    int code = conversation_add(&c, ROLE_USER, mark, sizeof mark - 1, e);
    if (!code && !template_prompt(&x, s->template, s->tok, &c, &unusable)) {
        decode(&text, s, x.tokens.ids, x.tokens.n);
        const char *at = text.n ? strstr(text.p, mark) : NULL;
        if (at) str_add(&w->before, text.p, (size_t)(at - text.p));
        if (at) str_addz(&w->after, at + sizeof mark - 1);
        code = str_error(&text, e);
    }
    str_free(&text);
    conversation_free(&c);
    encoded_free(&x);
    return code;
}

/* The part of the prompt that the user wrote, as far as the template's own text can be told from
 * it. */
static void strip_frame(struct str *prompt, const struct show *w)
{
    size_t a = w->before.n, b = w->after.n;
    if (b && prompt->n >= b && !memcmp(prompt->p + prompt->n - b, w->after.p, b)) {
        prompt->n -= b;
        prompt->p[prompt->n] = 0;
    }
    if (a && prompt->n >= a && !memcmp(prompt->p, w->before.p, a)) {
        memmove(prompt->p, prompt->p + a, prompt->n - a + 1);
        prompt->n -= a;
    }
    trim(prompt);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool take_piece(void *to, const char *text, size_t n)
{
    struct show *w = to;
    struct err ignored;
    double part = fmin(1, (double)++w->tokens / (double)w->expected);
    (void)text, (void)n;
    return !watch_step(w->watch, (double)w->shown + part, (double)w->most, &ignored);
}

/* Each answer starts afresh: then it is the one of `lorac generate`, to the last bit. */
static int ask(struct show *w, const int32_t *prompt, size_t n, struct err *e)
{
    struct answer_options o = {
        .how = { .top_p = 1 }, .max_new_tokens = ANSWER_TOKENS, .sink = take_piece, .to = w
    };
    w->tokens = 0;
    str_clear(&w->said);
    answerer_forget(&w->answerer);
    int code = answer(&w->answerer, &w->said, prompt, n, &o, e);
    if (!code) code = watch_step(w->watch, (double)w->shown, (double)w->most, e);
    trim(&w->said);
    return code;
}

/* ---- output ---------------------------------------------------------------------------------- */

static void put(const char *text, size_t n)
{
    if (isatty(STDOUT_FILENO)) {
        term_text(stdout, text, n, "\xef\xbf\xbd");
    } else {
        fwrite(text, 1, n, stdout);
    }
}

/* "  right    text", further lines of the text below its first. */
static void put_text(const char *name, const struct str *text)
{
    size_t n;
    printf("  %-8s ", name);
    for (size_t i = 0; i < text->n; i += n + 1) {
        const char *end = memchr(text->p + i, '\n', text->n - i);
        n = end ? (size_t)(end - text->p) - i : text->n - i;
        if (i) printf("%11s", "");
        put(text->p + i, n);
        putchar('\n');
    }
    if (!text->n) puts("(nothing)");
}

/* One line of the question: its end, where it is long. */
static void put_question(const struct str *prompt)
{
    struct str line = { 0 };
    for (size_t i = 0; i < prompt->n; i++) {
        bool white = strchr(" \t\r\n", prompt->p[i]) != NULL;
        if (!white) str_addc(&line, prompt->p[i]);
        if (white && line.n && line.p[line.n - 1] != ' ') str_addc(&line, ' ');
    }
    size_t from = line.n, chars = 0;
    while (from > 0 && chars < QUESTION_CHARS)
        chars += (line.p[--from] & 0xc0) != 0x80;            /* the first byte of a character */
    if (from && memchr(line.p + from, ' ', line.n - from)) { /* at a word, if there is one */
        while (line.p[from] != ' ') from++;
        from++;
    }
    if (from) {
        struct str cut = { 0 };
        str_addf(&cut, "... %s", line.p + from);
        put_text("prompt", &cut);
        str_free(&cut);
    } else {
        put_text("prompt", &line);
    }
    str_free(&line);
}

static void print_example(const struct show *w, const char *path, size_t line)
{
    const struct session *s = w->exam->session;
    job_hide();
    term_print(stdout, "\n%s:%zu\n", path, line);
    put_question(&w->prompt);
    put_text("right", &w->right);
    put_text(s->has_adapter ? "adapter" : "model", &w->said);
    if (w->right.n == w->said.n && (!w->said.n || !memcmp(w->right.p, w->said.p, w->said.n)))
        puts("           (the same text, but not in the same tokens)");
    fflush(stdout);
}

static void write_text(struct json_writer *json, const char *key, const struct str *s)
{
    json_write_text_n(json, key, s->n ? s->p : "", s->n);
}

static void write_example(const struct show *w, const char *path, size_t line)
{
    json_write_object(w->json, NULL, JSON_ONE_LINE);
    json_write_text(w->json, "file", path);
    json_write_count(w->json, "line", line);
    write_text(w->json, "prompt", &w->prompt);
    write_text(w->json, "right", &w->right);
    write_text(w->json, "answer", &w->said);
    json_write_end(w->json);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int show_example(struct show *w, size_t example, struct err *e)
{
    const struct examples *x = w->exam->examples;
    const struct session *s = w->exam->session;
    const int32_t *ids = x->ids + x->at[example];
    struct span at = answer_at(x, example, w->result->missed[example]);
    if (at.from == 0 || (at.from == 1 && ids[0] == tokenizer_bos(s->tok))) {
        w->unasked++;
        return 0;
    }
    decode(&w->prompt, s, ids, at.from);
    strip_frame(&w->prompt, w);
    decode(&w->right, s, ids + at.from, at.to - at.from);
    w->expected = at.to - at.from;
    int code = ask(w, ids, at.from, e);
    if (!code) code = str_error(&w->prompt, e);
    if (!code) code = str_error(&w->right, e);
    if (code) return code;
    size_t line, source = origin_of(&line, w->exam->origins, example);
    if (w->json) {
        write_example(w, w->exam->paths[source], line);
    } else {
        print_example(w, w->exam->paths[source], line);
    }
    w->shown++;
    return 0;
}

static size_t count_wrong(const struct exam_result *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->own.examples; i++) n += r->missed[i] > 0;
    return n;
}

static int show_all(struct show *w, struct err *e)
{
    size_t n = w->exam->examples->n, wrong = count_wrong(w->result);
    int code = find_frame(w, e);
    if (wrong < w->most) w->most = wrong;
    if (w->json) {
        json_write_array(w->json, "wrong_answers", JSON_ONE_LINE);
    } else {
        printf("wrong answers   %zu, of which %zu %s\n", wrong, w->most,
               w->most == 1 ? "is shown" : "are shown");
    }
    for (size_t i = 0; !code && i < n && w->shown < w->most && !ferror(stdout); i++)
        if (w->result->missed[i]) code = show_example(w, i, e);
    if (w->json) json_write_end(w->json);
    if (w->unasked) {
        fprintf(stderr,
                "note: --show: %s with a wrong token %s left out: everything in them is learnt, so "
                "that there is no question to ask\n",
                str_count(w->unasked, "example"), w->unasked == 1 ? "is" : "are");
    }
    return code;
}

int exam_show(const struct exam *x, const struct exam_result *r, size_t most, struct json_writer *w,
              struct err *e)
{
    struct show s = { .exam = x, .result = r, .json = w, .most = most };
    int code = answerer_init(&s.answerer, x->session, e);
    if (code) return code;
    s.watch = job_watch("answering", NULL);
    code = show_all(&s, e);
    answerer_free(&s.answerer);
    str_free(&s.before);
    str_free(&s.after);
    str_free(&s.prompt);
    str_free(&s.right);
    str_free(&s.said);
    return code;
}
