/* A fine-tuned model's difference from its base as an adapter: for every matrix the best
 * approximation of rank r to W' - W, by a truncated singular value decomposition.
 *
 * The decomposition is that of Halko, Martinsson and Tropp (2011): the range of the difference is
 * found by multiplying it with r + 10 random vectors and three rounds of subspace iteration,
 * orthonormalised by Cholesky factors of Gram matrices in double, twice; the small problem that is
 * left is solved by Jacobi's rotations. The error is within a percent of the smallest possible
 * unless the singular values do not fall at all. The scale is 1 (lora_alpha = r) and each singular
 * value is shared evenly: B = U sqrt(S), A = sqrt(S) V^T. */
#ifndef LORAC_CONVERT_EXTRACT_H
#define LORAC_CONVERT_EXTRACT_H

#include "src/base/watch.h"
#include "src/model/adapter.h"

enum { EXTRACT_R_MAX = 512 };

struct extract_report {
    double kept;      /* share of the squared difference of the matrices that the adapter holds */
    double elsewhere; /* relative size of the difference outside of them, which it cannot hold */
    size_t changed;   /* matrices that differ */
};

/* Both models have one shape. out is freed with adapter_free(). The watch (NULL: none) sees
 * matrices; ERR_STOPPED when it wants that. */
int extract_adapter(struct adapter *out, struct extract_report *report, const struct llama *tuned,
                    const struct llama *base, size_t r, const struct kernels *k,
                    const struct watch *w, struct err *e);

#endif
