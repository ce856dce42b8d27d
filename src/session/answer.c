#include "src/session/answer.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"

int answerer_init(struct answerer *a, const struct session *s, struct err *e)
{
    size_t V = s->model.dims.V;
    *a = (struct answerer){ .session = s };
    a->scratch = mem_alloc(V, sizeof *a->scratch, e);
    int code = a->scratch ? tokenizer_mute(&a->mute, s->tok, V, e) : e->code;
    if (code) answerer_free(a);
    return code;
}

void answerer_forget(struct answerer *a)
{
    if (a->begun) generator_free(&a->g);
    mem_free(a->ids);
    a->ids = NULL;
    a->begun = false;
}

void answerer_free(struct answerer *a)
{
    answerer_forget(a);
    mem_free(a->scratch);
    mem_free(a->mute);
    *a = (struct answerer){ 0 };
}

/* ---- the prompt ------------------------------------------------------------------------------ */

/* A generator with room for `most` tokens, and memory for their ids. */
static int make_room(struct generator *g, int32_t **ids, const struct answerer *a, size_t rows,
                     size_t most, struct err *e)
{
    const struct session *s = a->session;
    const struct adapter *adapter = a->base_only ? NULL : session_adapter(s);
    *ids = mem_alloc(most, sizeof **ids, e);
    if (!*ids) return e->code;
    int code = generator_init(g, &s->model, adapter, s->k, 1, rows, most, e);
    if (code) {
        mem_free(*ids);
        *ids = NULL;
    }
    return code;
}

/* Compute the whole prompt at once. `most`: tokens of prompt and answer together. */
static int begin(struct answerer *a, const int32_t *prompt, size_t n, size_t most, struct err *e)
{
    size_t rows = n > GENERATOR_APPEND ? n : GENERATOR_APPEND;
    answerer_forget(a);
    int code = make_room(&a->g, &a->ids, a, rows, most, e);
    if (code) return code;
    a->begun = true;
    generator_begin(&a->g, &prompt, &n);
    memcpy(a->ids, prompt, n * sizeof *prompt);
    a->computed += n;
    return 0;
}

/* Make a quarter more room than is asked for, since a chat asks for more with each message. Rows
 * for a whole prompt are not needed again. */
static int grow(struct answerer *a, size_t most, struct err *e)
{
    size_t context = a->session->model.dims.context, more = most + most / 4;
    struct generator larger;
    int32_t *ids;
    if (more > context && most <= context) more = context;
    int code = make_room(&larger, &ids, a, GENERATOR_APPEND, more, e);
    if (code) return code;
    generator_take_over(&larger, &a->g);
    memcpy(ids, a->ids, a->g.length[0] * sizeof *ids);
    answerer_forget(a);
    a->g = larger;
    a->ids = ids;
    a->begun = true;
    return 0;
}

/* How many tokens of the prompt are computed already. The last one never counts: its logits are
 * needed. */
static size_t known(const struct answerer *a, const int32_t *prompt, size_t n)
{
    size_t same = 0, have = a->begun ? a->g.length[0] : 0;
    while (same < have && same + 1 < n && a->ids[same] == prompt[same]) same++;
    return same;
}

static void append(struct answerer *a, const int32_t *ids, size_t n)
{
    memcpy(a->ids + a->g.length[0], ids, n * sizeof *ids);
    generator_append(&a->g, ids, n);
    a->computed += n;
}

/* Read the prompt into the generator, whose logits are then about the answer's first token. */
static int read_prompt(struct answerer *a, const int32_t *prompt, size_t n, size_t most,
                       struct err *e)
{
    size_t same = known(a, prompt, n);
    if (!same) return begin(a, prompt, n, most, e);
    generator_truncate(&a->g, same);
    int code = most > a->g.max_keys ? grow(a, most, e) : 0;
    if (!code) append(a, prompt + same, n - same);
    return code;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Ids that have no piece must never be generated. */
static void silence(real *logits, const uint8_t *mute, size_t V)
{
    for (size_t i = 0; mute && i < V; i++)
        if (mute[i]) logits[i] = -(real)INFINITY;
}

/* Hand out the complete UTF-8 characters after the first *sent bytes; a character whose last bytes
 * are still to come waits, unless `all`. False: the sink wants no more. */
static bool hand_out(size_t *sent, const struct str *text, bool all, const struct answer_options *o)
{
    size_t at = 0, n = text->n - *sent;
    if (!all && !utf8_valid(text->p + *sent, n, &at) && n - at < 4) n = at;
    const char *from = text->p + *sent;
    *sent += n;
    return !n || !o->sink || o->sink(o->to, from, n);
}

static int say(struct str *text, size_t *sent, struct answerer *a, int32_t *ids, size_t most,
               const struct answer_options *o, struct err *e)
{
    const struct session *s = a->session;
    size_t V = s->model.dims.V;
    for (size_t i = 0; i < most && !(o->stop && *o->stop); i++) {
        silence(a->g.logits, a->mute, V);
        ids[i] = sample_token(a->g.logits, V, &o->how, 0, i, a->scratch);
        if (ids[i] < 0) {
            return err_set(e,
                           "token %zu of the answer: the logits are not finite: the model's or the "
                           "adapter's numbers overflow",
                           i + 1);
        }
        if (template_stops(s->template, s->tok, ids[i])) break;
        str_clear(text);
        tokenizer_decode(s->tok, text, ids, i + 1, false, false);
        int code = str_error(text, e);
        if (code) return code;
        if (text->n && !hand_out(sent, text, false, o)) *sent = text->n, most = i;
        if (i + 1 >= most) break;
        a->ids[a->g.length[0]] = ids[i];
        generator_step(&a->g, &ids[i]);
        a->computed++;
    }
    return 0;
}

int answer(struct answerer *a, struct str *text, const int32_t *prompt, size_t n,
           const struct answer_options *o, struct err *e)
{
    size_t context = a->session->model.dims.context, room = n < context ? context - n : 0;
    size_t most = o->max_new_tokens < room ? o->max_new_tokens : room, sent = 0;
    if (!n) return err_set(e, "the prompt is empty");
    if (!room) {
        return err_set(e, "the prompt has %s, the model's context is %zu", str_count(n, "token"),
                       context);
    }
    struct str said = { 0 };
    int32_t *ids = mem_alloc(most, sizeof *ids, e);
    int code = ids ? read_prompt(a, prompt, n, n + most, e) : e->code;
    if (!code) code = say(&said, &sent, a, ids, most, o, e);
    if (!code && said.n > sent) hand_out(&sent, &said, true, o);
    if (text && said.n) str_add(text, said.p, said.n);
    if (!code && text) code = str_error(text, e);
    str_free(&said);
    mem_free(ids);
    return code;
}
