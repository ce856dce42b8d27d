/* Words that users write and that more than one folder needs; each list is here once. A list makes
 * an enumeration, the names of its values, the values that a key of the configuration accepts
 * (src/config/keys.def), those that an option of a command accepts, and those that messages name.
 * Lists that only the configuration needs are in src/config/settings.h.
 *
 *   NAME_WORDS(W, THEN)   W(id, word) for each word, in the order in which messages name them; THEN
 *                         stands between two of them: nothing, or a separator such as ", " */
#ifndef LORAC_BASE_WORDLISTS_H
#define LORAC_BASE_WORDLISTS_H

#include <stdbool.h>

// clang-format off

/* data.train_on: the tokens with loss; src/data/template.h says which those are. */
#define TRAIN_ON_WORDS(W, THEN)                                                                    \
    W(TRAIN_ON_RESPONSES, "responses") THEN                                                        \
    W(TRAIN_ON_LAST_RESPONSE, "last_response") THEN                                                \
    W(TRAIN_ON_EVERYTHING, "everything")

/* data.overlong: what becomes of a record that is longer than data.max_length; src/data/fit.h. */
#define OVERLONG_WORDS(W, THEN)                                                                    \
    W(OVERLONG_DROP, "drop") THEN                                                                  \
    W(OVERLONG_TRUNCATE, "truncate") THEN                                                          \
    W(OVERLONG_SPLIT, "split") THEN                                                                \
    W(OVERLONG_ERROR, "error")

/* data.prepare: whether the examples are kept in a prepared file (src/data/prepared.h) instead of
 * in memory. auto: in a file when there is one already, or the sources are large; true: in a file,
 * which is made if it is missing. */
#define PREPARE_WORDS(W, THEN)                                                                     \
    W(PREPARE_AUTO, "auto") THEN                                                                   \
    W(PREPARE_ALWAYS, "true") THEN                                                                 \
    W(PREPARE_NEVER, "false")

/* train.compute: in which numbers the frozen products multiply; kernels/kernels.h. */
#define COMPUTE_WORDS(W, THEN)                                                                     \
    W(COMPUTE_F32, "f32") THEN                                                                     \
    W(COMPUTE_BF16, "bf16")

/* data.format: the formats of records, in the order in which auto tries them.
 *
 *   F(id, name, number, keys)
 *
 *   number  its place among the words of the key, in messages and in configs/README.md; a new
 *           format takes the next one
 *   keys    by which a record is recognised, for messages */
#define DATA_FORMATS(F)                                                                            \
    F(TOKENS, tokens, 9, "input_ids")                                                              \
    F(SEGMENTS, segments, 7, "segments")                                                           \
    F(OASST_THREADS, oasst_threads, 6, "thread")                                                   \
    F(OASST, oasst, 5, "prompt: {role, text, replies}")                                            \
    F(SHAREGPT, sharegpt, 2, "conversations")                                                      \
    F(MESSAGES, messages, 3, "messages")                                                           \
    F(ALPACA, alpaca, 1, "instruction, output")                                                    \
    F(PROMPT_COMPLETION, prompt_completion, 4, "prompt, completion")                               \
    F(TEXT, text, 8, "text")

/* adapter.target_modules: the linear layers of a block, in the order in which adapters store and
 * report them; PEFT's names. M(id, name); src/model/tensors.def has a weight for each. */
#define MODULE_WORDS(M, THEN)                                                                      \
    M(Q_PROJ, q_proj) THEN                                                                         \
    M(K_PROJ, k_proj) THEN                                                                         \
    M(V_PROJ, v_proj) THEN                                                                         \
    M(O_PROJ, o_proj) THEN                                                                         \
    M(GATE_PROJ, gate_proj) THEN                                                                   \
    M(UP_PROJ, up_proj) THEN                                                                       \
    M(DOWN_PROJ, down_proj)

/* data.columns: the columns of a record that may have names of the user's own. */
#define RECORD_COLUMNS(C)                                                                          \
    C(prompt)                                                                                      \
    C(completion)                                                                                  \
    C(input)                                                                                       \
    C(system)                                                                                      \
    C(choices)                                                                                     \
    C(messages)                                                                                    \
    C(text)

// clang-format on

#define WORD_ENUM(id, word)                  id,
#define FORMAT_ENUM(id, name, number, keys)  FORMAT_##id = (number),
#define FORMAT_COUNT(id, name, number, keys) +1
enum train_on { TRAIN_ON_WORDS(WORD_ENUM, ) };
enum overlong { OVERLONG_WORDS(WORD_ENUM, ) };
enum prepare { PREPARE_WORDS(WORD_ENUM, ) };
enum compute { COMPUTE_WORDS(WORD_ENUM, ) };
enum data_format { FORMAT_AUTO, DATA_FORMATS(FORMAT_ENUM) FORMATS = 1 DATA_FORMATS(FORMAT_COUNT) };
enum module { MODULE_WORDS(WORD_ENUM, ) MODULES };
#undef WORD_ENUM
#undef FORMAT_ENUM
#undef FORMAT_COUNT

/* The words of a list, numbered as its enumeration; NULL after the last. */
extern const char *const train_on_words[], *const overlong_words[], *const prepare_words[];
extern const char *const compute_words[];
extern const char *const data_format_words[], *const record_column_words[], *const module_words[];

/* A list as one string literal: TRAIN_ON_WORDS(WORD_TEXT, ", "), MODULE_WORDS(NAME_TEXT, ", "). */
#define WORD_TEXT(id, word) word
#define NAME_TEXT(id, name) #name

/* The number of `text` among such words, or -1. */
int word_index(const char *const *words, const char *text);

const char *train_on_name(enum train_on t);
const char *compute_name(enum compute c);

/* "alpaca", "messages", ...; false when the name is unknown. */
bool data_format_named(enum data_format *out, const char *name);
const char *data_format_name(enum data_format f);
/* The names, separated by spaces, auto first and the others as they are tried; for messages. */
const char *data_format_names(void);

#endif
