#include "src/session/chat.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"

enum { ANSWER_ROOM = 64 };

int chat_init(struct chat *c, const struct session *s, const char *system, struct err *e)
{
    *c = (struct chat){ .system = system };
    return answerer_init(&c->answerer, s, e);
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
    answerer_forget(&c->answerer);
}

void chat_free(struct chat *c)
{
    forget(c, c->n);
    mem_free(c->said);
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

static int encode(struct chat *c, struct err *e)
{
    const struct session *s = c->answerer.session;
    struct conversation talk = { 0 };
    int code = 0;
    conversation_clear(&talk, RECORD_CHAT);
    if (c->system) code = conversation_add(&talk, ROLE_SYSTEM, c->system, strlen(c->system), e);
    for (size_t i = 0; !code && i < c->n; i++) {
        const struct str *text = &c->said[i].text;
        code = conversation_add(&talk, c->said[i].role, text->n ? text->p : "", text->n, e);
    }
    if (!code) code = template_prompt(&c->prompt, s->template, s->tok, &talk, e);
    conversation_free(&talk);
    return code;
}

int chat_make_prompt(size_t *forgot, struct chat *c, struct err *e)
{
    size_t context = c->answerer.session->model.dims.context;
    size_t most = context > 2 * ANSWER_ROOM ? context - ANSWER_ROOM : context - 1;
    *forgot = 0;
    int code = encode(c, e);
    while (!code && c->prompt.tokens.n > most && c->n > 2) {
        forget(c, 2);
        ++*forgot;
        code = encode(c, e);
    }
    c->encoded = !code;
    return code;
}

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
