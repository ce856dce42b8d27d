#!/bin/bash
# Other BLAS libraries in the place of the one that lorac was linked to, by LD_LIBRARY_PATH, so that
# nothing of the system changes: reference BLAS and BLIS where Debian has them, MKL where LORAC_MKL
# names its directory. scripts/test-blas runs whole tests in the same way.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
is "no function of OpenBLAS must exist" "$(nm -D --undefined-only "$LORAC" | grep -c ' U openblas_')" 0
if ! ldd "$LORAC" | grep -qE 'lib(open)?blas\.so' || sanitized; then
    skip "other libraries" "linked to none that could be replaced, or with sanitizers"
    done_testing
    exit 0
fi
golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4 }
train: { max_steps: 2, batch_size: 3 }
output: { dir: $scratch/run }
YAML
train() { # train NAME GEMM THREADS
    run env LORAC_GEMM="$2" OMP_NUM_THREADS="$3" "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/$1"
    [ "$status" = 0 ] || report "train $1" 1 "$err"
}
same() { cmp "$scratch/$1/adapter/adapter_model.safetensors" "$scratch/$2/adapter/adapter_model.safetensors"; }
train linked own 2
scripts/test-blas --list >"$scratch/libraries"
while IFS='|' read -r name says dir; do
    if [ -z "$dir" ]; then
        skip "$name" "it is not installed"
        continue
    fi
    export LD_LIBRARY_PATH=$dir
    [ "$name" = MKL ] || export LD_BIND_NOW=1 # MKL's parts refer to names that none of them has
    run "$LORAC" --version
    like "$name: --version names it" "$out" "*  $says*"
    train "$name-own" own 2
    ok "$name: lorac's own products have the same bits" same linked "$name-own"
    train "$name-1" blas 1
    train "$name-2" blas 2
    like "$name: the run names it" "$err" "*products blas (LORAC_GEMM), *"
    ok "$name: its products have the same bits with one and two threads" same "$name-1" "$name-2"
    run "$LORAC" doctor
    like "$name: doctor names it" "$out" "*[✓!] blas *$says*threads: *"
    unset LD_LIBRARY_PATH LD_BIND_NOW
    rm -r "$dir"
done <"$scratch/libraries"
done_testing
