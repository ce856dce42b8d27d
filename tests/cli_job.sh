#!/bin/bash
# What the environment of a batch job says, and what a run makes of it: the job's end, the number of
# its tasks, its number in the lock; and the watchdog. A real Slurm is in slurm_jobs.sh.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1
unset SLURM_JOB_END_TIME SLURM_STEP_NUM_TASKS SLURM_PROCID SLURM_JOB_ID

golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 20, batch_size: 3, save_steps: 1h, learning_rate: 1.0e-5 }
output: { dir: $scratch/run }
YAML
dir=$scratch/run
train() { # train [VARIABLE=VALUE]... -- [ARGUMENT]...
    local variables=()
    while [ "$1" != -- ]; do variables+=("$1") && shift; done
    shift
    rm -rf "$dir"
    run env "${variables[@]}" "$LORAC" train "$scratch/run.yaml" "$@"
}
steps() { [ -f "$dir/metrics.jsonl" ] && wc -l <"$dir/metrics.jsonl" || echo 0; }

# ---- the job's end -------------------------------------------------------------------------------

start=$SECONDS
train SLURM_JOB_END_TIME=$(($(date +%s) + 35)) -- train.max_steps=300000
is "SLURM_JOB_END_TIME: exit code" "$status" 85
like "SLURM_JOB_END_TIME: says so at the beginning" "$err" "*note: the job ends in 3[45]* s (SLURM_JOB_END_TIME)*"
like "SLURM_JOB_END_TIME: and at the end" "$err" \
    "*stopped by the end of the job's time (SLURM_JOB_END_TIME) after step * of 300000; the checkpoint is written*"
ok "SLURM_JOB_END_TIME: in time" [ $((SECONDS - start)) -le 20 ]
ok "SLURM_JOB_END_TIME: not before there was a reason" [ "$(steps)" -gt 10 ]
train SLURM_JOB_END_TIME=$(($(date +%s) + 3600)) -- train.max_steps=300000 --max-hours 0.0001
like "the earlier of the job's end and --max-hours counts" "$status $err" "85 *stopped by the time limit*"
train SLURM_JOB_END_TIME=$(($(date +%s) - 5)) --
like "an end that has passed is ignored" "$status $err" "0 *SLURM_JOB_END_TIME: found*that time has passed: it is ignored*"
train SLURM_JOB_END_TIME=noon --
like "an end that is no number is ignored" "$status $err" '0 *SLURM_JOB_END_TIME: found "noon", wanted seconds since 1970: it is ignored*'

# ---- tasks that do not know of each other --------------------------------------------------------

while read -r name tasks number; do
    train "$tasks=4" "$number=0" --
    is "$name: refused" "$status" 2
    like "$name: says what it is" "$err" "lorac: $name started 4 tasks ($tasks), which do not know of each other*lorac_mpi*"
    is "$name: in one line" "$(wc -l <"$scratch/err")" 1
    ok "$name: leaves nothing" [ ! -e "$dir" ]
    train "$tasks=4" "$number=3" --
    is "$name: the other tasks say nothing" "$status$err" 2
    train "$tasks=1" "$number=0" --
    is "$name: one task trains" "$status" 0
done <<'END'
srun SLURM_STEP_NUM_TASKS SLURM_PROCID
mpirun OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK
mpirun PMI_SIZE PMI_RANK
END
if [ -x "$(dirname "$LORAC")/lorac_mpi" ]; then # started by another MPI's mpirun
    run env PMI_SIZE=4 PMI_RANK=0 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        "$(dirname "$LORAC")/lorac_mpi" train "$scratch/run.yaml" output.dir="$scratch/mpi"
    like "lorac_mpi under another MPI's launcher: refused" "$status $err" "2 *mpirun started 4 tasks (PMI_SIZE), and * sees 1 of them: wanted*--mpi=pmix*"
else
    skip "lorac_mpi under another MPI's launcher" "lorac_mpi is not built: make MPI=1"
fi
train SLURM_NTASKS=4 SLURM_PROCID=0 --
is "a batch script of four tasks, without srun, trains" "$status" 0
run env SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 "$LORAC" sweep "$scratch/run.yaml" adapter.r=2,4
is "a sweep of two tasks without an array: refused" "$status" 2

# ---- the lock, the watchdog ----------------------------------------------------------------------

rm -rf "$dir"
SLURM_JOB_ID=4711 "$LORAC" train "$scratch/run.yaml" train.max_steps=300000 2>/dev/null &
pid=$!
for _ in {1..200}; do [ -s "$dir/metrics.jsonl" ] && break; sleep 0.05; done
run "$LORAC" train "$scratch/run.yaml" --resume auto
is "two jobs in one directory: exit code" "$status" 1
like "two jobs in one directory: host, process and job" "$err" \
    "*another run is writing here (process $pid on $(hostname), Slurm job 4711)*"
kill -TERM "$pid"
wait "$pid"
is "a run that ended in order leaves no name in its lock" "$(cat "$dir/.lock")" ""

run "$LORAC" plan "$scratch/run.yaml" train.watchdog=5
like "watchdog: a time has a unit" "$status $err" '2 *train.watchdog: found "5", wanted auto or a time such as 30min*'
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null && ! sanitized; then
    rm -rf "$dir"
    run strace -f -o /dev/null -e trace=fsync -e inject=fsync:delay_enter=7000000:when=12+ \
        "$LORAC" train "$scratch/run.yaml" train.watchdog=2s train.save_steps=2
    is "a write that hangs: exit code" "$status" 86
    like "a write that hangs: says what and where" "$err" \
        "*lorac: watchdog: no progress for 2.* s at step * (writing a checkpoint), on process * of $(hostname): it ends with exit code 86; --resume auto *"
    run "$LORAC" train "$scratch/run.yaml" train.save_steps=2 --resume auto
    is "a write that hangs: the run can be resumed" "$status" 0
else
    skip "a write that hangs" "needs strace"
fi

done_testing
