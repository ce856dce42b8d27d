#!/bin/bash
# lorac sweep on the tiny base: which runs a grid makes and where, what is skipped, continued and
# refused, a job array emulated by its variables, and the table on terminals of several widths.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
unset SLURM_ARRAY_TASK_ID

for i in {1..24}; do
    printf '{"prompt": "Category: %s", "completion": " number %s"}\n' "$i" "$((i % 5))"
done >"$scratch/data.jsonl"
cat >"$scratch/run.yaml" <<END
model: {path: $PWD/checkpoints/tiny-base}
data: {train: $scratch/data.jsonl, template: plain, validation: 0.25}
adapter: {r: 2}
train: {max_steps: 4, batch_size: 4, eval_steps: 2, learning_rate: 1.0e-3}
output: {dir: $scratch/grid}
END
sweep() { run "$LORAC" sweep "$scratch/run.yaml" "$@"; }
runs_in() { find "$1" -name run.json -printf '%P\n' 2>/dev/null | sed 's|/run.json$||' | sort; }
value() { sed -n "s/^  $2: //p" "$1/config.yaml"; }
prepared() { find "$scratch/cache" -name '*.h5' | wc -l; }
await() { # await COMMAND...: until it holds, a minute at most
    for _ in {1..1200}; do "$@" 2>/dev/null && return; sleep 0.05; done
    return 1
}

# ---- what is wrong is said before anything is made -----------------------------------------------

while IFS='|' read -r name code pattern arguments; do
    # shellcheck disable=SC2086 # words
    sweep $arguments
    is "$name: exit code" "$status" "$code"
    like "$name: message" "$err" "$pattern"
    is "$name: nothing on stdout" "$out" ""
    ok "$name: nothing made" [ ! -e "$scratch/grid" ]
done <<'END'
an unknown key|2|lorac: override: unknown key "train.learning_rat"; did you mean train.learning_rate?|train.learning_rat=1,2
another trainer's key|2|lorac: override: unknown key "lr": write train.learning_rate|lr=1,2
the last value has the wrong type|2|lorac: override adapter.r: found "x", wanted an integer in \[1, 4096\]|adapter.r=2,4,x
a list without brackets|2|*a list is written in brackets: \[q_proj, v_proj\]|adapter.target_modules=q_proj,v_proj
nothing varies|2|*no key has several values*lorac train*|adapter.r=4
a grid of thousands|2|lorac: a sweep of 2000 runs, more than 256: if that is meant, add --yes|adapter.r=2,4 --seeds 1000
the same run twice|2|*two runs would both be*|train.learning_rate=1e-3,0.001
several output.dir|2|*output.dir: found several values, wanted one*|output.dir=a,b
no seeds|2|lorac sweep: --seeds: found "0", wanted an integer in \[1, 1000\]|adapter.r=2,4 --seeds 0
a table with a grid|2|*--table compares runs that are there already*|adapter.r=2,4 --table x
a table of no runs yet|2|*--dry-run makes no table*|adapter.r=2,4 --dry-run --json
two forms of the table|2|*exclude each other*|adapter.r=2,4 --json --csv
missing data|1|*override data.train: */none.jsonl*|data.train=/none.jsonl adapter.r=2,4
a template unknown to the data|2|*override data.template: *did you mean alpaca?*|data.template=plain,alpca
END
run "$LORAC" sweep
is "no arguments: exit code" "$status" 2
like "no arguments: what to write" "$err" "*needs CONFIG.yaml*--table DIR*"
mkdir "$scratch/empty"
run "$LORAC" sweep --table "$scratch/empty"
is "a table of no runs: exit code" "$status" 1
like "a table of no runs: message" "$err" "*no run in it or below it*"
sweep adapter.r=2,4 --seeds 2 --dry-run
is "--dry-run: lists the runs" "$status$out" "0   1  not begun   $scratch/grid/r-2+seed-0
   2  not begun   $scratch/grid/r-2+seed-1
   3  not begun   $scratch/grid/r-4+seed-0
   4  not begun   $scratch/grid/r-4+seed-1"
ok "--dry-run: nothing made" [ ! -e "$scratch/grid" ]

# ---- a grid --------------------------------------------------------------------------------------

rm -r "$scratch/cache"
sweep adapter.r=2,4 train.weight_decay=0.1 --seeds 2
is "a grid: exit code" "$status" 0
is "a grid: its runs" "$(runs_in "$scratch/grid")" "r-2+seed-0
r-2+seed-1
r-4+seed-0
r-4+seed-1"
is "a grid: every run is finished" "$(cat "$scratch/grid"/*/run.json | grep -c '^  "status": "finished"')" 4
dir=$scratch/grid/r-4+seed-1
is "a grid: the values of a run" "$(value "$dir" r) $(value "$dir" seed) $(value "$dir" weight_decay)" "4 1 0.1"
is "a grid: data.split_seed is held" "$(sed -n 's/^  split_seed: //p' "$scratch/grid"/*/config.yaml | sort -u)" 0
like "a grid: says that it is" "$err" "*data.split_seed is held at 0, so that all runs are measured on the same records*"
is "a grid: data are prepared once" "$(grep -c 'prepared once' <<<"$err") $(prepared)" "1 1"
like "a grid: the table" "$out" "4 runs in 2 rows; base * *r  seeds *loss *exact  step *time *vs. best*"
like "a grid: the best row's adapter" "$out" "*best: adapter.r *--adapter $scratch/grid/r-?+seed-?/best"
ok "a grid: the best row's adapter is there" [ -f "$(sed -n 's/^.*--adapter //p' <<<"$out")/adapter_model.safetensors" ]
table=$out

stamp=$(stat -c '%n %i %y' "$scratch/grid"/*/*)
sweep adapter.r=2,4 train.weight_decay=0.1 --seeds 2
is "again: exit code" "$status" 0
is "again: every run was finished before" "$(grep -c ': finished before' <<<"$err")" 4
is "again: nothing is changed" "$(stat -c '%n %i %y' "$scratch/grid"/*/*)" "$stamp"
is "again: the same table" "$out" "$table"
like "again: the data were prepared before" "$err" "*data      prepared before: *.h5*"
sweep adapter.r=2,4.0,8 train.weight_decay=0.1 --seeds 1
is "one more value: only its run is made" "$status $(grep -c ': finished before' <<<"$err") $(runs_in "$scratch/grid" | wc -l)" "0 2 5"
sweep adapter.r=2,8 --seeds 1
is "other values for all: the runs there are not taken for theirs" "$status" 1
like "other values for all: says which key" "$err" "*run 1 of 2 failed: *begun with another train.weight_decay*2 of 2 runs failed*"

# A run of the sweep is the run that its configuration describes.
run "$LORAC" train "$dir/config.yaml" output.dir="$scratch/alone"
ok "a run of the sweep has the bits of one alone" cmp -s "$scratch/alone/adapter/adapter_model.safetensors" \
    "$dir/adapter/adapter_model.safetensors"

# A run that ended early goes on where its patience changes, which no other key needs.
early() { sweep adapter.r=2,4 train.learning_rate=0 output.dir="$scratch/early" train.early_stopping_patience="$1"; }
steps_of() { sed -n 's/^  "step": \([0-9]*\),/\1/p' "$scratch"/early/*/run.json | xargs; }
early 1
is "early stopping: the runs end early" "$status $(steps_of)" "0 2 2"
early 1
is "early stopping, again: finished before" "$status $(grep -c ': finished before' <<<"$err")" "0 2"
early null
is "early stopping, then without: the runs go on" "$status $(grep -c ': finished before' <<<"$err") $(steps_of)" "0 0 4 4"

# ---- runs that fail ------------------------------------------------------------------------------

mkdir -p "$scratch/failing/r-2+seed-0"
touch "$scratch/failing/r-2+seed-0/something"
sweep adapter.r=2,4 output.dir="$scratch/failing"
is "a run that fails: exit code" "$status" 1
like "a run that fails: is named, and the count" "$err" \
    "*run 1 of 2 failed: *is not empty*run 2 of 2: *run 1 of 2 failed: r-2+seed-0: *is not empty*lorac: 1 of 2 runs failed; the same command tries it again"
is "a run that fails: the others are made" "$(runs_in "$scratch/failing")" "r-4+seed-0"
like "a run that fails: the table" "$out" "*2 runs in 1 row*note: 1 run has not begun*"
# The second rate is too high: its gradient is not finite.
sweep train.learning_rate=1e-3,1 adapter.lora_alpha=1048576 train.warmup_steps=0 output.dir="$scratch/wild"
is "a run whose gradient is not finite: exit code" "$status" 1
like "a run whose gradient is not finite: is named" "$err" "*run 2 of 2 failed: step *not finite*"
like "a run whose gradient is not finite: the table" "$(tr -s '\n ' ' ' <<<"$out")" \
    "2 runs in 2 rows*0.001 1 *best 1.0 0 of 1 - *note: *learning_rate-1.0+seed-0: failed at step * of 4: *not finite*"

sweep adapter.r=2,4 data.validation=0 data.prepare=false output.dir="$scratch/unmeasured"
is "without validation: exit code" "$status" 0
like "without validation: said before the runs and after" "$err$(tr -s '\n ' ' ' <<<"$out")" \
    "*note: data.validation is 0, so no run is measured*run 1 of 2*2 finished runs have no validation loss*"
ok "data.prepare=false: nothing of the data is kept" [ -z "$(grep 'data      ' <<<"$err" | grep prepared)" ]

# A large run leaves nothing to the small one after it, in the same process.
if [ -w /proc/self/clear_refs ] && ! sanitized; then
    sweep adapter.r=512,2 train.max_steps=1 output.dir="$scratch/peaks"
    peak() { sed -n "s/^  \"memory_$1_bytes\": \([0-9]*\),*/\1/p" "$scratch/peaks/r-2+seed-0/run.json"; }
    ok "a small run after a large one: within its own plan" [ "$(peak peak)" -le "$(peak planned)" ]
else
    skip "a small run after a large one: within its own plan" "the peak cannot be forgotten here"
fi

# ---- stopped, killed, continued ------------------------------------------------------------------

long=('adapter.r=2,4' train.max_steps=60 train.save_steps=5 train.eval_steps=20)
sweep "${long[@]}" output.dir="$scratch/whole"
is "undisturbed: exit code" "$status" 0
start() { # start DIR
    "$LORAC" sweep "$scratch/run.yaml" "${long[@]}" output.dir="$1" >"$scratch/out" 2>"$scratch/err" &
    pid=$!
}
finish() {
    status=0
    wait "$pid" 2>/dev/null || status=$?
    err=$(<"$scratch/err") out=$(<"$scratch/out")
}
at_least() { [ "$(grep -c '"loss"' "$1/metrics.jsonl")" -ge "$2" ]; }
same_as_whole() { # same_as_whole DIR
    local name
    for name in r-2+seed-0 r-4+seed-0; do
        cmp "$scratch/whole/$name/adapter/adapter_model.safetensors" "$1/$name/adapter/adapter_model.safetensors" &&
            diff <(sed 's/, "tokens_per_s.*//' "$scratch/whole/$name/metrics.jsonl") \
                <(sed 's/, "tokens_per_s.*//' "$1/$name/metrics.jsonl") || return 1
    done
}
start "$scratch/killed"
ok "killed: in its second run" await at_least "$scratch/killed/r-4+seed-0" 12
kill -KILL "$pid"
finish
run "$LORAC" sweep --table "$scratch/killed"
like "killed: the table says so" "$out" "*r-4+seed-0: killed at step * of 60*"
sweep "${long[@]}" output.dir="$scratch/killed"
is "killed: the same command goes on" "$status" 0
is "killed: what was finished is skipped" "$(grep -c ': finished before' <<<"$err")" 1
like "killed: the other continues from its checkpoint" "$err" "*going on from $scratch/killed/r-4+seed-0/step-*"
ok "killed: the bits of undisturbed runs" same_as_whole "$scratch/killed"

start "$scratch/stopped"
ok "Ctrl-C: in its first run" await at_least "$scratch/stopped/r-2+seed-0" 3
kill -INT "$pid"
finish
is "Ctrl-C: exit code" "$status" 85
like "Ctrl-C: how to go on" "$err" "*lorac: stopped by interrupt (SIGINT); 0 of 2 runs are finished; to go on: the same command*"
ok "Ctrl-C: the second run was not begun" [ ! -e "$scratch/stopped/r-4+seed-0" ]
is "Ctrl-C: no table" "$out" ""
sweep "${long[@]}" output.dir="$scratch/stopped"
is "Ctrl-C: goes on" "$status" 0
ok "Ctrl-C: the bits of undisturbed runs" same_as_whole "$scratch/stopped"
sweep "${long[@]}" output.dir="$scratch/short" --max-hours 0.0000001
is "--max-hours: exit code" "$status" 85
like "--max-hours: says so" "$err" "*stopped by the time limit; 0 of 2 runs are finished*"

# ---- a job array ---------------------------------------------------------------------------------

task() { # task ID [COUNT]: start it in the background
    SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=${2:-2} SLURM_ARRAY_TASK_STEP=1 \
        XDG_CACHE_HOME=$scratch/cache2 "$LORAC" sweep "$scratch/run.yaml" adapter.r=2,4,8 \
        output.dir="$scratch/array" >"$scratch/out$1" 2>"$scratch/err$1" &
}
task 1
first=$!
task 2
second=$!
status=0
wait "$first" || status=$?
wait "$second" || status=$status$?
is "an array: both tasks end well" "$status" 0
is "an array: together they make all runs" "$(runs_in "$scratch/array")" "r-2+seed-0
r-4+seed-0
r-8+seed-0"
is "an array: each makes its own" "$(grep -h '^run [0-9]' "$scratch/err1" "$scratch/err2" | sort)" \
    "run 1 of 3: $scratch/array/r-2+seed-0
run 2 of 3: $scratch/array/r-4+seed-0
run 3 of 3: $scratch/array/r-8+seed-0"
like "an array: says the share" "$(<"$scratch/err1")" "*task 1 of 2 of this job array makes 2 runs of them*"
is "an array: data are prepared once" "$(cat "$scratch/err1" "$scratch/err2" | grep -c 'prepared once')" 1
is "an array: one file" "$(find "$scratch/cache2" -name '*.h5*' | wc -l)" 1
task 5 9
wait $!
is "an array with more tasks than runs: nothing to do" "$?$(<"$scratch/out5")" 0
like "an array with more tasks than runs: says so" "$(<"$scratch/err5")" "*task 5 of 9 of this job array makes 0 runs of them*"
run env SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=3 "$LORAC" sweep "$scratch/run.yaml" adapter.r=2,4
is "an array that is not a range: exit code" "$status" 2
like "an array that is not a range: what to write" "$err" "*SLURM_ARRAY_TASK_ID 7 is not one of 3 tasks*--array=0-5*"
if command -v flock >/dev/null; then
    mkdir -p "$scratch/cache3/lorac/data"
    flock "$scratch/cache3/lorac/data" sleep 1 &
    sleep 0.3
    XDG_CACHE_HOME=$scratch/cache3 sweep adapter.r=2,4 output.dir="$scratch/waited"
    is "another prepares the data: waits for it" "$status $(grep -c '^waiting   another process prepares data' <<<"$err")" "0 1"
else
    skip "another prepares the data: waits for it" "no flock"
fi

# ---- the table -----------------------------------------------------------------------------------

run "$LORAC" sweep --table "$scratch/grid"
is "table: exit code" "$status" 0
like "table: rows" "$out" "5 runs in 3 rows; base * data *within noise: |difference of the means| < 2 x its standard error*"
is "table: 80 columns where it is piped" "$(grep -v -e --adapter <<<"$out" | awk 'length > 80' | wc -l)" 0
like "table: one seed says nothing of noise" "$out" "*cannot tell*note: one seed does not show whether a difference is noise; --seeds 3*"
cp -r "$scratch/alone" "$scratch/grid/copy"
run "$LORAC" sweep --table "$scratch/grid"
like "table: a run that is there twice counts once" "$(tr -s '\n ' ' ' <<<"$out")" \
    "*/copy and */r-4+seed-1 are the same run with the same seed, which counts once*"
rm -r "$scratch/grid/copy"
run "$LORAC" sweep --table "$scratch/grid" --csv
is "--csv: lines" "$status $(wc -l <<<"$out")" "0 4"
like "--csv: heading" "$out" "adapter.r,runs,finished,eval_loss,*"
is "--csv: every line has as many fields" "$(awk -F, '{ print NF }' <<<"$out" | sort -u)" 12
run "$LORAC" sweep --table "$scratch/grid" --json
like "--json: a row" "$out" '*"keys": {"adapter.r": "2"}*"seeds": 2*"eval_loss": *"runs": *'
if command -v python3 >/dev/null; then
    # The same numbers by Python, from the files of the runs.
    run python3 - "$scratch/grid" <<'END'
import glob, json, statistics, subprocess, os, sys
table = json.loads(subprocess.run([os.environ.get("LORAC", "build/lorac"), "sweep", "--table", sys.argv[1], "--json"],
                                  capture_output=True, text=True, check=True).stdout)
losses = {}
for path in glob.glob(sys.argv[1] + "/*/metrics.jsonl"):
    lines = [json.loads(line) for line in open(path)]
    r = path.split("/r-")[1].split("+")[0]
    losses.setdefault(r, []).append(min(x["eval_loss"] for x in lines if "eval_loss" in x and x["step"]))
for row in table["rows"]:
    x = losses[row["keys"]["adapter.r"]]
    assert row["seeds"] == len(x)
    assert abs(row["eval_loss"] - statistics.mean(x)) < 1e-12, row
    if len(x) > 1:
        assert abs(row["eval_loss_deviation"] - statistics.stdev(x)) < 1e-12, row
    else:
        assert row["eval_loss_deviation"] is None
means = [row["eval_loss"] for row in table["rows"]]
assert means == sorted(means)
END
    report "--json: the means and deviations of Python" "$status" "$err"
else
    skip "--json: the means and deviations of Python" "no python3"
fi
hostile=$scratch/hostile/$(printf 'a\033[31m"\nlorac: forged')
mkdir "$scratch/hostile"
cp -r "$scratch/alone" "$hostile"
sed -i 's/"\(base\|data\)_sha256": "[0-9a-f]\{12\}/"\1_sha256": "\\u001b[31m\\nlorac:/' "$hostile/run.json"
sed -i 's/"status": "finished"/"status": "\\u001b[31mover"/' "$scratch/alone/run.json"
mv "$scratch/alone" "$scratch/hostile"
for form in '' --csv --json; do
    # shellcheck disable=SC2086 # none or one
    run "$LORAC" sweep --table "$scratch/hostile" $form
    is "hostile names${form:+, $form}: exit code" "$status" 0
    ok "hostile names${form:+, $form}: no line is forged" [ -z "$(grep '^lorac' <<<"$out$err")" ]
    is "hostile names${form:+, $form}: no control characters" "$(tr -d '\n\040-\176' <<<"$out$err" | wc -c)" 0
    like "hostile names${form:+, $form}: the unreadable run is named" "$out$err" "*/hostile/alone*unreadable*"
done

sed 's/number 3/number 9/' "$scratch/data.jsonl" >"$scratch/other.jsonl"
run "$LORAC" train "$scratch/run.yaml" data.train="$scratch/other.jsonl" output.dir="$scratch/grid/other"
run "$LORAC" sweep --table "$scratch/grid"
like "runs over other data: said, and none is called the best" "$out" "*note: the runs are over 2 different data sets*"
ok "runs over other data: no best row" [ -z "$(grep -w best: <<<"$out")" ]

# On terminals: a line that is wider than the screen would be folded, and shows as one when joined.
if command -v tmux >/dev/null; then
    socket=$scratch/tmux
    mux() { env -u TMUX tmux -S "$socket" "$@"; }
    mkdir "$scratch/t" && cp -r "$scratch/grid/r-"* "$scratch/t" # a short path
    ln -s "$scratch/t" "/tmp/t$$"
    for width in 40 80 120; do
        mux -f /dev/null new-session -d -x "$width" -y 60 "$LORAC sweep --table /tmp/t$$; echo ended \$?; sleep 60"
        for _ in {1..100}; do mux capture-pane -p | grep -q '^ended' && break; sleep 0.05; done
        # all but the adapter's path, which may be longer
        shown=$(mux capture-pane -p | sed '/--adapter/,$d')
        joined=$(mux capture-pane -pJ | sed 's/ *$//; /--adapter/,$d')
        like "$width columns: the table" "$shown" "5 runs in 3 rows*best: adapter.r [248]"
        is "$width columns: no line is folded" "$joined" "$shown"
        mux kill-server
        sleep 0.1
    done
    mv "$scratch/grid/other" "$scratch/t"
    mux -f /dev/null new-session -d -x 40 -y 90 "$LORAC sweep --table /tmp/t$$; echo ended \$?; sleep 60"
    for _ in {1..100}; do mux capture-pane -p | grep -q '^ended' && break; sleep 0.05; done
    shown=$(mux capture-pane -p)
    like "40 columns, without a best row: the rows" "$shown" "6 runs in 4 rows*4.  *no row is called the best*"
    is "40 columns, without a best row: no dash stands for it" "$(grep -c ', -$' <<<"$shown")" 0
    mux kill-server
    rm "/tmp/t$$"
else
    skip "the table on terminals" "no tmux"
fi

done_testing
