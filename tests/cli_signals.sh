#!/bin/bash
# Signals and time at the command line: what stops a run, what does not, and that it can be resumed.
# shellcheck disable=SC2119,SC2120 # start() takes a command only where a test wants one
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
shopt -s extglob
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1

golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 300000, batch_size: 3, save_steps: 1h, learning_rate: 1.0e-5 }
output: { dir: $scratch/run }
YAML
dir=$scratch/run

count() { find "$dir" -name "$1" 2>/dev/null | wc -l; }
steps() { [ -f "$dir/metrics.jsonl" ] && wc -l <"$dir/metrics.jsonl" || echo 0; }
await() { # await COMMAND...: until it holds, 20 s at most
    for _ in {1..400}; do "$@" 2>/dev/null && return; sleep 0.05; done
    return 1
}
at_least() { [ "$(steps)" -ge "$1" ]; }
newest() { # the step of the newest checkpoint
    local name
    name=$(find "$dir" -name 'step-*.h5' | sort | tail -n 1)
    name=${name##*/step-}
    echo $((10#${name%.h5}))
}
start() { # a fresh run in the background, some steps in
    rm -rf "$dir"
    # a job of a script ignores SIGINT from the start; the run sets its own handler
    "$LORAC" train "$scratch/run.yaml" >"$scratch/out" 2>"$scratch/err" &
    pid=$!
    await at_least 3
}
finish() {
    status=0
    wait "$pid" || status=$?
    err=$(<"$scratch/err")
}

for signal in INT TERM USR1 XCPU; do
    start
    kill "-$signal" "$pid"
    finish
    is "SIG$signal: exit code" "$status" 85
    like "SIG$signal: message" "$err" "*stopped by *$signal* after step * of 300000; the checkpoint is written; *--resume auto*"
    is "SIG$signal: the last completed step is in the checkpoint" "$(newest)" "$(steps)"
    like "SIG$signal: run.json" "$(<"$dir/run.json")" '*"status": "stopped"*"reason": "stopped by *'
done

before=$(steps)
"$LORAC" train "$scratch/run.yaml" --resume auto train.max_steps=300000 >"$scratch/out" 2>"$scratch/err" &
pid=$!
await at_least $((before + 2))
kill -TERM "$pid"
finish
is "resumed: exit code" "$status" 85
like "resumed: says from where" "$err" "*going on from $dir/step-*$before of 300000*"
is "resumed: no step is missing or twice" \
    "$(grep -o '"step": [0-9]*' "$dir/metrics.jsonl" | grep -o '[0-9]*' | sort -n | uniq | wc -l)" "$(steps)"

start
kill -USR2 "$pid"
has_checkpoint() { [ "$(count 'step-*.h5')" -ge 1 ]; }
ok "SIGUSR2: a checkpoint" await has_checkpoint
now=$(steps)
ok "SIGUSR2: the run goes on" await at_least $((now + 3))
kill -INT "$pid"
finish
is "SIGUSR2, then SIGINT: exit code" "$status" 85

# Ctrl-C twice: at once. The first makes the run write its last lines, and it waits there: nobody
# reads.
mkfifo "$scratch/full"
exec 9<>"$scratch/full"
rm -rf "$dir"
"$LORAC" train "$scratch/run.yaml" >"$scratch/out" 2>&9 &
pid=$!
await at_least 3
for size in 4096 1; do dd if=/dev/zero of="$scratch/full" bs=$size oflag=nonblock 2>/dev/null; done
kill -INT "$pid"
sleep 0.4
kill -INT "$pid"
status=0
wait "$pid" || status=$?
exec 9>&-
is "SIGINT twice: at once" "$status" 130

# timeout(1) and mpirun send a signal to the process and then to its group: one request, not two.
for signal in INT TERM; do
    start
    kill "-$signal" "$pid"
    kill "-$signal" "$pid"
    finish
    is "SIG$signal twice in a moment: still a checkpoint" "$status" 85
done

# A batch system's warning, then its SIGTERM.
start
kill -USR1 "$pid"
kill -TERM "$pid" 2>/dev/null
finish
is "SIGUSR1, then SIGTERM: a checkpoint" "$status" 85

start
kill -HUP "$pid"
now=$(steps)
ok "SIGHUP: the run goes on" await at_least $((now + 3))
kill -TERM "$pid"
finish
is "SIGHUP, then SIGTERM: exit code" "$status" 85

# The run continues when nobody reads stderr any more, or when it is full.
rm -rf "$dir"
{ "$LORAC" train "$scratch/run.yaml" train.max_steps=20 2>&1 >/dev/null; echo $? >"$scratch/status"; } | head -c 1 >/dev/null
is "a reader of stderr that left: the run goes on" "$(<"$scratch/status")" 0
rm -rf "$dir"
if [ -w /dev/full ]; then
    run bash -c "'$LORAC' train '$scratch/run.yaml' train.max_steps=20 2>/dev/full"
    is "stderr is full: the run goes on" "$status" 0
    rm -rf "$dir"
fi
run bash -c "'$LORAC' train '$scratch/run.yaml' train.max_steps=20 >&- 2>&- <&-"
is "no stdin, stdout, stderr: exit code" "$status" 0
is "no stdin, stdout, stderr: all steps" "$(steps)" 20
ok "no stdin, stdout, stderr: no message got into a file" \
    [ -z "$(grep -rl 'lorac 0' "$dir" --include=metrics.jsonl --include=config.yaml)" ]

# After a kill that nothing can catch, at any moment, the run can be resumed.
start
kill -KILL "$pid"
finish
is "SIGKILL ends a run: exit code" "$status" 137
run "$LORAC" inspect "$dir"
like "SIGKILL: inspect does not say that it runs" "$out" "*status          killed: *--resume auto*"
run "$LORAC" train "$scratch/run.yaml" --resume auto train.max_steps=300000 --max-hours 0.0001
is "SIGKILL, then --resume auto: stopped by the time limit" "$status" 85
like "--max-hours: says so" "$err" "*stopped by the time limit after step *"

rm -rf "$dir"
before=$SECONDS
run "$LORAC" train "$scratch/run.yaml" --max-hours 0.0035
is "--max-hours: exit code" "$status" 85
ok "--max-hours: within it" [ $((SECONDS - before)) -le 13 ]
is "--max-hours: the last completed step is in the checkpoint" "$(newest)" "$(steps)"

done_testing
