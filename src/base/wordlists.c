#include "src/base/wordlists.h"

#include <stddef.h>
#include <string.h>

#define WORD(id, word) word,
const char *const train_on_words[] = { TRAIN_ON_WORDS(WORD, ) NULL };
const char *const overlong_words[] = { OVERLONG_WORDS(WORD, ) NULL };
const char *const prepare_words[] = { PREPARE_WORDS(WORD, ) NULL };
const char *const compute_words[] = { COMPUTE_WORDS(WORD, ) NULL };

#define MODULE(id, name) #name,
const char *const module_words[] = { MODULE_WORDS(MODULE, ) NULL };

#define COLUMN(name) #name,
const char *const record_column_words[] = { RECORD_COLUMNS(COLUMN) NULL };

/* Each number must occur once: two formats with the same one are a warning (-Woverride-init), and a
 * missing number makes another one too large. */
#define FORMAT(id, name, number, keys) [FORMAT_##id] = #name,
const char *const data_format_words[] = {
    [FORMAT_AUTO] = "auto", [FORMATS] = NULL, DATA_FORMATS(FORMAT)
};
_Static_assert(sizeof data_format_words / sizeof *data_format_words == FORMATS + 1, "the numbers");

int word_index(const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) return i;
    return -1;
}

const char *train_on_name(enum train_on t)
{
    return train_on_words[t];
}

const char *compute_name(enum compute c)
{
    return compute_words[c];
}

bool data_format_named(enum data_format *out, const char *name)
{
    int i = word_index(data_format_words, name);
    if (i >= 0) *out = (enum data_format)i;
    return i >= 0;
}

const char *data_format_name(enum data_format f)
{
    return data_format_words[f];
}

const char *data_format_names(void)
{
#define NAME(id, name, number, keys) " " #name
    return "auto" DATA_FORMATS(NAME);
}
