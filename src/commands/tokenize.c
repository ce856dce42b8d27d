/* lorac tokenize: text to token ids, one line of ids for each text. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/commands/commands.h"
#include "src/tokenizer/tokenizer.h"

enum { LINE_BYTES = 64 << 20 };

static const char *model, *tokenizer;
static bool bos, jsonl;

static const struct option options[] = {
    { "model", 'm', "M", "a model, or a tokenizer.model or tokenizer.json", .text = &model },
    { "tokenizer", 0, "FILE", "its tokenizer, if it is elsewhere", .text = &tokenizer },
    { "bos", 0, NULL, "put the beginning-of-sequence token in front", .flag = &bos },
    { "jsonl", 0, NULL, "read {\"text\": ...}, write {\"ids\": [...]}", .flag = &jsonl },
    { 0 },
};

/* A tokenizer, and the buffers to encode one text after the other. */
struct job {
    struct tokenizer *tok;
    struct tokens ids;
    struct str out;
};

static int encode(struct job *j, const char *text, size_t n, struct err *e)
{
    j->ids.n = 0;
    int code = bos ? tokens_add(&j->ids, tokenizer_bos(j->tok), 0, 0, e) : 0;
    return code ? code : tokenizer_encode(j->tok, &j->ids, text, n, 0, e);
}

static int encode_json(struct job *j, const char *line, size_t n, const char *where, struct err *e)
{
    json_t *record = json_parse(line, n, JSON_DUP_REFUSED, where, e);
    if (!record) return e->code;
    const json_t *text = json_object_get(record, "text");
    int code;
    if (!json_is_string(text))
        code = err_set(e, "%s: found %s, wanted {\"text\": \"...\"}", where,
                       json_kind(json_is_object(record) && text ? text : record));
    else if ((code = encode(j, json_string_value(text), json_string_length(text), e)) != 0)
        err_prefix(e, "%s", where);
    json_decref(record);
    return code;
}

static int tokenize(struct job *j, const char *text, size_t n, const char *where, struct err *e)
{
    int code = jsonl ? encode_json(j, text, n, where, e) : encode(j, text, n, e);
    if (code) return jsonl ? code : err_prefix(e, "%s", where);
    str_clear(&j->out);
    if (jsonl) str_addz(&j->out, "{\"ids\": [");
    for (size_t i = 0; i < j->ids.n; i++)
        str_addf(&j->out, "%s%" PRId32, !i ? "" : jsonl ? ", " : " ", j->ids.ids[i]);
    str_addz(&j->out, jsonl ? "]}\n" : "\n");
    code = str_error(&j->out, e);
    if (!code) fwrite(j->out.p, 1, j->out.n, stdout);
    return code;
}

/* Read one line without its line end; false at the end of the input. */
static bool next_line(struct str *line, FILE *in)
{
    int c;
    str_clear(line);
    while ((c = getc_unlocked(in)) != EOF && c != '\n' && line->n < LINE_BYTES)
        str_addc(line, (char)c);
    return c != EOF || line->n > 0;
}

static int tokenize_lines(struct job *j, struct err *e)
{
    struct str line = { 0 };
    int code = 0;
    for (size_t number = 1; !code && !ferror(stdout) && next_line(&line, stdin); number++) {
        char where[40];
        snprintf(where, sizeof where, "standard input:%zu", number);
        code = str_error(&line, e);
        if (!code && line.n == LINE_BYTES)
            code = err_set(e, "%s: the line is longer than %d bytes", where, LINE_BYTES);
        if (!code) code = tokenize(j, line.p ? line.p : "", line.n, where, e);
    }
    if (!code && ferror(stdin)) code = err_errno(e, "standard input");
    str_free(&line);
    return code;
}

static int run(int n, char **args, struct err *e)
{
    (void)n;
    struct job j = { 0 };
    if (!model && !tokenizer)
        return err_usage(e, "needs --model M: a model, or a tokenizer.model or tokenizer.json");
    int code = tokenizer_find(&j.tok, model ? model : tokenizer, tokenizer, e);
    if (!code && bos && tokenizer_bos(j.tok) < 0)
        code = err_set(e, "%s: its tokenizer has no beginning-of-sequence token; leave out --bos",
                       tokenizer ? tokenizer : model);
    if (!code && !strcmp(args[0], "-"))
        code = tokenize_lines(&j, e);
    else if (!code)
        code = tokenize(&j, args[0], strlen(args[0]), "TEXT", e);
    tokens_free(&j.ids);
    str_free(&j.out);
    tokenizer_free(j.tok);
    return code;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "text to token ids",
    .args = "TEXT|-",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .about =
        "Prints the ids of TEXT on one line; with -, those of each line of the standard input.\n"
        "Text is only ever text: <s> and [INST] in it are not control tokens.",
    .examples = "lorac tokenize --model models/Llama-2-7b-hf 'How are you?'\n"
                "lorac tokenize --model tokenizer.model --bos - <questions.txt\n"
                "lorac tokenize --model tokenizer.json --jsonl - <texts.jsonl",
    .run = run,
};
