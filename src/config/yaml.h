/* The part of YAML that a configuration needs: scalars, sequences and mappings, as one small tree.
 *
 * libyaml does the reading, within limits of our own. These are refused, each with file:line:
 * anchors, aliases, tags, merge keys, directives, a second document, keys that are not text, an
 * empty key, a key given twice in one mapping, NUL bytes, nesting deeper than YAML_DEPTH, more than
 * YAML_KEYS keys in one mapping or YAML_ITEMS items in one sequence. Nothing has a type here:
 * `1e-4`, `yes` and `0o17` are all just text, and the key table decides. libyaml's types do not
 * leave yaml.c. (The functions are called yaml_tree_* because libyaml exports its own yaml_free(),
 * which would silently be replaced.) */
#ifndef LORAC_CONFIG_YAML_H
#define LORAC_CONFIG_YAML_H

#include <stddef.h>

#include "src/base/err.h"
#include "src/config/complaints.h"

enum { YAML_DEPTH = 8, YAML_KEYS = 256, YAML_ITEMS = 1 << 16, YAML_BYTES = 1 << 20 };

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    bool plain;                   /* a scalar without quotes: only such a scalar can mean null */
    char *text;                   /* of a scalar; valid UTF-8, no NUL inside */
    char *key;                    /* of a member of a mapping, otherwise NULL */
    size_t line;                  /* where the value begins, from 1 */
    size_t key_line;              /* where its key stands */
    struct yaml_node *child;      /* the first item or member */
    struct yaml_node *next;       /* the next item or member of the same container */
    struct yaml_node *made_after; /* the next node in the order of making, from the root on */
};

/* Parse the n bytes at text (at most YAML_BYTES). Empty text gives *root == NULL. `where` begins
 * each error: "where:LINE: ...", or "where: ..." when `lines` is false (a text from a command
 * line). All errors except lack of memory are ERR_USAGE. The tree is freed with
 * yaml_tree_free(). */
int yaml_tree_parse(struct yaml_node **root, const char *text, size_t n, const char *where,
                    bool lines, struct err *e);
/* The same with lines, where a key given twice does not end the parsing: it is a complaint in
 * `all`, and the tree holds the first value. */
int yaml_tree_parse_all(struct yaml_node **root, const char *text, size_t n, const char *where,
                        struct complaints *all, struct err *e);
void yaml_tree_free(struct yaml_node *root);

/* "a text", "a list", "a section", for messages. */
const char *yaml_kind_name(enum yaml_kind kind);

#endif
