#include "src/commands/answer.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/utf8.h"

/* Text of a model for stdout. To a terminal what is unsafe there goes as U+FFFD: what a model says must
 * not move the cursor, set the clipboard, hide letters or make the terminal answer in the user's name. */
static void print_text(const char *text, size_t n)
{
    if (isatty(STDOUT_FILENO)) {
        term_text(stdout, text, n, "\xef\xbf\xbd");
    } else {
        fwrite(text, 1, n, stdout);
    }
}

/* Print what is whole UTF-8 of the text so far; characters whose last bytes are still to come wait. */
static size_t print_from(const struct str *text, size_t printed)
{
    size_t at = text->n;
    if (!utf8_valid(text->p + printed, text->n - printed, &at) && text->n - printed - at < 4) {
        at += printed;
    } else {
        at = text->n;
    }
    print_text(text->p + printed, at - printed);
    fflush(stdout);
    return at;
}

/* Ids that have no piece are never said. */
static void silence(real *logits, const uint8_t *mute, size_t V)
{
    for (size_t i = 0; mute && i < V; i++)
        if (mute[i]) logits[i] = -(real)INFINITY;
}

static int write_tokens(struct str *text, struct generator *g, int32_t *ids, size_t most,
                        const struct inference *x, const struct answer_options *o,
                        uint32_t *scratch, const uint8_t *mute, struct err *e)
{
    struct sampling how = o->how;
    size_t printed = 0;
    int code = 0;
    for (size_t i = 0; i < most && !(o->stop && *o->stop); i++) {
        silence(g->logits, mute, x->model.shape.V);
        ids[i] = sample_token(g->logits, x->model.shape.V, &how, 0, i, scratch);
        if (ids[i] < 0) {
            code = err_set(e,
                           "token %zu of the answer: the logits are not finite: the model's or the "
                           "adapter's numbers overflow",
                           i + 1);
            break;
        }
        if (template_stops(x->template, x->tok, ids[i])) break;
        str_clear(text);
        tokenizer_decode(x->tok, text, ids, i + 1, false, false);
        code = str_error(text, e);
        if (code) break;
        if (text->n) printed = print_from(text, printed);
        if (i + 1 < most) generator_step(g, &ids[i]);
    }
    if (!code && text->n > printed) print_text(text->p + printed, text->n - printed);
    if (printed || !code) putchar('\n');
    fflush(stdout);
    return code;
}

int answer_write(struct str *text, const struct inference *x, const struct encoded *in,
                 const struct answer_options *o, struct err *e)
{
    const struct shape *s = &x->model.shape;
    size_t n = in->tokens.n, room = n < s->context ? s->context - n : 0;
    size_t most = o->max_new_tokens < room ? o->max_new_tokens : room;
    if (!room) {
        return err_set(e, "the prompt has %zu tokens, the model's context is %zu", n, s->context);
    }
    struct generator g;
    struct str said = { 0 };
    uint32_t *scratch = mem_alloc(s->V, sizeof *scratch, e);
    int32_t *ids = mem_alloc(most, sizeof *ids, e);
    uint8_t *mute = NULL;
    int code = scratch && ids ? tokenizer_mute(&mute, x->tok, s->V, e) : e->code;
    if (!code) {
        code = generator_init(&g, &x->model, inference_adapter(x), x->k, 1, n, n + most, e);
    }
    if (!code) {
        const int32_t *first = in->tokens.ids;
        generator_begin(&g, &first, &n);
        code = write_tokens(&said, &g, ids, most, x, o, scratch, mute, e);
        if (text && said.n) str_add(text, said.p, said.n);
        if (!code) code = str_error(&said, e);
        if (!code && text) code = str_error(text, e);
        generator_free(&g);
    }
    str_free(&said);
    mem_free(ids);
    mem_free(mute);
    mem_free(scratch);
    return code;
}
