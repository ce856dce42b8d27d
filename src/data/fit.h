/* One record to the examples of at most max_length tokens that it gives.
 *
 * A forest gives an example for each path from a root to an answer behind which no other comes. The
 * paths are one item (examples.h), and each turn is a target in one of them, the first that has room
 * for it; in the others it is context. With every_path each path is an item, trained as a whole.
 *
 * A record that is longer than that is an error, is dropped, is cut, or is split:
 *   truncate  behind the last answer that fits whole and leaves a target; where there is none, at
 *             the max_length-th token, and then without an EOS
 *   split     texts, tokens and the plain template: consecutive chunks (no BOS is added to the later
 *             ones, and each chunk's first token is no target). Chats: pieces of whole exchanges,
 *             each rendered as a conversation of its own with the system text; an exchange that does
 *             not fit by itself is lost.
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

/* What became of a record. */
struct fit_result {
    size_t length;       /* tokens of the whole record */
    size_t lost;         /* examples (of a split chat: exchanges) dropped for their length */
    size_t targets_lost; /* of what was dropped or cut away */
    bool truncated, split;
    bool without_targets; /* no example, and not for its length; an error unless overlong is drop */
    bool too_long;        /* an error because of OVERLONG_ERROR, not of the record */
};

/* Working memory of one thread; zero-initialised it is empty. */
struct fit {
    struct encoded whole, part;
    struct turn *turns; /* of a piece of a chat */
    size_t turns_cap;
    struct turn *path; /* of a forest, and the numbers of its turns there */
    uint32_t *number;
    uint8_t *state; /* of each turn of the forest */
    size_t path_cap;
};
void fit_free(struct fit *f);

/* Append the record's examples to out; every one has a target. */
int fit_record(struct fit *f, struct examples *out, struct fit_result *result,
               const struct conversation *c, const struct fit_options *o, struct err *e);

#endif
