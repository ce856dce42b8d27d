/* A translation under way, and what the tables of the trainers are made of: a row for a key of
 * theirs, with the function that reads it. A key that only has another name needs no row, since
 * key_translated() knows it from src/config/synonyms.def. readers.h has the functions that several
 * trainers need, sources.h what concerns files of records. */
#ifndef LORAC_TRANSLATE_TRANSLATION_H
#define LORAC_TRANSLATE_TRANSLATION_H

#include "src/config/config.h"
#include "src/config/keys.h"
#include "src/config/yaml.h"

struct translation;

/* A key of theirs with its value. */
struct theirs {
    const char *name;          /* "optimizer.lr" */
    const struct yaml_node *v; /* neither null nor empty */
    bool by_default;           /* the file does not give it: v is the trainer's default */
};

struct row {
    const char *theirs; /* the name, with dots where it is nested */
    /* Reads the value; NULL: another row reads it too. An error ends the translation: what merely
     * cannot be kept is left out with leave(). */
    int (*read)(struct translation *t, const struct row *r, const struct theirs *g, struct err *e);
    const char *ours;       /* the key that it becomes, or what `read` says it is */
    const char *by_default; /* what the trainer does without the key, as YAML; NULL: nothing */
};

struct trainer {
    const char *name;
    const char *const *signs; /* keys by which a file of it is recognised; NULL after the last */
    const struct row *rows;   /* in the order in which they are read; a NULL name ends them */
    /* What needs several keys, after all rows were read. May be NULL. */
    int (*finish)(struct translation *t, struct err *e);
};

/* One file of records, as theirs names it. */
struct source {
    char *path;         /* as it will be written */
    const char *format, /* NULL: recognised by the records */
        *template;      /* NULL: the one of all files */
};

enum { SOURCES = 64, NOTES = 1000 };

/* Something that the user is told. */
struct note {
    size_t line; /* in their file; 0: it belongs to none */
    enum { NOTE_LEFT_OUT, NOTE_PUT_IN, NOTE_OTHER } kind;
    char *name, *text; /* safe lines */
};

struct translation {
    const struct trainer *from;
    const struct yaml_node *root;
    const char *where;
    struct config to;
    bool set[CONFIG_KEYS];       /* the keys of ours that are given */
    struct str why[CONFIG_KEYS]; /* what is said about a value in the file */
    struct note notes[NOTES];    /* in the order of the lines */
    size_t n_notes, n_left;
    bool failed;   /* a note could not be kept: too many, or no memory */
    int64_t batch; /* examples of a step: the product of what was read so far; 0: none */
    struct source train[SOURCES], validation[SOURCES];
    size_t n_train, n_validation;
    struct str columns;    /* data.columns, as YAML without its last brace */
    unsigned columns_seen; /* 1u << the column's number among record_column_words */
};

/* Whether a value is true or false as PyYAML reads them. */
bool is_true(const struct yaml_node *v);
bool is_false(const struct yaml_node *v);
/* Whether a value is neither null nor empty. */
bool is_given(const struct yaml_node *v);
/* The node at a name with dots; NULL when it is not there, is null, or is an empty text. */
const struct yaml_node *node_at(const struct yaml_node *root, const char *name);
/* The text at that name, or NULL. */
const char *text_at(const struct translation *t, const char *name);

/* Set a key of ours from a node, or from a text that is YAML. ERR_USAGE, and the key as before,
 * when it does not take that value. */
int put(struct translation *t, const char *ours, const struct yaml_node *v, struct err *e);
int put_text(struct translation *t, const char *ours, const char *yaml, struct err *e);
/* The same with a path or a name, whatever characters it has. */
int put_name(struct translation *t, const char *ours, const char *name, struct err *e);

/* Say something about a value of ours, in the file. */
void remark(struct translation *t, const char *ours, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Multiply the examples of a step by n, which they call `name`. */
void multiply_batch(struct translation *t, const char *name, int64_t n, bool by_default);
/* Say that a key of theirs is left out, and why; of a default of theirs, that it differs. */
void leave(struct translation *t, const struct theirs *g, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Say something else about a key of theirs. */
void tell(struct translation *t, const struct theirs *g, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Say what the user has to put in. */
void want(struct translation *t, const char *ours, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void notes_free(struct translation *t);

/* "FILE:LINE: KEY: ..." for what ends the translation. */
int refuse(const struct translation *t, const struct theirs *g, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define TRAINERS(T)   T(torchtune) T(axolotl) T(llamafactory) T(mlx_lm) T(trl)
#define TRAINER(name) extern const struct trainer trainer_##name;
TRAINERS(TRAINER)
#undef TRAINER

#endif
