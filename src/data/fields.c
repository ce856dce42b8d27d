#include "src/data/fields.h"

#include <string.h>

/* Within a field, columns are joined, or looked for, in this order. */
static const struct {
    const char *name;
    enum field field;
    const char *only_with; /* a synonym only if the record also has a column of this name */
} rows[] = {
    { "instruction", FIELD_PROMPT, NULL },    { "prompt", FIELD_PROMPT, NULL },
    { "question", FIELD_PROMPT, NULL },       { "query", FIELD_PROMPT, NULL },
    { "problem", FIELD_PROMPT, NULL },        { "question_stem", FIELD_PROMPT, NULL },
    { "input", FIELD_INPUT, NULL },           { "inputs", FIELD_INPUT, NULL },
    { "context", FIELD_INPUT, NULL },         { "contexts", FIELD_INPUT, NULL },
    { "passage", FIELD_INPUT, NULL },         { "passages", FIELD_INPUT, NULL },
    { "document", FIELD_INPUT, NULL },        { "documents", FIELD_INPUT, NULL },
    { "article", FIELD_INPUT, NULL },         { "paragraph", FIELD_INPUT, NULL },
    { "source", FIELD_INPUT, "target" }, /* otherwise it says where a record comes from */
    { "output", FIELD_COMPLETION, NULL },     { "outputs", FIELD_COMPLETION, NULL },
    { "completion", FIELD_COMPLETION, NULL }, { "response", FIELD_COMPLETION, NULL },
    { "answer", FIELD_COMPLETION, NULL },     { "answers", FIELD_COMPLETION, NULL },
    { "solution", FIELD_COMPLETION, NULL },   { "target", FIELD_COMPLETION, NULL },
    { "targets", FIELD_COMPLETION, NULL },    { "chosen", FIELD_COMPLETION, NULL },
    { "choices", FIELD_CHOICES, NULL },       { "options", FIELD_CHOICES, NULL },
    { "answerkey", FIELD_KEY, NULL },         { "answer_key", FIELD_KEY, NULL },
    { "answer_idx", FIELD_KEY, NULL },        { "answer_index", FIELD_KEY, NULL },
    { "correct_answer", FIELD_KEY, NULL },    { "correct_option", FIELD_KEY, NULL },
    { "correct", FIELD_KEY, NULL },           { "label", FIELD_KEY, NULL },
    { "system", FIELD_SYSTEM, NULL },         { "system_prompt", FIELD_SYSTEM, NULL },
    { "system_message", FIELD_SYSTEM, NULL }, { "reasoning_content", FIELD_REASONING, NULL },
    { "reasoning", FIELD_REASONING, NULL },   { "thinking", FIELD_REASONING, NULL },
    { "thought", FIELD_REASONING, NULL },     { "chain_of_thought", FIELD_REASONING, NULL },
    { "complex_cot", FIELD_REASONING, NULL },
};
enum { ROWS = sizeof rows / sizeof *rows };

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z') return (char)(c - 'A' + 'a');
    return c == '-' || c == ' ' ? '_' : c;
}

/* Whether the key is that name; spaces after it do not count. */
static bool is_called(const char *key, const char *name)
{
    while (*name && folded(*key) == *name) key++, name++;
    return !*name && key[strspn(key, " ")] == 0;
}

static size_t row_of(const char *key)
{
    size_t i = 0;
    key += strspn(key, " ");
    char first = folded(*key);
    while (i < ROWS && (rows[i].name[0] != first || !is_called(key, rows[i].name))) i++;
    return i;
}

bool field_has_name(enum field field, const char *key)
{
    size_t row = row_of(key);
    return row < ROWS && rows[row].field == field;
}

static bool has_column(const json_t *record, const char *name)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)record, key, value)
    {
        if (is_called(key, name)) return true;
    }
    return false;
}

/* Insert the column at its place; columns of one row keep the record's order. */
static void insert(struct fields *f, enum field field, const char *key, const json_t *value,
                   size_t row)
{
    struct column *at = f->at[field];
    size_t n = f->n[field], i;
    if (n == FIELD_COLUMNS) return;
    for (i = n; i > 0 && at[i - 1].row > row; i--) at[i] = at[i - 1];
    at[i] = (struct column){ key, value, row };
    f->n[field]++;
}

/* Nulls count only when the field has nothing else: exports give every record all columns. */
static void drop_nulls(struct fields *f)
{
    for (int i = 0; i < FIELDS; i++) {
        struct column *at = f->at[i];
        size_t kept = 0;
        for (size_t k = 0; k < f->n[i]; k++)
            if (!json_is_null(at[k].value)) at[kept++] = at[k];
        if (f->n[i] > 0) f->n[i] = kept ? kept : 1;
    }
}

static void find_named(struct fields *f, const json_t *record, const struct record_columns *named)
{
    const char *const names[FIELDS] = {
        [FIELD_PROMPT] = named->prompt,   [FIELD_INPUT] = named->input,
        [FIELD_SYSTEM] = named->system,   [FIELD_COMPLETION] = named->completion,
        [FIELD_CHOICES] = named->choices,
    };
    for (int i = 0; i < FIELDS; i++) {
        json_t *value = names[i] ? json_object_get(record, names[i]) : NULL;
        if (value) insert(f, (enum field)i, names[i], value, 0);
    }
}

/* ---- a column for each choice ---------------------------------------------------------------- */

static const struct {
    const char *text;
    bool numbers; /* a number may follow it, too */
} option_prefixes[] = {
    { "option_", true }, { "option", true }, { "choice_", true },
    { "choice", true },  { "op", false },    { "", false },
};

/* The letter or number after the prefix at the end of the name; 0: the name has another form. */
static char option_label(const char *key, const char *prefix, bool numbers)
{
    while (*prefix && folded(*key) == *prefix) key++, prefix++;
    if (*prefix || !*key || key[1 + strspn(key + 1, " ")]) return 0;
    char label = folded(*key);
    if (label >= 'a' && label <= 'z') return (char)(label - 'a' + 'A');
    return numbers && label >= '0' && label <= '9' ? label : 0;
}

static bool may_be_choice(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_null(value);
}

static bool is_nothing(const json_t *value)
{
    return json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

static void add_option(struct fields *f, const char *key, const json_t *value, char label)
{
    size_t i = f->n_options;
    if (i == CHOICES_MOST) return;
    for (; i > 0 && f->option[i - 1].label > label; i--) f->option[i] = f->option[i - 1];
    f->option[i] = (struct option_column){ key, value, label };
    f->n_options++;
}

/* Whether the columns are at least two options with one prefix: letters from A on, or numbers from
 * 0 or 1 on. */
static bool are_options(const struct fields *f)
{
    char first = f->option[0].label;
    if (f->n_options < 2 || !strchr("A01", first)) return false;
    for (size_t i = 1; i < f->n_options; i++)
        if (f->option[i].label != first + (char)i) return false;
    return true;
}

static void find_options(struct fields *f, const json_t *record)
{
    const char *key;
    json_t *value;
    for (size_t k = 0; k < sizeof option_prefixes / sizeof *option_prefixes; k++) {
        f->n_options = 0;
        json_object_foreach((json_t *)(uintptr_t)record, key, value)
        {
            char label = option_label(key, option_prefixes[k].text, option_prefixes[k].numbers);
            /* columns a and b that hold numbers are not choices */
            if (json_is_number(value) && key[0] >= 'a' && key[1] == 0) continue;
            if (label && may_be_choice(value)) add_option(f, key, value, label);
        }
        if (are_options(f)) break;
        f->n_options = 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < f->n_options; i++)
        if (!is_nothing(f->option[i].value)) f->option[kept++] = f->option[i];
    f->n_options = kept;
}

void fields_find(struct fields *f, const json_t *record, const struct record_columns *named)
{
    memset(f->n, 0, sizeof f->n);
    f->n_options = 0;
    f->input_is_prompt = false;
    if (named && (named->prompt || named->completion)) {
        find_named(f, record, named);
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)record, key, value)
    {
        size_t row = row_of(key);
        if (row == ROWS) continue;
        if (rows[row].only_with && !has_column(record, rows[row].only_with)) continue;
        insert(f, rows[row].field, key, value, row);
    }
    drop_nulls(f);
    if (f->n[FIELD_CHOICES] == 0) find_options(f, record);
    if (named && named->system) {
        json_t *system = json_object_get(record, named->system);
        f->n[FIELD_SYSTEM] = 0;
        if (system) insert(f, FIELD_SYSTEM, named->system, system, 0);
    }
    if (f->n[FIELD_PROMPT] || !f->n[FIELD_INPUT]) return;
    f->input_is_prompt = true;
    insert(f, FIELD_PROMPT, f->at[FIELD_INPUT][0].key, f->at[FIELD_INPUT][0].value, 0);
    memmove(f->at[FIELD_INPUT], f->at[FIELD_INPUT] + 1, --f->n[FIELD_INPUT] * sizeof **f->at);
}

bool fields_complete(const struct fields *f)
{
    return f->n[FIELD_PROMPT] &&
           (f->n[FIELD_COMPLETION] || ((f->n[FIELD_CHOICES] || f->n_options) && f->n[FIELD_KEY]));
}

/* ---- misspellings ---------------------------------------------------------------------------- */

/* One bit for each letter in the word: a change of one letter changes at most two bits. */
static uint32_t letters_of(const char *word)
{
    uint32_t bits = 0;
    for (; *word; word++)
        if (*word >= 'a' && *word <= 'z') bits |= 1u << (*word - 'a');
    return bits;
}

const char *field_nearest(enum field *field, const char *key)
{
    /* Words that are not misspellings: a column of maths data, and the names of lists of
     * messages. */
    static const char *const own[] = { "contest", "content", "contents", "message", "messages" };
    enum { LEAST = 5, MOST = 24 };
    char word[MOST + 1] = "";
    size_t n = strlen(key);
    const char *best = NULL;
    if (n < LEAST || n > MOST || row_of(key) < ROWS) return NULL;
    for (size_t i = 0; i < n; i++) word[i] = folded(key[i]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(word, own[i]) == 0) return NULL;
    uint32_t letters = letters_of(word);
    size_t least = n < 7 ? 2 : 3; /* short names may differ in one letter, longer ones in two */
    for (size_t i = 0; i < ROWS; i++) {
        size_t length = strlen(rows[i].name);
        if (rows[i].field > FIELD_CHOICES || length < LEAST || length > n + 1 || n > length + 1)
            continue;
        uint32_t turned = letters_of(rows[i].name) ^ letters;
        if ((size_t)__builtin_popcount(turned) > 2 * (least - 1)) continue;
        size_t distance = str_distance(word, rows[i].name);
        if (distance >= least) continue;
        least = distance;
        best = rows[i].name;
        *field = rows[i].field;
    }
    return best;
}

const char *field_column(enum field field)
{
    static const char *const names[] = {
        [FIELD_PROMPT] = "prompt",   [FIELD_INPUT] = "input",    [FIELD_COMPLETION] = "completion",
        [FIELD_CHOICES] = "choices", [FIELD_KEY] = "completion", [FIELD_SYSTEM] = "system",
    };
    return field < FIELD_REASONING ? names[field] : "completion";
}
