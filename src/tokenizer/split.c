#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/tokenizer/split.h"

#include <pcre2.h>
#include <string.h>

/* Unicode's White_Space, the meaning of \s in Hugging Face's tokenizers. PCRE2's \s would also take
 * U+180E. */
#define SPACE                                                                                      \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"            \
    "\\x{205f}\\x{3000}"
#define LETTER "\\p{L}"
#define NUMBER "\\p{N}"
#define OTHER  "[^" SPACE LETTER NUMBER "]"

#define GPT2_REGEX                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The patterns of Llama 3 and Qwen2, which differ in how many digits they keep together. */
#define LLAMA3_REGEX(number)                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" number                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* The same with possessive quantifiers where backtracking never helps, so that the time is linear.
 * Each pattern matches at every position of every text.
 *
 * SmolLM2: every \p{N} alone, then GPT-2's pattern on the text between. The end of a part counts
 *          as "no \S follows", so spaces before a digit stay together.
 * Llama 3: \s*[\r\n]+ always ends with the last line end of the spaces: \s*[\r\n]. It backtracks
 *          once over the spaces after it, which the next match takes. */
#define LLAMA3_PATTERN(number)                                                                     \
    "(?i:'(?:[stmd]|re|ve|ll))|[^\\r\\n" LETTER NUMBER "]?" LETTER "++|" number "| ?" OTHER        \
    "++[\\r\\n]*+|[" SPACE "]*[\\r\\n]|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++"

const struct pretokenizer_row pretokenizers[PRETOKENIZERS] = {
    [PRE_NONE] = { .names = { "default" } },
    [PRE_GPT2] = { .names = { "gpt-2" },
                   .regex = GPT2_REGEX,
                   .pattern = "'(?:[stmd]|re|ve|ll)| ?" LETTER "++| ?" NUMBER "++| ?" OTHER "++"
                              "|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++" },
    [PRE_SMOLLM] = { .names = { "smollm" },
                     .pattern = NUMBER "|'(?:[stmd]|re|ve|ll)| ?" LETTER "++| ?" OTHER "++"
                                       "|[" SPACE "]+(?![^" SPACE NUMBER "])|[" SPACE "]++" },
    [PRE_LLAMA3] = { .names = { "llama-bpe", "llama3", "llama-v3" },
                     .ignore_merges = true,
                     .adds_bos = true,
                     .regex = LLAMA3_REGEX("\\p{N}{1,3}"),
                     .split = true,
                     .pattern = LLAMA3_PATTERN(NUMBER "{1,3}+") },
    [PRE_QWEN2] = { .names = { "qwen2", "deepseek-r1-qwen" },
                    .regex = LLAMA3_REGEX("\\p{N}"),
                    .split = true,
                    .pattern = LLAMA3_PATTERN(NUMBER) },
};

int splitter_init(struct splitter *s, enum pretokenizer pre, struct err *e)
{
    int number;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pretokenizers[pre].pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &number, &at, NULL);
    if (!code) {
        char text[120];
        pcre2_get_error_message(number, (PCRE2_UCHAR *)text, sizeof text);
        return err_set(e,
                       "PCRE2 refuses the pre-tokeniser's pattern: %s; it has to be built with "
                       "Unicode support",
                       text);
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where this fails, the interpreter runs */
    s->code = code;
    return 0;
}

void splitter_release(struct splitter *s)
{
    pcre2_code_free(s->code);
    *s = (struct splitter){ 0 };
}

int splits_init(struct splits *w, const struct splitter *s, struct err *e)
{
    *w = (struct splits){ .splitter = s };
    w->match = pcre2_match_data_create(1, NULL);
    w->limits = pcre2_match_context_create(NULL);
    if (w->match && w->limits) return 0;
    splits_release(w);
    return err_set(e, "out of memory: PCRE2");
}

void splits_release(struct splits *w)
{
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->limits);
    *w = (struct splits){ 0 };
}

void splits_begin(struct splits *w, const char *text, size_t n)
{
    enum { STEPS_LEAST = 1000 };
    w->text = text;
    w->n = n;
    w->at = 0;
    size_t most = n < UINT32_MAX / 4 ? 2 * n + STEPS_LEAST : UINT32_MAX;
    pcre2_set_match_limit(w->limits, (uint32_t)most); /* the patterns need far less */
}

int splits_next(struct splits *w, bool *more, size_t *start, size_t *end, struct err *e)
{
    *more = w->at < w->n;
    if (!*more) return 0;
    int found = pcre2_match(w->splitter->code, (PCRE2_SPTR)w->text, w->n, w->at, PCRE2_NO_UTF_CHECK,
                            w->match, w->limits);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(w->match);
    if (found < 0 || range[1] <= w->at) {
        return err_set(e, "the pre-tokeniser gave up at byte %zu (PCRE2 code %d)", w->at, found);
    }
    *start = w->at;
    *end = w->at = range[1];
    return 0;
}
