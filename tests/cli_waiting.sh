#!/bin/bash
# How idle threads wait, which changes no bit, and what train says when other programs compute here.
# Nothing here is timed; scripts/bench-waiting measures the speed.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache
unset OMP_WAIT_POLICY GOMP_SPINCOUNT KMP_BLOCKTIME KMP_LIBRARY OMP_NUM_THREADS OMP_PROC_BIND OMP_PLACES
unset SLURM_JOB_ID SLURM_CPUS_PER_TASK
cpus=$(nproc)
loops=()
trap 'kill "${loops[@]}" 2>/dev/null; rm -rf "$scratch"' EXIT

golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 5, batch_size: 3, learning_rate: 1.0e-3 }
output: { dir: $scratch/run }
YAML

# ---- the same bits -------------------------------------------------------------------------------
train() { # train VARIABLE...: $adapter is the hash after a run in this environment
    run env "$@" "$LORAC" train "$scratch/run.yaml" "output.dir=$scratch/$*"
    adapter=$(sha256sum <"$scratch/$*/adapter/adapter_model.safetensors")
}
train A=1
is "a run ends: exit code" "$status" 0
wanted=$adapter
for how in OMP_WAIT_POLICY=passive OMP_WAIT_POLICY=active GOMP_SPINCOUNT=0 KMP_BLOCKTIME=0 KMP_BLOCKTIME=200 \
    OMP_NUM_THREADS=1 OMP_PROC_BIND=close; do
    train "$how"
    is "$how: the same adapter" "$adapter" "$wanted"
done

# ---- who decides ---------------------------------------------------------------------------------
told() { # told NAME PATTERN VARIABLE...: doctor's line
    local name=$1 pattern=$2
    shift 2
    run env "$@" "$LORAC" doctor
    like "$name: doctor names the way" "$out" "*[✓!] waiting *$pattern*"
}
told "unset: lorac" "threads spin; beside other programs they sleep" A=1
own=GOMP_SPINCOUNT=77 others=KMP_BLOCKTIME=7
if ldd "$LORAC" | grep -q libomp; then own=KMP_BLOCKTIME=7 others=GOMP_SPINCOUNT=77; fi
told "another runtime's variable: lorac" "threads spin; *" $others
for how in OMP_WAIT_POLICY=passive OMP_WAIT_POLICY=active $own; do
    told "$how: the user" "as ${how%=*} says" "$how"
done
told_to() { OMP_DISPLAY_ENV=verbose "$@" "$LORAC" --version 2>&1 | grep -oE "(OMP_WAIT_POLICY|GOMP_SPINCOUNT) = .*"; }
if ldd "$LORAC" | grep -q libgomp; then
    is "libgomp sleeps at once where it has too many threads, else spins" "$(told_to env)" \
        "OMP_WAIT_POLICY = 'PASSIVE'
GOMP_SPINCOUNT = '30000'"
    like "GOMP_SPINCOUNT is the user's" "$(told_to env GOMP_SPINCOUNT=77)" "*SPINCOUNT = '77'"
    like "OMP_WAIT_POLICY is the user's" "$(told_to env OMP_WAIT_POLICY=passive)" "*SPINCOUNT = '0'"
    like "without variables to take the places of" "$(told_to env -i OMP_DISPLAY_ENV=verbose)" "*SPINCOUNT = '300000'"
else
    skip "libgomp is told" "this build has another runtime"
fi

# ---- others compute here -------------------------------------------------------------------------
for ((i = 0; i < cpus; i++)); do
    while :; do :; done &
    loops+=($!)
done
run "$LORAC" doctor
like "doctor tells of others" "$out" "*! load *other programs use *.* of these $cpus processor*-> stop them*"
timeout 120 "$LORAC" train "$scratch/run.yaml" train.max_steps=300000 "output.dir=$scratch/loaded" \
    2>"$scratch/err" &
pid=$!
for _ in {1..400}; do
    grep -q '^note: other programs' "$scratch/err" && break
    sleep 0.05
done
kill -TERM "$pid"
wait "$pid"
like "train tells of others" "$(<"$scratch/err")" \
    "*note: other programs use *.* of these $cpus processor*a run waits for its slowest thread: stop them*"
is "other programs are told once" "$(grep -c 'other programs use' "$scratch/err")" 1
done_testing
