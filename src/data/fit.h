/* Makes the examples of one record, each of at most max_length tokens.
 *
 * A forest gives an example for each path from a root to an answer after which no other answer
 * comes. The paths are one item (examples.h), and each turn is a target in one of them, the first
 * that has room for it; in the others it is context. With every_path each path is its own item,
 * trained as a whole.
 *
 * A record longer than max_length is an error, is dropped, is cut, or is split:
 *   truncate  after the last answer that fits whole and has a target; where there is none, at the
 *             max_length-th token, and then without an EOS
 *   split     texts, tokens and the plain template: consecutive chunks (no BOS is added to the
 *             later ones, and each chunk's first token is not a target). Chats: pieces of whole
 *             exchanges, each rendered as a separate conversation with the system text; an exchange
 *             that does not fit alone is lost.
 */
#ifndef LORAC_DATA_FIT_H
#define LORAC_DATA_FIT_H

#include "src/base/wordlists.h"
#include "src/data/examples.h"
#include "src/data/template.h"

struct fit_options {
    const struct template *template;
    const struct tokenizer *tok;
    struct render_options render;
    size_t max_length;
    enum overlong overlong;
};

/* What happened to a record. */
struct fit_result {
    size_t length;       /* tokens of the whole record */
    size_t lost;         /* examples (of a split chat: exchanges) dropped for their length */
    size_t targets_lost; /* in the parts that were dropped or cut away */
    bool truncated, split;
    bool without_targets; /* and so no example; an error unless overlong is drop */
    bool too_long;        /* the error comes from OVERLONG_ERROR, not from the record */
};

/* Working memory of one thread; it is empty when zero-initialised. */
struct fit {
    struct encoded whole, part;
    struct turn *turns; /* the turns of a piece of a chat */
    size_t turns_cap;
    struct turn *path; /* a path of a forest, and the numbers of its turns in the forest */
    uint32_t *number;
    uint8_t *state; /* of each turn of the forest */
    size_t path_cap;
};
void fit_free(struct fit *f);

/* Append the record's examples to out; each one has a target. */
int fit_record(struct fit *f, struct examples *out, struct fit_result *result,
               const struct conversation *c, const struct fit_options *o, struct err *e);

#endif
