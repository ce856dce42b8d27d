/* A tokenizer and a model with a different number of rows. */
#include "src/base/mem.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

void padding_name(struct str *out, int32_t id)
{
    str_addf(out, "[PAD%d]", (int)id);
}

/* Added tokens and unused pieces: a text reaches them only if it spells them or they are placed by
 * id. */
static bool is_spare(const struct tokenizer *t, int32_t id)
{
    enum token_type type = t->vocab.pieces[id].type;
    return special_type(type) || type == TOKEN_UNUSED;
}

int32_t tokenizer_needs(const struct tokenizer *t, size_t rows)
{
    for (size_t i = rows; i < t->vocab.n; i++) {
        int32_t id = (int32_t)i;
        if (!is_spare(t, id) || id == t->bos || id == t->eos) return id;
    }
    return -1;
}

int tokenizer_fit(struct tokenizer *t, size_t rows, const char *model, struct err *e)
{
    for (size_t i = rows; i < t->vocab.n; i++) {
        if (is_spare(t, (int32_t)i)) continue;
        return err_set(e,
                       "%s: the tokenizer has %zu ids, the model's vocabulary %zu, and id %zu is "
                       "an ordinary piece; they do not belong together: name the model's own "
                       "tokenizer with --tokenizer or model.tokenizer",
                       model, t->vocab.n, rows, i);
    }
    t->rows = rows;
    return 0;
}

bool tokenizer_has_row(const struct tokenizer *t, int32_t id)
{
    return !t->rows || (size_t)id < t->rows;
}

int tokenizer_no_row(const struct tokenizer *t, int32_t id, struct err *e)
{
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    return err_set(e,
                   "the token %s has the id %d, the model has %zu rows: it was added to the "
                   "tokenizer but not to the model; leave it out, or take a base whose embedding "
                   "has a row for it",
                   err_quote(text, n), (int)id, t->rows);
}

int tokenizer_mute(uint8_t **mute, const struct tokenizer *t, size_t rows, struct err *e)
{
    *mute = NULL;
    bool any = rows > t->vocab.n;
    size_t n = any ? t->vocab.n : rows;
    for (size_t i = 0; i < n && !any; i++) any = t->vocab.pieces[i].type == TOKEN_UNUSED;
    if (!any) return 0;
    *mute = mem_alloc(rows, 1, e);
    if (!*mute) return e->code;
    for (size_t i = 0; i < rows; i++)
        (*mute)[i] = i >= n || t->vocab.pieces[i].type == TOKEN_UNUSED;
    return 0;
}
