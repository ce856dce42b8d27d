/* A LoRA adapter: for every layer and target module W (rows, cols) a pair A (r, cols), B (rows, r),
 * and y = x W^T + s (x A^T) B^T,   s = lora_alpha / r  (rsLoRA: lora_alpha / sqrt(r)).
 *
 * All pairs live in one flat array of parameters, so that the optimiser, the sums of gradients and
 * the checkpoint see one vector. Modules that read the same input form a group (q,k,v | o | gate,up
 * | down); the A of a group's targets stand one behind the other, so that the group's x A^T is one
 * product. Order: for each layer, for each group the A of its targets, then for each target its B.
 */
#ifndef LORAC_MODEL_ADAPTER_H
#define LORAC_MODEL_ADAPTER_H

#include "src/model/llama.h"

enum group { GROUP_QKV, GROUP_O, GROUP_GATE_UP, GROUP_DOWN, GROUPS };

enum group module_group(enum module m);

struct adapter {
    struct shape shape; /* of the base */
    size_t r;
    double lora_alpha, scale;
    unsigned targets;    /* bit m: module m has a pair */
    size_t layer_params; /* of one layer */
    size_t n_params;
    size_t a_at[MODULES], b_at[MODULES]; /* within a layer's parameters */
    size_t group_targets[GROUPS];        /* how many modules of a group are targets */
    size_t slot[MODULES];                /* a target's place within its group */
    real *params;                        /* n_params, or NULL until adapter_place() */
};

static inline bool adapter_has(const struct adapter *a, enum module m)
{
    return a->targets >> m & 1;
}

/* Lay out the parameters; nothing is allocated. targets: a bit set that is not empty. */
void adapter_layout(struct adapter *a, const struct shape *s, size_t r, double lora_alpha,
                    unsigned targets);

/* Allocate params, zeroed; freed by adapter_free(). */
int adapter_place(struct adapter *a, struct err *e);

/* A or B of a module in any array that has the layout of the parameters (weights, gradients, ...).
 */
real *adapter_a(const struct adapter *a, real *flat, size_t layer, enum module m);
real *adapter_b(const struct adapter *a, real *flat, size_t layer, enum module m);
/* The stacked A of a group: group_targets * r rows. */
real *adapter_group_a(const struct adapter *a, real *flat, size_t layer, enum group g);

/* PEFT's initialisation: A uniform in +-1/sqrt(cols) (Kaiming with a = sqrt 5), B zero.
 * Counter-based: a number depends on the seed and its place only. */
void adapter_init(struct adapter *a, uint64_t seed);

/* What an adapter is read for. */
struct adapter_base {
    const struct shape *shape;
    const struct llama *model; /* the same base with its weights (headers are enough); NULL: none */
    struct str *notes;         /* a line is appended for what the user should know; NULL: dropped */
};

/* Read a PEFT directory for this base: lays out, allocates `params` (freed by adapter_free()) and
 * fills them. Modules of lower rank (rank_pattern) are padded with zeros to the largest; other
 * scales (alpha_pattern, rsLoRA) than the common one are folded into B. `weight` multiplies B.
 * Tensors that do not fit the base (which is then another one), or are left over, are errors that
 * name them. Noted: modules that the configuration names and the file has nothing for, which stay
 * as they are in the base; copies of the base's own weights, which are dropped when they are
 * unchanged (that takes base->model) and else an error; and what peft_notes() says. */
int adapter_load(struct adapter *a, const struct adapter_base *base, const char *dir, double weight,
                 struct err *e);
void adapter_free(struct adapter *a);

/* Write a PEFT directory: the two files of PEFT. The parameters are those of `a`. */
int adapter_save(const struct adapter *a, const char *dir, const char *base_name, double dropout,
                 struct err *e);

/* A digest of what the adapter does: SHA-256 over "lorac-adapter-1\n"; layers, targets and r as 64-bit
 * little-endian integers; scale * r as a float32; then the parameters as float32 in their order.
 * The same adapter has the same in each of its forms (PEFT, GGUF, checkpoint) that hold its numbers
 * unrounded. */
int adapter_digest(char hex[SHA256_HEX], const struct adapter *a, struct err *e);

/* Stack adapters of one base into one whose effect is the sum of theirs (ranks add up). */
int adapter_combine(struct adapter *out, const struct adapter *parts, size_t n, struct err *e);

/* Names -> bit set: "all-linear", or module names; an unknown one is a usage error. */
int adapter_targets(unsigned *targets, const char *const *names, size_t n, struct err *e);

#endif
