#include "src/data/template_tokens.h"

#include <string.h>

int32_t template_token(const struct tokenizer *tok, const struct template_piece *p)
{
    if (piece_is(p, "bos")) return tokenizer_bos(tok);
    if (piece_is(p, "eos")) return tokenizer_eos(tok);
    char text[64];
    CHECK(p->n < sizeof text);
    memcpy(text, p->text, p->n);
    text[p->n] = 0;
    return tokenizer_special(tok, text);
}

bool template_lacks(struct template_piece *out, const struct template *t,
                    const struct tokenizer *tok)
{
    const char *parts[] = { t->begin, t->system,    t->user,   t->input,
                            t->tool,  t->assistant, t->between };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (const char *at = parts[i]; piece_next(out, &at);) {
            if (!piece_is_special(out)) continue;
            int32_t id = template_token(tok, out);
            if (id < 0 || !tokenizer_has_row(tok, id)) return true;
        }
    }
    return false;
}

bool template_fits(const struct template *t, const struct tokenizer *tok)
{
    struct template_piece missing;
    return !template_lacks(&missing, t, tok);
}

int32_t template_spelt_special(size_t *n, const struct tokenizer *tok, const char *text,
                               size_t left)
{
    enum { SPELLING_BYTES = 64 };
    char name[SPELLING_BYTES];
    if (*text != '<' && *text != '[') return -1;
    const char *end = memchr(text, *text == '<' ? '>' : ']',
                             left < SPELLING_BYTES - 1 ? left : SPELLING_BYTES - 1);
    if (!end) return -1;
    *n = (size_t)(end - text) + 1;
    memcpy(name, text, *n);
    name[*n] = 0;
    return strlen(name) == *n ? tokenizer_special(tok, name) : -1;
}
