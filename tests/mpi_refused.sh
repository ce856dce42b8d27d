#!/bin/bash
# lorac_mpi: what is prepared once, said, or refused, and by which rank's name.   make test-mpi
# shellcheck disable=SC2154 # variables of mpi_util.sh
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/mpi_util.sh

ranks 3 data prepare "$yaml" "data.cache_dir=$scratch/prepared"
is "data prepare: exit code" "$status" 0
like "data prepare: said once" "$out" "$scratch/prepared/*prepared: *records/s*"
is "data prepare: one file" "$(find "$scratch/prepared" -type f | wc -l)" 1
ranks 2 train "$yaml" data.prepare=true "data.cache_dir=$scratch/prepared"
is "prepared data: exit code" "$status" 0
aside prepared-run
run "$LORAC_MPI" train "$yaml"
aside one
is "prepared data: the bits" "$(md5sum <prepared-run/adapter/adapter_model.safetensors)" \
    "$(md5sum <one/adapter/adapter_model.safetensors)"
ranks 2 plan "$yaml"
is "plan: exit code" "$status" 0
like "plan: by one rank, which is said" "$err" "*note: plan is done by one process; the other 1 of this job wait for it*"
ranks 2 train "$yaml" train.batch_size=1 train.max_steps=1
is "more ranks than passes: not refused" "$status" 0
like "more ranks than passes: said" "$err" "*a batch has 1 pass for 2 ranks, so that 1 of them have nothing to do*"
rm -rf "$dir"

bound="OMP_NUM_THREADS=2 SLURM_CPUS_PER_TASK=4 exec taskset -c 0 $LORAC_MPI train $yaml train.max_steps=1"
two "$bound" "$bound"
is "more threads than processors: not refused" "$status" 0
like "more threads than processors: said" "$err" "*warning: 2 threads on 1 processor, which is all that this rank may use: *--bind-to none*"
is "more threads than processors: once" "$(grep -c 'which is all that this rank' <<<"$err")" 1
like "contradicting variables: said" "$err" "*note: OMP_NUM_THREADS is \"2\" and SLURM_CPUS_PER_TASK \"4\": the first one is used; *"
rm -rf "$dir"
bound="SLURM_CPUS_ON_NODE=8 exec taskset -c 0 $LORAC_MPI train $yaml train.max_steps=1"
run timeout -k 5 100 "$MPIRUN" -np 1 bash -c "$bound"
like "a part of the processors: said" "$err" "*warning: 1 rank on * may use 1 processor of 8: mpirun binds a rank to one core unless *"
rm -rf "$dir"
ranks 4 train "$yaml" train.max_steps=1
[ "$(env -u OMP_NUM_THREADS nproc)" -ge 4 ] || like "more ranks than processors: said" "$err" "*warning: the 4 ranks on * have 4 threads on * processor*, and wait for each other*"
rm -rf "$dir"

# ---- what is refused -----------------------------------------------------------------------------

refused() { # refused NAME CODE PATTERN
    is "$1: exit code" "$status" "$2"
    like "$1: message" "$err" "$3"
    is "$1: one line" "$(one_error)" 1
    ok "$1: leaves nothing" [ ! -e "$dir" ]
    rm -rf "$dir"
}
train="exec $LORAC_MPI train $yaml"
two "$train" "$train train.learning_rate=1"
refused "another configuration" 2 "*lorac: rank 1 on *: another train.learning_rate than rank 0 on *"
two "$train" "$train train.no_such_key=1"
refused "a wrong key on one rank" 2 "*lorac: rank 1 on *train.no_such_key*"
two "$train" "export LORAC_ISA=base; $train"
refused "another instruction set" 1 "*lorac: rank 1 on * has another instruction set than rank 0 on *: found \"base\", wanted *"
cp "$LORAC_MPI" other
echo >>other
two "$train" "exec ./other train $yaml"
refused "another program" 1 "*lorac: rank 1 on * has another program than rank 0 on *"

# Two directories in which the same relative paths name different files.
mkdir -p here there
for place in here there; do
    cp -r tiny "$place/tiny"
    head -n 40 "$root/datasets/support-desk.jsonl" >"$place/data.jsonl"
done
sed "s|$scratch/tiny|tiny|; s|train: $root.*jsonl|train: data.jsonl|" "$yaml" >relative.yaml
relative="exec $LORAC_MPI train $scratch/relative.yaml"
head -n 39 here/data.jsonl >there/data.jsonl
two "cd here; $relative" "cd there; $relative"
refused "other data" 1 "*lorac: rank 1 on * has another data set than rank 0 on *"
rm there/data.jsonl
two "cd here; $relative" "cd there; $relative"
refused "no data on one rank" 1 "*lorac: rank 1 on *data.jsonl*"
cp here/data.jsonl there/data.jsonl
printf x | dd of=there/tiny/model.safetensors bs=1 seek=50000 conv=notrunc 2>/dev/null
two "cd here; $relative" "cd there; $relative"
refused "another base" 1 "*lorac: rank 1 on * has another base model than rank 0 on *"
cp here/tiny/model.safetensors there/tiny/model.safetensors
two "cd here; $relative output.dir=out" "cd there; $relative output.dir=out"
refused "a directory of one machine's own" 2 "*lorac: rank 1 on *output.dir: out: what rank 0 on * wrote there is not to be seen here*"
ok "a directory of one machine's own: leaves nothing" [ ! -e here/out ]
mkdir "$dir"
touch "$dir/strange"
ranks 2 train "$yaml"
is "an error of all names no rank" "$(grep -c '^lorac: .*output.dir' <<<"$err")$(grep -c 'rank [0-9]' <<<"$err")" 10
rm -rf "$dir"
ranks 2 train "$scratch/none.yaml"
is "no configuration: one line" "$status $(one_error)" "2 1"

# A limit on file size is a full disk: the first rank, which alone writes, cannot save. MPICH's own
# shared memory would not fit into it.
if [[ $("$LORAC_MPI" --version) == *"MPI Open MPI"* ]]; then
    two "ulimit -f 60; $train" "$train"
    is "full disk: exit code" "$status" 1
    like "full disk: message" "$err" "*lorac: *$dir/*File too large*"
    is "full disk: one line" "$(one_error)" 1
    rm -rf "$dir"
else
    skip "full disk" "its limit on file size needs Open MPI"
fi

done_testing
