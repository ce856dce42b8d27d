#!/bin/bash
# What a run shows on terminals of 40, 80 and 120 columns and in a file: lines that fit, progress
# within a long step and a long evaluation; what plan says of time and disk; dropped records.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1

tests/make-model tiny "$scratch/tiny"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: datasets/support-desk.jsonl, template: alpaca, validation: 0.05}
adapter: {r: 4, lora_alpha: 8}
train: {max_steps: 4, batch_size: 2, eval_steps: 2}
output: {dir: $scratch/run}
END

# ---- records that are dropped --------------------------------------------------------------------

for i in {1..9}; do
    printf '{"prompt": "Category: %s", "completion": " %s"}\n' "$i" \
        "$([ "$i" -lt 8 ] && printf 'a long answer that does not fit %.0s' 1 2 3 4 5 6)"
done >"$scratch/long.jsonl"
overlong=(data.validation=0 data.template=plain data.max_length=40)
alarm="warning: train: 7 of 9 records (77 %) are dropped, and only the rest is used; 7 longer than data.max_length = 40 (the longest has * tokens: raise it, or set data.overlong to truncate or split)*"
run "$LORAC" plan "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/long.jsonl"
like "plan: most records dropped is an alarm" "$err" "$alarm"
run "$LORAC" plan "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/long.jsonl" --json
like "plan --json: the same" "$out" "*\"notes\": [\"${alarm%% (*}*"
run "$LORAC" data check "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/long.jsonl"
like "data check: the same" "$err" "*$alarm"
run "$LORAC" data prepare "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/long.jsonl"
like "data prepare: the same" "$err" "*$alarm"
run "$LORAC" train "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/long.jsonl" output.dir="$scratch/dropped"
like "train: the same, from the prepared data" "$err" "*$alarm"
sed -n '1,2p;8,9p' "$scratch/long.jsonl" >"$scratch/half.jsonl"
run "$LORAC" plan "$scratch/run.yaml" "${overlong[@]}" data.train="$scratch/half.jsonl"
like "half of them: a note" "$err" "*note: train: 2 longer than data.max_length*"
is "half of them: no alarm" "$(grep -c '^warning' <<<"$err")" 0
printf '{"prompt": 1\n%.0s' 1 2 3 >"$scratch/bad.jsonl"
head -n 1 datasets/sample-prompt_completion.jsonl >>"$scratch/bad.jsonl"
run "$LORAC" plan "$scratch/run.yaml" data.train="$scratch/bad.jsonl" data.validation=0 data.on_error=skip \
    data.max_skipped_frac=1 data.format=prompt_completion
like "malformed records count" "$err" "*warning: train: 3 of 4 records (75 %) are dropped*; 3 malformed, the first: *"

# ---- steps, time and disk in plan ----------------------------------------------------------------

run "$LORAC" plan "$scratch/run.yaml" train.max_steps=null train.num_epochs=1 train.batch_size=64
like "few steps: said with the batch that makes them" "$err" \
    "*note: 256 examples in batches of 64 are 4 optimiser steps in all (train.num_epochs: 1), which is little to learn from: a smaller batch_size or more num_epochs make more*"
run "$LORAC" plan "$scratch/run.yaml"
like "plan: the time of the evaluations" "$out" "*time  *in all*, * for 3 measurements of the validation loss*"
like "plan: the disk" "$out" \
    "*disk       * at most in $scratch/run, where * are free: 2 checkpoints of *, 3 adapters of *"
run "$LORAC" plan "$scratch/run.yaml" train.eval_on_start=false train.eval_steps=3 --json
like "plan --json: evaluations" "$out" '*"evaluations": 2, "seconds_per_evaluation": *, "seconds": *"disk_bytes": *"disk_free_bytes": *'
run "$LORAC" plan "$scratch/run.yaml" data.validation=0
is "plan: no evaluations" "$(grep -c 'validation loss' <<<"$out")" 0
run "$LORAC" plan "$scratch/run.yaml" data.prepare=true
like "plan: the prepared data" "$out" "*and the prepared data set of * which is there already: $scratch/cache/*"
run "$LORAC" plan "$scratch/run.yaml" train.early_stopping_patience=2 data.validation=0
is "plan: early stopping without validation is refused" "$status" 2
if [ "$(id -u)" = 0 ] && mkdir "$scratch/small" && mount -t tmpfs -o size=640k tmpfs "$scratch/small" 2>/dev/null; then
    trap 'umount "$scratch/small"; rm -rf "$scratch"' EXIT
    run "$LORAC" plan "$scratch/run.yaml" output.dir="$scratch/small/run"
    is "plan: a disk that is too small: exit code" "$status" 0
    like "plan: a disk that is too small: a warning" "$err" \
        "*warning: output.dir $scratch/small/run: the run writes * are free there; free some, *"
else
    skip "plan: a disk that is too small" "needs root and a tmpfs"
fi

# ---- terminals -----------------------------------------------------------------------------------

run "$LORAC" train "$scratch/run.yaml"
is "in a file: the run ends" "$status" 0
is "in a file: one line for each part of the header" \
    "$(grep -cE '^(lorac|compute|model|adapter|data|memory|training|written|next|speed|tokens)  ? *[^ ]' <<<"$err")" 11
is "in a file: no line begins in the middle" "$(grep -cE '^ +[^ ]' <<<"$err")" \
    "$(grep -cE '^  [a-z].* %$|^          (metrics.jsonl|lorac merge)' <<<"$err")"

if ! command -v tmux >/dev/null; then
    skip "terminals" "no tmux"
    done_testing
    exit 0
fi
socket=
tmux() { command tmux -S "$socket" "$@"; }
show() { # show WIDTH COMMAND: in a terminal of that width, with a server of its own
    socket=$scratch/tmux-$((tests))
    env -u TMUX bash -c "command tmux -S '$socket' -f /dev/null new-session -d -x $1 -y 70 '$2; echo ended \$?; sleep 600'"
}
screen() { tmux capture-pane -p "$@"; }
until_screen() { for _ in {1..600}; do screen | grep -q "$1" && return 0; sleep 0.1; done; return 1; }
long() { # long WIDTH: lines that the terminal folded, without commands and what is one long word
    screen -J | sed 's/ *$//' | awk -v w="$1" 'length($0) > (w < 80 ? w : 80) - 1' |
        grep -vE '^(next  |) +lorac |[^ ]{30}'
}

for width in 40 80 120; do
    show "$width" "$LORAC train $scratch/run.yaml output.dir=$scratch/run-$width train.num_epochs=0.01 train.max_steps=null"
    ok "$width columns: the run ends" until_screen 'ended 0'
    is "$width columns: lines fit" "$(long "$width")" ""
    like "$width columns: the loss before the first step" "$(screen)" "*before training: validation loss*"
    like "$width columns: lines hang under their texts" "$(screen)" \
        $'*\nmemory    *\n          *\ntraining  *'
    ok "$width columns: notes hang under theirs" grep -q '^      [^ ]' <<<"$(screen | grep -A1 '^note: ')"
    tmux kill-server
    show "$width" "$LORAC plan $scratch/run.yaml"
    ok "$width columns: plan ends" until_screen 'ended 0'
    is "$width columns: lines of plan fit" "$(long "$width")" ""
    tmux kill-server
done

# a step and an evaluation of some seconds each, also on a fast machine
tests/make-model few-135m "$scratch/slow" || exit 1
awk 'BEGIN { srand(1); for (e = 0; e < 24; e++) {
    ids = ""; for (i = 0; i < 64; i++) ids = ids (i ? "," : "") int(rand() * 49152)
    printf "{\"input_ids\": [%s], \"labels\": [%s]}\n", ids, ids } }' >"$scratch/tokens.jsonl"
cat >"$scratch/slow.yaml" <<END
model: {path: $scratch/slow}
data: {train: $scratch/tokens.jsonl, format: tokens, validation: 0.6667}
adapter: {r: 4, target_modules: [q_proj, v_proj]}
train: {max_steps: 2, batch_size: 8, pass_tokens: 64}
output: {dir: $scratch/run-slow}
END
export LORAC_ISA=base
show 80 "$LORAC train $scratch/slow.yaml"
ok "a long evaluation moves" until_screen '^before training: validation, example [0-9]*/16'
ok "a long step moves by pass" until_screen '^step 1/2 pass [0-9]*/8'
before=$(screen | sed -n 's/^step 1\/2 pass \([0-9]*\).*/\1/p')
tmux resize-window -x 40 -y 70
for _ in {1..50}; do
    after=$(screen | sed -n 's/^step 1\/2 pass \([0-9]*\).*/\1/p')
    [ "${after:-0}" -gt "${before:-0}" ] && break
    sleep 0.1
done
ok "40 columns: the passes go on" [ "${after:-0}" -gt "${before:-0}" ]
is "40 columns: one line of progress" "$(screen | grep -c '^step [0-9]*/2')" 1
tmux resize-window -x 120 -y 70
ok "120 columns: with what is known of the steps before" until_screen '^step 2/2 pass [0-9]*/8  epoch .*  loss .* left'
tmux send-keys C-c
ok "Ctrl-C within a step ends it" until_screen 'ended 85'
is "the last whole step stays on the screen" "$(screen | grep -c '^step 1/2  epoch')" 1
tmux kill-server
run timeout --preserve-status -s INT 5 "$LORAC" train "$scratch/slow.yaml" output.dir="$scratch/run-plain"
is "in a file: no line for a pass" "$(grep -c ' pass [0-9]*/' <<<"$err")" 0
done_testing
