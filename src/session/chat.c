#include "src/session/chat.h"

#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/utf8.h"

enum { ANSWER_ROOM = 64 };

int chat_init(struct chat *c, const struct session *s, const char *system, struct err *e)
{
    *c = (struct chat){ 0 };
    if (system && !(c->system = mem_strdup(system, e))) return e->code;
    int code = answerer_init(&c->answerer, s, e);
    if (code) chat_free(c);
    return code;
}

static void forget(struct chat *c, size_t n)
{
    for (size_t i = 0; i < n; i++) str_free(&c->said[i].text);
    for (size_t i = n; i < c->n; i++) c->said[i - n] = c->said[i];
    c->n -= n;
    c->encoded = false;
}

void chat_forget(struct chat *c)
{
    forget(c, c->n);
    c->forgot = 0;
    answerer_forget(&c->answerer);
}

void chat_free(struct chat *c)
{
    forget(c, c->n);
    mem_free(c->said);
    mem_free(c->system);
    encoded_free(&c->prompt);
    answerer_free(&c->answerer);
    *c = (struct chat){ 0 };
}

int chat_say(struct chat *c, enum role role, const char *text, size_t n, struct err *e)
{
    struct chat_message *more = mem_resize(c->said, c->n + 1, sizeof *more, e);
    if (!more) return e->code;
    c->said = more;
    c->said[c->n] = (struct chat_message){ .role = role };
    str_add(&c->said[c->n].text, text, n);
    c->encoded = false;
    return str_error(&c->said[c->n++].text, e);
}

void chat_take_back(struct chat *c)
{
    if (!c->n) return;
    str_free(&c->said[--c->n].text);
    c->encoded = false;
}

bool chat_again(struct chat *c)
{
    if (c->n && c->said[c->n - 1].role == ROLE_ASSISTANT) chat_take_back(c);
    return c->n > 0;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

/* The prompt of the messages from `first` on. */
static int encode(struct chat *c, size_t first, struct err *e)
{
    const struct session *s = c->answerer.session;
    struct conversation talk = { 0 };
    int code = 0;
    conversation_clear(&talk, RECORD_CHAT);
    if (c->system) code = conversation_add(&talk, ROLE_SYSTEM, c->system, strlen(c->system), e);
    for (size_t i = first; !code && i < c->n; i++) {
        const struct str *text = &c->said[i].text;
        code = conversation_add(&talk, c->said[i].role, text->n ? text->p : "", text->n, e);
    }
    if (!code) code = template_prompt(&c->prompt, s->template, s->tok, &talk, e);
    conversation_free(&talk);
    return code;
}

int chat_make_prompt(size_t *forgot, struct chat *c, struct err *e)
{
    size_t context = c->answerer.session->model.dims.context, first = 0;
    size_t most = context > 2 * ANSWER_ROOM ? context - ANSWER_ROOM : context - 1;
    *forgot = 0;
    int code = encode(c, 0, e);
    while (!code && c->prompt.tokens.n > most && first + 2 < c->n) code = encode(c, first += 2, e);
    size_t n = c->prompt.tokens.n;
    if (!code && n >= context) {
        code = err_set(e, "the prompt has %s, the model's context is %zu", str_count(n, "token"),
                       context);
    }
    c->encoded = !code;
    if (code) return code;
    forget(c, first);
    c->encoded = true;
    *forgot = first / 2;
    c->forgot += *forgot;
    return 0;
}

/* An error unless the template has a place for the text, and the context room for it. */
static int check_system(struct chat *c, const char *system, struct err *e)
{
    const struct session *s = c->answerer.session;
    struct conversation talk = { 0 };
    conversation_clear(&talk, RECORD_CHAT);
    int code = conversation_add(&talk, ROLE_SYSTEM, system, strlen(system), e);
    if (!code) code = conversation_add(&talk, ROLE_USER, "?", 1, e);
    if (!code) code = template_prompt(&c->prompt, s->template, s->tok, &talk, e);
    conversation_free(&talk);
    c->encoded = false;
    size_t n = c->prompt.tokens.n, context = s->model.dims.context;
    if (code || n < context) return code;
    return err_set(e, "the system text has %s, the model's context is %zu", str_count(n, "token"),
                   context);
}

int chat_set_system(struct chat *c, const char *system, struct err *e)
{
    char *copy = NULL;
    int code = system ? check_system(c, system, e) : 0;
    if (!code && system && !(copy = mem_strdup(system, e))) code = e->code;
    if (code) return code;
    mem_free(c->system);
    c->system = copy;
    c->encoded = false;
    return 0;
}

void chat_use_adapter(struct chat *c, bool on)
{
    if (c->answerer.base_only == !on) return;
    answerer_forget(&c->answerer);
    c->answerer.base_only = !on;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Text may be invalid if the answer was stopped inside a character, or if the model makes no
 * sense. */
static void make_valid(struct str *out, const char *text, size_t n)
{
    size_t at;
    while (n && !utf8_valid(text, n, &at)) {
        str_add(out, text, at);
        str_addz(out, "\xef\xbf\xbd");
        text += at + 1;
        n -= at + 1;
    }
    str_add(out, text, n);
}

int chat_answer(struct chat *c, const struct answer_options *o, struct err *e)
{
    struct str text = { 0 }, valid = { 0 };
    size_t forgot;
    int code = c->encoded ? 0 : chat_make_prompt(&forgot, c, e);
    if (!code) {
        const struct tokens *prompt = &c->prompt.tokens;
        code = answer(&c->answerer, &text, prompt->ids, prompt->n, o, e);
    }
    if (!code && text.n) make_valid(&valid, text.p, text.n);
    if (!code) code = str_error(&valid, e);
    if (!code) code = chat_say(c, ROLE_ASSISTANT, valid.n ? valid.p : "", valid.n, e);
    str_free(&valid);
    str_free(&text);
    return code;
}

/* ---- as a record ----------------------------------------------------------------------------- */

static void write_message(struct json_writer *w, enum role role, const char *text, size_t n)
{
    json_write_object(w, NULL, JSON_ONE_LINE);
    json_write_text(w, "role", role_name(role));
    json_write_text_n(w, "content", text, n);
    json_write_end(w);
}

int chat_write(struct str *out, const struct chat *c, struct err *e)
{
    struct json_writer w = { .out = out };
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_array(&w, "messages", JSON_ONE_LINE);
    if (c->system) write_message(&w, ROLE_SYSTEM, c->system, strlen(c->system));
    for (size_t i = 0; i < c->n; i++) {
        const struct str *text = &c->said[i].text;
        write_message(&w, c->said[i].role, text->n ? text->p : "", text->n);
    }
    json_write_end(&w);
    json_write_end(&w);
    str_addc(out, '\n');
    return str_error(out, e);
}
