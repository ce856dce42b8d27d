#include "src/commands/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/term.h"
#include "src/config/scalar.h"

enum { MAX_OPTIONS = 64 };

static const struct option *by_name(const struct option *options, const char *name, size_t n)
{
    for (const struct option *o = options; o && o->name; o++)
        if (strlen(o->name) == n && !memcmp(o->name, name, n)) return o;
    return NULL;
}

static const struct option *by_letter(const struct option *options, char letter)
{
    for (const struct option *o = options; o && o->name; o++)
        if (o->letter && o->letter == letter) return o;
    return NULL;
}

/* The names of options in llama.cpp, transformers and other programs. */
static const struct {
    const char *theirs, *ours;
} synonyms[] = {
    { "lora", "adapter" },
    { "lora-path", "adapter" },
    { "adapters", "adapter" },
    { "model-path", "model" },
    { "base", "model" },
    { "base-model", "model" },
    { "n-predict", "max-new-tokens" },
    { "max-tokens", "max-new-tokens" },
    { "temp", "temperature" },
    { "out", "output" },
    { "outfile", "output" },
    { "output-dir", "output" },
    { "outtype", "quantize" },
    { "type", "quantize" },
    { "rank", "r" },
    { "file", "data" },
    { "dataset", "data" },
    { "chat-template", "template" },
    { "system-prompt", "system" },
    { "topk", "top-k" },
    { "topp", "top-p" },
    { "resume-from-checkpoint", "resume" },
    { "random-seed", "seed" },
    { "text", "prompt" },
};

static const char *synonym_of(const struct option *options, const char *name)
{
    char dashed[64];
    snprintf(dashed, sizeof dashed, "%s", name);
    for (char *p = dashed; *p; p++)
        if (*p == '_') *p = '-';
    if (by_name(options, dashed, strlen(dashed)))
        return by_name(options, dashed, strlen(dashed))->name;
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++) {
        const char *ours = synonyms[i].ours;
        if (!strcmp(synonyms[i].theirs, dashed) && by_name(options, ours, strlen(ours)))
            return ours;
    }
    return NULL;
}

static int unknown_option(const struct option *options, const char *arg, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    if (arg[1] == '-' && synonym_of(options, name)) {
        return err_usage(e, "unknown option --%s: write --%s", name, synonym_of(options, name));
    }
    if (arg[1] == '-' && !strcmp(name, "config")) {
        return err_usage(e, "unknown option --config: name the configuration's file without it");
    }
    if (arg[1] == '-' && strchr(name, '.')) {
        return err_usage(e,
                         "unknown option --%s: keys of the configuration have no dashes: write "
                         "%s=VALUE",
                         name, name);
    }
    struct str_nearest nearest = { .word = name };
    for (const struct option *o = options; o && o->name; o++) str_nearest_try(&nearest, o->name);
    if (arg[1] == '-' && nearest.best)
        return err_usage(e, "unknown option --%s; did you mean --%s?", name, nearest.best);
    return err_usage(e, "unknown option %s; an argument that begins with - goes after --",
                     err_quotez(arg));
}

/* "--seed: found "x", wanted an integer in [0, 9]; remedy". */
static int unwanted(const struct option *o, const char *value, const char *wanted,
                    const char *remedy, struct err *e)
{
    const char *in = !o->allowed ? "" : o->text ? " " : " in ";
    return err_usage(e, "--%s: found %s, wanted %s%s%s%s%s", o->name, err_quotez(value), wanted, in,
                     o->allowed ? o->allowed : "", *remedy ? "; " : "", remedy);
}

/* Whether `value` is one of the words in `words`, which spaces separate. */
static bool is_word_of(const char *value, const char *words)
{
    size_t n = strlen(value);
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (len == n && !memcmp(p, value, n)) return true;
        p += len;
    }
    return false;
}

/* The words of other programs for the same values. */
static const struct {
    const char *theirs, *ours;
} word_synonyms[] = {
    { "float32", "f32" },
    { "fp32", "f32" },
    { "float", "f32" },
    { "float16", "f16" },
    { "fp16", "f16" },
    { "half", "f16" },
    { "bfloat16", "bf16" },
    { "q8", "q8_0" },
    { "int8", "q8_0" },
    { "8bit", "q8_0" },
    { "8", "q8_0" },
    { "q4", "q4_0" },
    { "int4", "q4_0" },
    { "4bit", "q4_0" },
    { "4", "q4_0" },
    { "q4_k_m", "q4_1" },
    { "q4_k", "q4_1" },
    { "safetensors", "hf" },
    { "huggingface", "hf" },
    { "transformers", "hf" },
    { "llama.cpp", "gguf" },
    { "all", "everything" },
    { "completions", "responses" },
    { "assistant", "responses" },
    { "last", "last_response" },
};

/* A suggestion for a value that is not one of `words`: "did you mean bf16?", or "". In static
 * storage. */
static const char *suggest_word(const char *value, const char *words)
{
    static char text[96];
    const char *near = NULL;
    for (size_t i = 0; i < sizeof word_synonyms / sizeof *word_synonyms; i++)
        if (!strcasecmp(word_synonyms[i].theirs, value) && is_word_of(word_synonyms[i].ours, words))
            near = word_synonyms[i].ours;
    if (!near) near = str_nearest_word(value, words);
    if (!near) return "";
    snprintf(text, sizeof text, "did you mean %s?", near);
    return text;
}

static int store(const struct option *o, const char *value, struct err *e)
{
    const char *range = o->allowed ? o->allowed : "", *remedy;
    if (o->flag) {
        *o->flag = true;
    } else if (o->integer) {
        remedy = scalar_int(o->integer, value);
        if (remedy || !scalar_within(range, (double)*o->integer))
            return unwanted(o, value, "an integer", remedy ? remedy : "", e);
    } else if (o->real) {
        remedy = scalar_real(o->real, value);
        if (remedy || !scalar_within(range, *o->real))
            return unwanted(o, value, "a number", remedy ? remedy : "", e);
    } else if (o->list) {
        if (o->list->n == OPTION_LIST_MAX)
            return err_usage(e, "--%s: given more than %d times", o->name, OPTION_LIST_MAX);
        o->list->at[o->list->n++] = value;
    } else {
        if (o->allowed && !is_word_of(value, o->allowed))
            return unwanted(o, value, "one of", suggest_word(value, o->allowed), e);
        *o->text = value;
    }
    return 0;
}

/* One option at argv[*at]; moves *at to its last argument. */
static int parse_option(const struct option *options, int argc, char **argv, int *at, bool *seen,
                        struct err *e)
{
    const char *arg = argv[*at], *value = NULL;
    bool is_long = arg[1] == '-';
    size_t n = strcspn(arg, "=");
    const struct option *o = is_long ? by_name(options, arg + 2, n - 2)
                                     : by_letter(options, arg[1]);
    if (!o) return unknown_option(options, arg, e);
    if (is_long && arg[n]) value = arg + n + 1;
    if (!is_long && arg[2]) value = arg + 2;
    if (o->flag && value) return err_usage(e, "--%s: takes no value", o->name);
    if (!o->flag && !value) {
        const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
        if (!next) return err_usage(e, "--%s: needs %s after it", o->name, o->value);
        if (!strncmp(next, "--", 2)) {
            return err_usage(e,
                             "--%s: needs %s after it, found %s; if that is meant, write --%s=%s",
                             o->name, o->value, err_quotez(next), o->name, err_quotez(next));
        }
        value = next;
        ++*at;
    }
    CHECK(o - options < MAX_OPTIONS);
    if (seen[o - options] && !o->list) return err_usage(e, "--%s: given twice", o->name);
    seen[o - options] = true;
    return store(o, value, e);
}

int options_parse(const struct option *options, int argc, char **argv, int *n_args, struct err *e)
{
    bool seen[MAX_OPTIONS] = { 0 }, over = false;
    *n_args = 0;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (over || arg[0] != '-' || !arg[1]) {
            argv[(*n_args)++] = arg;
        } else if (!strcmp(arg, "--")) {
            over = true;
        } else {
            int code = parse_option(options, argc, argv, &i, seen, e);
            if (code) return code;
        }
    }
    return 0;
}

/* ---- help ------------------------------------------------------------------------------------ */

enum { WIDTH = 80, NARROW = 60, NARROWEST = 24 };

/* Help is wrapped for the terminal that shows it; elsewhere, and on wide ones, at 80 columns. */
static int help_width(void)
{
    int width = term_is_live(stdout) ? term_width(stdout) : WIDTH;
    return width > WIDTH ? WIDTH : width < NARROWEST ? NARROWEST : width;
}

/* Append the words of a text, of which the first begins in column `at`, and a line end. */
static void add_words(struct str *out, const char *text, size_t bytes, int at, int indent)
{
    int width = help_width();
    bool first = true;
    for (const char *word = text, *end = text + bytes; word < end;) {
        size_t n = 0, space = 0;
        while (word + n < end && !strchr(" \n", word[n])) n++;
        while (word + n + space < end && strchr(" \n", word[n + space])) space++;
        if (!first && at + 1 + (int)n > width) {
            str_addf(out, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        str_addf(out, "%s%.*s", first ? "" : " ", (int)n, word);
        at += (int)n + !first;
        first = false;
        word += n + space;
    }
    str_addc(out, '\n');
}

void options_add_row(struct str *out, const char *left, const char *help)
{
    int indent = help_width() < NARROW ? 6 : 30, at = 2 + (int)strlen(left);
    str_addf(out, "  %s", left);
    if (at + 2 > indent) {
        str_addc(out, '\n');
        at = 0;
    }
    str_addf(out, "%*s", indent - at, "");
    add_words(out, help, strlen(help), indent, indent);
}

void options_add_line(struct str *out, const char *line, int indent)
{
    add_words(out, line, strlen(line), 0, indent);
}

/* Where the text of "show      examples of ..." begins; 0 in other lines. */
static size_t definition(const char *line)
{
    size_t word = strcspn(line, " \n"), gap = strspn(line + word, " ");
    return word && gap > 1 ? word + gap : 0;
}

/* Whether a line stays as it is written: an empty one, and one that begins with a space. */
static bool is_kept(const char *line)
{
    return *line == '\n' || *line == ' ';
}

/* The bytes of a paragraph: a line break within a sentence does not end it. */
static size_t paragraph(const char *text)
{
    size_t n = 0;
    while (text[n]) {
        n += strcspn(text + n, "\n");
        if (!text[n] || is_kept(text) || definition(text + n + 1)) break;
        if (is_kept(text + n + 1) && !definition(text)) break;
        if (strchr(".:", text[n - 1])) break;
        n++;
    }
    return n;
}

bool about_next(struct about *part, const char **at)
{
    const char *text = *at;
    if (!*text) return false;
    size_t n = paragraph(text);
    *part = (struct about){ .text = text, .n = n, .hang = definition(text), .kept = is_kept(text) };
    *at += n + (text[n] == '\n');
    return true;
}

void options_add_about(struct str *out, const char *about)
{
    for (struct about p; about_next(&p, &about);) {
        if (p.hang || p.kept) str_add(out, p.text, p.hang ? p.hang : p.n);
        if (p.kept)
            str_addc(out, '\n');
        else
            add_words(out, p.text + p.hang, p.n - p.hang, (int)p.hang, (int)p.hang);
    }
}

void options_add_help(struct str *out, const struct option *options)
{
    for (const struct option *o = options; o && o->name; o++) {
        char left[64], letter[8] = "";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        options_add_row(out, left, o->help);
    }
}
