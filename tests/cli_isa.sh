#!/bin/bash
# Instruction sets: which one runs, by what the CPU says of itself; which ones LORAC_ISA= selects
# and refuses; and that the compiler really made fused multiply-adds of the product's inner loop.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
unset LORAC_ISA LORAC_GEMM

# The sets of this architecture, best last, and what the kernel says that the CPU has. cpuinfo is
# that of the machine, so use ARCH=aarch64 for an aarch64 program under an emulator.
declare -A needs=([base]="" [neon]="" [avx2]="avx2 fma f16c"
    [avx512]="avx512f avx512bw avx512dq avx512vl avx2 fma f16c")
needs[avx512bf16]="${needs[avx512]} avx512_bf16"
arch=${ARCH:-$(uname -m)}
case $arch in
x86_64)
    sets="base avx2 avx512"
    pairs=avx512bf16 # an instruction for bf16, which LORAC_ISA may name, too
    flags=" $(sed -n '/^flags/{s/.*://p;q}' /proc/cpuinfo) "
    ;;
aarch64) sets="base neon" pairs="" flags=" " ;;
*) sets=base pairs="" flags=" " ;;
esac
names="$sets${pairs:+ $pairs}"

cpu_has() { # cpu_has SET
    local flag
    for flag in ${needs[$1]}; do [[ $flags == *" $flag "* ]] || return 1; done
}

one_line() { [ "$(wc -l <<<"$err")" = 1 ] && [ -n "$err" ]; }
refused() { # refused NAME: after a run
    is "$1: exit code" "$status" 2
    is "$1: nothing on stdout" "$out" ""
    ok "$1: one line" one_line
}

# ---- what LORAC_ISA= does ------------------------------------------------------------------------
best=base
for set in $sets; do
    run env LORAC_ISA="$set" "$LORAC" --version
    if cpu_has "$set"; then
        best=$set
        is "LORAC_ISA=$set: exit code" "$status" 0
        like "LORAC_ISA=$set: runs" "$out" "*  kernels $set, products own*"
        run env LORAC_ISA="$set" LORAC_GEMM=blas "$LORAC" --version
        like "LORAC_ISA=$set LORAC_GEMM=blas: runs" "$out" "*  kernels $set, products blas*"
    else
        refused "LORAC_ISA=$set, which this CPU lacks"
        is "LORAC_ISA=$set: message" "$err" \
            "lorac: LORAC_ISA=$set: this CPU does not have it; this build has ${names// /, }"
        skip "LORAC_ISA=$set: runs" "this CPU does not have it"
    fi
done
if [ -n "$pairs" ] && cpu_has "$pairs"; then
    run env LORAC_ISA="$pairs" "$LORAC" --version
    like "LORAC_ISA=$pairs: its set runs" "$out" "*  kernels avx512, products own*"
elif [ -n "$pairs" ]; then
    run env LORAC_ISA="$pairs" "$LORAC" --version
    refused "LORAC_ISA=$pairs, which this CPU lacks"
    is "LORAC_ISA=$pairs: message" "$err" \
        "lorac: LORAC_ISA=$pairs: this CPU does not have it; this build has ${names// /, }"
fi
run "$LORAC" --version
like "without LORAC_ISA: the best of this CPU" "$out" "*  kernels $best, products own*"
run env LORAC_ISA=sse9 "$LORAC" --version
refused "LORAC_ISA=sse9"
is "LORAC_ISA=sse9: message" "$err" \
    "lorac: LORAC_ISA=sse9: no instruction set of that name; this build has ${names// /, }"
run env LORAC_ISA= "$LORAC" --version
refused "LORAC_ISA= (empty)"
run env LORAC_GEMM=mkl "$LORAC" --version
refused "LORAC_GEMM=mkl"
is "LORAC_GEMM=mkl: message" "$err" "lorac: LORAC_GEMM=mkl: wanted own or blas"

# ---- other CPUs, emulated ------------------------------------------------------------------------
# As qemu defines its CPUs: Nehalem has SSE4.2, Haswell AVX2 and FMA; none has AVX-512.
emulated() { # emulated CPU BEST LACKS
    run qemu-x86_64 -cpu "$1" "$LORAC" --version
    like "$1: the header names the set" "$out" "*  kernels $2, products own*"
    run qemu-x86_64 -cpu "$1" -E LORAC_ISA="$3" "$LORAC" --version
    err=$(sed '/^qemu-x86_64: warning: /d' <<<"$err") # features that it does not emulate
    refused "$1: LORAC_ISA=$3"
    like "$1: LORAC_ISA=$3: message" "$err" "lorac: LORAC_ISA=$3: this CPU does not have it; *"
}
if [ "$arch" != x86_64 ]; then
    skip "emulated CPUs" "they are x86-64"
elif ! command -v qemu-x86_64 >/dev/null; then
    skip "emulated CPUs" "qemu-x86_64 is not installed"
elif sanitized; then
    skip "emulated CPUs" "the address space of the sanitizer does not fit"
else
    emulated Nehalem base avx2
    emulated Haswell avx2 avx512
fi

# ---- what was compiled ---------------------------------------------------------------------------
# The tile of kernels/packed.c has rows x vectors accumulators, so one round of it has as many
# multiply-adds of whole vectors. A build that contracts nothing has none.
objects=$(dirname "$LORAC")/f32/kernels
multiply_adds() { # multiply_adds OBJECT PATTERN: those in the functions of the tile
    ${OBJDUMP:-objdump} -d --no-show-raw-insn "$objects/$1.o" |
        awk -v pattern="$2" '/^[0-9a-f]+ </ { inside = $2 ~ /<(tile|panel|matmul)/ }
            inside && $0 ~ pattern { n++ } END { print n + 0 }'
}
fused() { # fused OBJECT PATTERN AT_LEAST
    local n
    if [ ! -e "$objects/$1.o" ]; then
        skip "$1: multiply-adds in the product" "$objects has no $1.o"
        return
    fi
    n=$(multiply_adds "$1" "$2")
    ok "$1: $n multiply-adds of whole vectors in the product, at least $3" [ "$n" -ge "$3" ]
}
if ! command -v "${OBJDUMP:-objdump}" >/dev/null; then
    skip "multiply-adds in the product" "objdump is not installed"
else
    case $arch in
    x86_64)
        fused all_avx2 'vfmadd[0-9]+ps.*%ymm' 12
        fused all_avx512 'vfmadd[0-9]+ps.*%zmm' 24
        fused pairs_avx512bf16 'vdpbf16ps.*%zmm' 24
        is "base: none, as its CPUs have none" "$(multiply_adds all_base vfmadd)" 0
        ;;
    aarch64) fused all_neon 'fmla.*[.]4s' 24 ;;
    esac
fi

done_testing
