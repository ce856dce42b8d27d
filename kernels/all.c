/* Every kernel, compiled once per instruction set (-DISA=name and its flags) into one table. The
 * kernels are static functions in files of their own; this file only puts them together. */
#include "kernels/bf16.h"
#include "kernels/common.h"

#include <omp.h>

#include "src/base/rng.h"

#include "kernels/lanes.c"
#include "kernels/widen.c"
#include "kernels/exp.c"
#include "kernels/packed.c"
#include "kernels/matmul.c"
#include "kernels/matvec.c"
#ifdef WITH_BF16
#define F32_MATMUL     matmul
#define F32_WORK_BYTES matmul_work_bytes
#include "kernels/matmul_bf16.c"
#endif
#include "kernels/norm.c"
#include "kernels/rope.c"
#include "kernels/swiglu.c"
#include "kernels/attention.c"
#include "kernels/cross_entropy.c"
#include "kernels/elementwise.c"
#include "kernels/peak.c"

extern const struct kernels JOIN(kernels_, ISA);
const struct kernels JOIN(kernels_, ISA) = {
    .isa = STRING(ISA),
    .gemm = "own",
    .vector_bytes = VECTOR_BYTES,
    .compute = COMPUTE_F32,
    .product = { .isa = STRING(ISA), .why = "" },
    .widen = widen,
    .matmul = matmul,
    .matmul_work_bytes = matmul_work_bytes,
    .matvec = matvec,
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_backward = rmsnorm_backward,
    .rope_half_forward = rope_half_forward,
    .rope_half_backward = rope_half_backward,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_work_bytes = attention_work_bytes,
    .attention_decode = attention_decode,
    .cross_entropy = cross_entropy,
    .dropout = dropout,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .round_bf16 = round_bf16,
    .add = add,
    .scale = scale,
    .copy = copy,
    .sum_squares = sum_squares,
    .adamw = adamw,
    .fma_flops = fma_flops,
    .read_sum = read_sum,
};

#ifdef WITH_BF16
extern const struct bf16_kernels JOIN(bf16_, ISA);
const struct bf16_kernels JOIN(bf16_, ISA) = {
    .matmul = matmul_bf16,
    .matmul_work_bytes = matmul_bf16_work_bytes,
    .matvec = matvec_bf16,
};
#endif
