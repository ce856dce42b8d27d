#include "src/formats/peft_match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "src/base/mem.h"
#include "src/base/wordlists.h"

enum {
    /* Bytes of a regular expression; unsloth's for all modules have 500. */
    LONGEST = 4096,
    PATTERN_MOST = 1000,
    /* Steps of one match. One text that chooses all modules is long and matched once for each;
     * patterns of single modules are short, and there may be thousands. */
    CHOICE_MOST = 200000,
    MATCH_MOST = 10000,
};

const char peft_layer_default[] = "[^.]*";

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

/* The digits of the group "idx"; -1 where there are too many for a layer. */
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

/* ---- which modules --------------------------------------------------------------------------- */

/* PEFT's rule: `end` is the path or what follows one of its dots. */
static bool path_ends(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    if (m > n || strcmp(path + n - m, end) != 0) return false;
    return m == n || path[n - m - 1] == '.';
}

static bool any_ends(const char *path, const char *const *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (path_ends(path, ends[i])) return true;
    }
    return false;
}

static bool any_equals(const char *path, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(path, names[i]) == 0) return true;
    }
    return false;
}

static int any_matches(bool *is, int64_t *group, const struct peft_config *c,
                       const struct peft_pattern *p, size_t n, const char *module, struct err *e)
{
    int code = 0;
    *is = false;
    for (size_t i = 0; i < n && !*is && !code; i++)
        code = peft_pattern_match(is, group, &p[i], module, c->path, e);
    return code;
}

static int is_excluded(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    const struct peft_choice *x = &c->exclude;
    *is = any_ends(module, x->names, x->n);
    int code = 0;
    if (x->regex.key) code = peft_pattern_match(is, NULL, &x->regex, module, c->path, e);
    if (!code && !*is) code = any_matches(is, NULL, c, c->save, c->n_save, module, e);
    return code;
}

/* layers_to_transform names the module's layer. */
static int in_layers(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    int64_t layer = -1;
    int code = any_matches(is, &layer, c, c->layers_pattern, c->n_layers_pattern, module, e);
    bool has = *is;
    *is = false;
    for (size_t i = 0; !code && has && i < c->n_layers; i++) *is |= c->layers[i] == layer;
    return code;
}

int peft_targets(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    bool excluded;
    *is = false;
    int code = is_excluded(&excluded, c, module, e);
    if (code || excluded) return code;
    if (c->target_regex.key)
        return peft_pattern_match(is, NULL, &c->target_regex, module, c->path, e);
    if (c->all_linear) {
        *is = any_ends(module, module_words, MODULES);
        return 0;
    }
    *is = any_ends(module, c->target_modules, c->n_targets);
    /* a module that is named by its whole path is one in any layer */
    if (!*is || !c->n_layers || any_equals(module, c->target_modules, c->n_targets)) return 0;
    return in_layers(is, c, module, e);
}

/* ---- which rank, which scale ----------------------------------------------------------------- */

/* *value = that of the first pattern that matches. */
static int match(double *value, const struct peft_config *c, const struct peft_pattern *patterns,
                 size_t n, const char *module, struct err *e)
{
    bool is = false;
    int code = 0;
    for (size_t i = 0; i < n && !code && !is; i++) {
        code = peft_pattern_match(&is, NULL, &patterns[i], module, c->path, e);
        if (is) *value = patterns[i].value;
    }
    return code;
}

int peft_rank_alpha(size_t *r, double *alpha, const struct peft_config *c, const char *module,
                    struct err *e)
{
    double rank = (double)c->r;
    *alpha = c->lora_alpha;
    int code = match(&rank, c, c->rank_pattern, c->n_rank, module, e);
    if (!code) code = match(alpha, c, c->alpha_pattern, c->n_alpha, module, e);
    *r = (size_t)rank;
    return code;
}

double peft_scale(const struct peft_config *c, size_t r, double alpha)
{
    return c->use_rslora ? alpha / sqrt((double)r) : alpha / (double)r;
}
