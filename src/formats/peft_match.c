#include "src/formats/peft_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "src/base/mem.h"
#include "src/base/wordlists.h"

enum {
    /* Bytes of a regular expression; unsloth's for all modules has 500. */
    LONGEST = 4096,
    PATTERN_MOST = 1000,
    /* Steps of one match. One text that chooses all modules is long and is matched once for each;
     * patterns of single modules are short, and there may be thousands of them. */
    CHOICE_MOST = 200000,
    MATCH_MOST = 10000,
};

static const struct {
    const char *before, *after;
    uint32_t options;
} anchors[] = {
    [PEFT_WHOLE] = { "", "", PCRE2_ANCHORED | PCRE2_ENDANCHORED },
    [PEFT_TAIL] = { "(.*\\.)?(", ")$", PCRE2_ANCHORED },
    [PEFT_PATH] = { "(^|.*\\.)", "($|\\..*)", PCRE2_ANCHORED },
    [PEFT_LAYER] = { "(?:^|.*?\\.)", "\\.(?P<idx>\\d+)\\.", PCRE2_ANCHORED },
};

int peft_pattern_compile(struct peft_pattern *p, const char *text, enum peft_anchor anchor,
                         const char *key, const char *where, struct err *e)
{
    size_t n = strlen(text);
    int most = anchor == PEFT_WHOLE ? LONGEST : PATTERN_MOST;
    if (n > (size_t)most) {
        return err_set(e, "%s: %s: found a pattern of %zu bytes, wanted at most %d", where, key, n,
                       most);
    }
    char whole[LONGEST + 64];
    snprintf(whole, sizeof whole, "%s%s%s", anchors[anchor].before, text, anchors[anchor].after);
    p->anchor = anchor;
    p->key = mem_strdup(text, e);
    if (!p->key) return e->code;
    int number;
    PCRE2_SIZE at;
    p->regex = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED, anchors[anchor].options,
                             &number, &at, NULL);
    if (p->regex) return 0;
    char why[128] = "";
    pcre2_get_error_message(number, (PCRE2_UCHAR *)why, sizeof why);
    return err_set(e, "%s: %s: found %s, wanted a regular expression: %s", where, key,
                   err_quotez(text), why);
}

void peft_pattern_free(struct peft_pattern *p)
{
    mem_free((void *)(uintptr_t)p->key);
    pcre2_code_free(p->regex);
    *p = (struct peft_pattern){ 0 };
}

/* The number in the group "idx"; -1 if it has too many digits for a layer. */
static int64_t group_number(pcre2_match_data *data)
{
    PCRE2_UCHAR *text;
    PCRE2_SIZE n;
    if (pcre2_substring_get_byname(data, (PCRE2_SPTR) "idx", &text, &n)) return -1;
    int64_t v = n > 0 && n < 18 ? strtoll((const char *)text, NULL, 10) : -1;
    pcre2_substring_free(text);
    return v;
}

int peft_pattern_match(bool *is, int64_t *group, const struct peft_pattern *p, const char *module,
                       const char *path, struct err *e)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_match_data *data = limits ? pcre2_match_data_create_from_pattern(p->regex, NULL) : NULL;
    int code = data ? 0 : err_code(e, ERR_MEMORY, "out of memory: a pattern of an adapter");
    *is = false;
    if (!code) {
        pcre2_set_match_limit(limits, p->anchor == PEFT_WHOLE ? CHOICE_MOST : MATCH_MOST);
        int found = pcre2_match(p->regex, (PCRE2_SPTR)module, strlen(module), 0, 0, data, limits);
        *is = found >= 0;
        if (*is && group) *group = group_number(data);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
            code = err_set(e, "%s: the pattern %s takes too long to match", path,
                           err_quotez(p->key));
        }
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    return code;
}
