#!/bin/bash
# lorac_mpi: the bits of one process on any number of ranks, also of a run that goes on with another
# number, is stopped, or loses a rank.   make test-mpi
# shellcheck disable=SC2154 # variables of mpi_util.sh
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/mpi_util.sh

is "lorac itself: no MPI" "$(ldd "$LORAC" | grep -ci 'mpi')" 0

# ---- the bits of one process ---------------------------------------------------------------------

run env -u OMPI_COMM_WORLD_SIZE "$LORAC_MPI" train "$yaml"
is "without mpirun: one rank" "$status" 0
[ "$status" = 0 ] || echo "# $err"
aside one
wanted=$(state one)
[[ $MPI_PART == all ]] && counts='1 2 3 4' || counts='2 3'
for n in $counts; do
    ranks "$n" train "$yaml"
    is "$n ranks: exit code" "$status" 0
    aside "of-$n"
    is "$n ranks: the bits of one" "$(state "of-$n")" "$wanted"
    like "$n ranks: run.json says so" "$(<"of-$n/run.json")" "*\"ranks\": $n,*"
done
is "said once" "$(grep -c '^model ' <<<"$err")" 1
like "where they are" "$err" "*ranks     $n on 1 machine, $n of them on this one; *"
like "the table has what ranks cost" "$err" "*waiting*communication*computing, s*imbalance*"
OMP_NUM_THREADS=2 ranks 2 train "$yaml"
is "2 ranks of 2 threads: exit code" "$status" 0
aside threads
is "2 ranks of 2 threads: the bits of one" "$(state threads)" "$wanted"

# Half of the bits: what is kept of a pass, and, where this build has it, the products' operands.
half='train.activations=bf16 train.max_steps=2'
if "$LORAC_MPI" help keys | grep -q '^| .compute. '; then half+=' train.compute=bf16'; fi
# shellcheck disable=SC2086 # words
run "$LORAC_MPI" train "$yaml" $half
aside half
# shellcheck disable=SC2086
ranks 3 train "$yaml" $half
is "bf16 on 3 ranks: exit code" "$status" 0
aside half-of-3
is "bf16 on 3 ranks: the bits of one" "$(state half-of-3)" "$(state half)"

# ---- a run that goes on elsewhere ----------------------------------------------------------------

[[ $MPI_PART == all ]] && counts='1 3' || counts=3
for n in $counts; do
    mkdir "$dir"
    cp -r one/. "$dir"
    ranks "$n" train "$yaml" --resume "$dir/step-000002.h5"
    is "from step 2 on $n: exit code" "$status" 0
    aside "on-$n"
    is "from step 2 on $n: the bits of one" "$(state "on-$n")" "$wanted"
done

# ---- eval and data prepare -----------------------------------------------------------------------

cp -r one "$dir"
run "$LORAC_MPI" eval "$dir" --json --show 4
alone=$out
ranks 3 eval "$dir" --json --show 4
is "eval: exit code" "$status" 0
is "eval: the numbers and wrong answers of one" "$out" "$alone"
held="--model tiny --data $root/datasets/support-desk-heldout.jsonl --template alpaca --json"
# shellcheck disable=SC2086 # words
run "$LORAC_MPI" eval $held
alone=$out
# shellcheck disable=SC2086
ranks 2 eval $held
is "eval without a configuration: the numbers of one" "$status $out" "0 $alone"
rm -rf "$dir"
[[ $MPI_PART == all ]] || MPI_KILLS=1

# ---- signals and deaths --------------------------------------------------------------------------

# The ranks of this test's runs: pid and rank, which the launcher's variables tell.
pids() { pgrep -f "^$LORAC_MPI train $yaml"; }
rank_pid() { # rank_pid N: of the rank with that number
    for p in $(pids); do
        tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qxE "(OMPI_COMM_WORLD_RANK|PMI_RANK|PMIX_RANK)=$1" && echo "$p" && return
    done
}
steps() { if [ -f "$dir/metrics.jsonl" ]; then grep -c '"loss"' "$dir/metrics.jsonl"; else echo 0; fi; }
await_steps() { for _ in {1..600}; do [ "$(steps)" -ge "$1" ] && return; sleep 0.05; done; return 1; }
launch() { # launch N ARGUMENT...: in the background
    local n=$1
    shift
    timeout -k 5 100 "$MPIRUN" -np "$n" "$LORAC_MPI" train "$yaml" "$@" >"$scratch/out" 2>"$scratch/err" &
    job=$!
}
finish() {
    status=0
    wait "$job" || status=$?
    err=$(<"$scratch/err")
}

long='train.max_steps=16 train.eval_on_start=false train.eval_steps=8'
# shellcheck disable=SC2086 # words
run "$LORAC_MPI" train "$yaml" $long
aside long
# shellcheck disable=SC2086
launch 3 $long
await_steps 3
kill -USR1 "$(rank_pid 1)"
finish
is "USR1 to one rank: exit code" "$status" 85
like "USR1 to one rank: all stop" "$err" "*lorac: stopped by SIGUSR1 after step * of 16; the checkpoint is written*"
is "USR1 to one rank: one line" "$(one_error)" 1
# shellcheck disable=SC2086
ranks 2 train "$yaml" $long --resume auto
is "it goes on with 2: exit code" "$status" 0
aside went-on
is "it goes on with 2: the bits" "$(lines went-on)$(md5sum <went-on/step-000016.h5)" "$(lines long)$(md5sum <long/step-000016.h5)"

# shellcheck disable=SC2086
launch 2 $long train.save_steps=1h
await_steps 3
kill -USR2 "$(rank_pid 1)"
has_checkpoint() { compgen -G "$dir/step-*.h5" >/dev/null; }
for _ in {1..200}; do has_checkpoint && break; sleep 0.05; done
ok "USR2 to one rank: a checkpoint" has_checkpoint
finish
is "USR2 to one rank: the run goes on" "$status" 0
rm -rf "$dir"

for i in $(seq "$MPI_KILLS"); do
    n=$((2 + RANDOM % 2)) victim=$((RANDOM % 2))
    # shellcheck disable=SC2086
    launch $n $long
    await_steps 1
    sleep "0.$((RANDOM % 10))"
    kill -9 "$(rank_pid $victim)" 2>/dev/null
    finish
    [ "$status" = 0 ] && echo "# kill $i came too late"
    ok "rank $victim of $n killed: the job ends" [ "$status" != 124 ]
    is "rank $victim of $n killed: no rank is left" "$(pids)" ""
    # shellcheck disable=SC2086
    ranks $((4 - n + 1)) train "$yaml" $long --resume auto
    is "rank $victim of $n killed: resumed on $((4 - n + 1))" "$status" 0
    aside killed
    is "rank $victim of $n killed: the bits" "$(lines killed)$(md5sum <killed/step-000016.h5)" "$(lines long)$(md5sum <long/step-000016.h5)"
done

done_testing
