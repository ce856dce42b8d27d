#!/bin/bash
# The job scripts of scripts/slurm on a real Slurm, which this test starts: each is submitted,
# signalled, queued again, resumed and finished with the bits of a run that nobody disturbed.
# SLURM_FULL=1: also preemption, a time limit and a node that fails, for which Slurm takes minutes.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
. tests/slurm_cluster.sh
trap 'cluster_down; rm -rf "$scratch"' EXIT

why=$(cluster_missing)
if [ -n "$why" ]; then
    echo "1..0 # SKIP $why"
    exit
fi
LORAC=$(realpath "$LORAC")
export LORAC XDG_CACHE_HOME=$scratch/cache
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo # loopback is left out by default
golden=$(realpath "${LORAC_GOLDEN:-tests/golden}")/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 1500, batch_size: 4, pass_tokens: 30, save_steps: 1h, learning_rate: 1.0e-3 }
output: { dir: $scratch/undisturbed }
YAML
run cluster_up "$scratch/slurm"
is "a Slurm of two nodes comes up" "$status" 0
if [ "$status" != 0 ]; then
    cluster_logs
    done_testing
    exit
fi
small=(--cpus-per-task=1 --mem=400M --time=10 --chdir="$scratch" --output="$scratch/%j.log")

# ---- tools ---------------------------------------------------------------------------------------

steps() { [ -f "$1/metrics.jsonl" ] && wc -l <"$1/metrics.jsonl" || echo 0; }
has_steps() { [ "$(steps "$1")" -ge "$2" ]; }
restarts() { scontrol -o show job "$1" | grep -o 'Restarts=[0-9]*' | cut -d= -f2; }
has_restarted() { [ "$(restarts "$1")" = "$2" ] && job_is "$1" RUNNING; }
has_ended() { [[ $(job_state "$1") == @(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)' ' ]]; }
log() { cat "$scratch/$1.log" 2>/dev/null; }
bits() { # what has to be the same, whatever happened in between
    sha256sum <"$1/adapter/adapter_model.safetensors"
    sed -E 's/, "(tokens_per_s|memory_bytes)": [^,}]*//g' "$1/metrics.jsonl" | sha256sum
}
completed() { # completed NAME JOB DIR LIKE_DIR
    ok "$1: ends" await 60 has_ended "$2"
    is "$1: its state" "$(job_state "$2")" "COMPLETED "
    is "$1: all steps" "$(steps "$3")" "$(steps "$4")"
    is "$1: the bits of an undisturbed run" "$(bits "$3" 2>&1)" "$(bits "$4")"
}

run env OMP_NUM_THREADS=1 "$LORAC" train "$scratch/run.yaml"
is "an undisturbed run, without Slurm" "$status" 0

# ---- one node ------------------------------------------------------------------------------------

dir=$scratch/one
submit "${small[@]}" scripts/slurm/train.sbatch "$scratch/run.yaml" output.dir="$dir"
first=$job
ok "one node: trains" await 30 has_steps "$dir" 30
submit "${small[@]}" scripts/slurm/train.sbatch "$scratch/run.yaml" output.dir="$dir"
ok "a second job in its directory: ends" await 30 has_ended "$job"
like "a second job in its directory: refused with process, host and job" "$(job_state "$job") $(log "$job")" \
    "FAILED *another run is writing here (process * on $(hostname), Slurm job $first)*"
scancel --signal=USR1 "$first"
ok "one node: SIGUSR1: is queued again and starts again" await 40 has_restarted "$first" 1
ok "one node: goes on" await 30 grep -q 'going on from' "$scratch/$first.log"
scontrol requeue "$first"
ok "one node: scontrol requeue: starts again" await 40 has_restarted "$first" 2
completed "one node" "$first" "$dir" "$scratch/undisturbed"
like "one node: its log has all of it" "$(log "$first")" \
    "*stopped by SIGUSR1 after step *going on from*stopped by SIGTERM after step *going on from*"

dir=$scratch/ended
submit "${small[@]}" scripts/slurm/train.sbatch "$scratch/run.yaml" output.dir="$dir" train.max_steps=300000
ok "a job to be cancelled: trains" await 30 has_steps "$dir" 5
scancel "$job"
ok "scancel: the job ends" await 30 has_ended "$job"
like "scancel: it stays away, with a checkpoint" "$(job_state "$job") $(restarts "$job") $(log "$job")" \
    "CANCELLED *0 *stopped by SIGTERM after step *the checkpoint is written*"

# ---- tasks that do not know of each other --------------------------------------------------------

run timeout 60 srun -n 4 --cpus-per-task=1 --mem=100M "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/four"
is "four tasks without MPI: exit code" "$status" 2
is "four tasks without MPI: told once what it is" "$(grep -c 'srun started 4 tasks.*do not know of each other' <<<"$err")" 1
ok "four tasks without MPI: leave nothing" [ ! -e "$scratch/four" ]

# ---- an array for a sweep ------------------------------------------------------------------------

grid=('adapter.r=2,4' 'train.learning_rate=1e-3,2e-3')
run env OMP_NUM_THREADS=1 "$LORAC" sweep "$scratch/run.yaml" "${grid[@]}" output.dir="$scratch/calm" train.max_steps=700
is "an undisturbed sweep" "$status" 0
submit --array=0-1 "${small[@]}" --output="$scratch/%A_%a.log" scripts/slurm/sweep.sbatch "$scratch/run.yaml" \
    "${grid[@]}" output.dir="$scratch/sweep" train.max_steps=700
begun() { [ "$(find "$scratch/sweep" -name metrics.jsonl | wc -l)" -ge 2 ]; }
ok "sweep: both tasks train" await 30 begun
scancel --signal=USR1 "${job}_1"
ok "sweep: the task that was signalled starts again" await 40 has_restarted "${job}_1" 1
ok "sweep: ends" await 60 has_ended "${job}_1"
ok "sweep: the other task, too" await 30 has_ended "${job}_0"
is "sweep: states of its tasks" "$(job_state "$job")" "COMPLETED "
for dir in "$scratch"/calm/*/; do
    name=$(basename "$dir")
    is "sweep: $name has the bits of the undisturbed one" "$(bits "$scratch/sweep/$name" 2>&1)" "$(bits "$dir")"
done

# ---- several nodes -------------------------------------------------------------------------------

mpi=$(dirname "$LORAC")/lorac_mpi
has_pmix() { timeout 20 srun --mpi=list 2>&1 | grep -q pmix; }
if [ ! -x "$mpi" ]; then
    skip "several nodes" "lorac_mpi is not built: make MPI=1"
elif ! has_pmix; then
    skip "several nodes" "this Slurm has no pmix"
else
    export LORAC=$mpi
    dir=$scratch/two
    submit --nodes=2 "${small[@]}" scripts/slurm/train-nodes.sbatch "$scratch/run.yaml" output.dir="$dir"
    ok "two nodes: train" await 30 has_steps "$dir" 30
    like "two nodes: two ranks" "$(log "$job")" "*ranks     2 *"
    scancel --signal=USR1 "$job"
    ok "two nodes: start again" await 40 has_restarted "$job" 1
    completed "two nodes" "$job" "$dir" "$scratch/undisturbed"

    dir=$scratch/killed
    submit --nodes=2 "${small[@]}" scripts/slurm/train-nodes.sbatch "$scratch/run.yaml" output.dir="$dir" \
        train.save_steps=20
    lost=$job
    ok "a rank is killed: both train" await 30 has_steps "$dir" 50
    ok "a rank is killed: found" find_pids lorac_mpi "SLURM_JOB_ID=$lost" SLURM_PROCID=1
    kill -KILL "${pids[@]}"
    ok "a rank is killed: the job ends" await 30 has_ended "$lost"
    is "a rank is killed: its state" "$(job_state "$lost")" "FAILED "
    submit --nodes=2 "${small[@]}" scripts/slurm/train-nodes.sbatch "$scratch/run.yaml" output.dir="$dir" \
        train.save_steps=20
    completed "after a rank was killed" "$job" "$dir" "$scratch/undisturbed"

    submit --nodes=2 "${small[@]}" scripts/slurm/train-nodes.sbatch "$scratch/run.yaml" output.dir="$scratch/lost" \
        train.watchdog=3s train.max_steps=300000
    ok "a rank hangs: both train" await 30 has_steps "$scratch/lost" 20
    ok "a rank hangs: found" find_pids lorac_mpi "SLURM_JOB_ID=$job" SLURM_PROCID=1
    kill -STOP "${pids[@]}"
    ok "a rank hangs: the job ends" await 40 has_ended "$job"
    is "a rank hangs: with the watchdog's exit code" "$(scontrol -o show job "$job" | grep -o ' ExitCode=[0-9]*')" " ExitCode=86"
    like "a rank hangs: the other says where it waited" "$(log "$job")" \
        "*watchdog: no progress for 3.* s at step * (waiting for other ranks), on rank 0 of 2, process * of $(hostname): it ends with exit code 86*"
fi

# ---- what takes Slurm minutes --------------------------------------------------------------------

export LORAC=${mpi%_mpi}
if [ "${SLURM_FULL:-}" != 1 ]; then
    skip "preemption, a time limit, a node that fails" "SLURM_FULL=1 runs them"
else
    dir=$scratch/preempted
    submit "${small[@]}" scripts/slurm/train.sbatch "$scratch/run.yaml" output.dir="$dir"
    low=$job
    ok "preemption: trains" await 30 has_steps "$dir" 30
    submit --partition=high --nodes=2 --exclusive --time=1 --output=/dev/null --wrap 'sleep 3'
    ok "preemption: is queued again and starts again" await 60 has_restarted "$low" 1
    completed "preemption" "$low" "$dir" "$scratch/undisturbed"

    dir=$scratch/limited
    submit "${small[@]}" --time=2 --signal=USR1@60 scripts/slurm/train.sbatch "$scratch/run.yaml" \
        output.dir="$dir" train.max_steps=3000000
    ok "a time limit: starts again" await 150 has_restarted "$job" 1
    like "a time limit: was stopped in time" "$(log "$job")" "*stopped by SIGUSR1 after step *"
    scancel "$job"
    ok "a time limit: is cancelled" await 30 has_ended "$job"

    dir=$scratch/failed
    submit --nodelist=n2 "${small[@]}" scripts/slurm/train.sbatch "$scratch/run.yaml" output.dir="$dir" \
        train.save_steps=20
    ok "a node fails: trains" await 30 has_steps "$dir" 50
    kill -KILL "$(<"$cluster/slurmd-n2.pid")"
    find_pids slurmstepd && kill -KILL "${pids[@]}" # first: it would report how the job ended
    find_pids '*' "SLURM_JOB_ID=$job" && kill -KILL "${pids[@]}" 2>/dev/null
    ok "a node fails: the job is queued again" await 120 job_is "$job" PENDING
    slurmd -f "$SLURM_CONF" -N n2
    ok "a node fails: the job starts again" await 60 has_restarted "$job" 1
    completed "after a node failed" "$job" "$dir" "$scratch/undisturbed"
fi

done_testing
