#!/bin/bash
# The progress line on a real terminal is one line, whatever the width, also while the width
# changes.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
if ! command -v tmux >/dev/null; then
    echo "1..0 # SKIP no tmux"
    exit 0
fi
tests/make-model tiny "$scratch/tiny"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: datasets/support-desk.jsonl, template: alpaca, validation: 0.05}
adapter: {r: 4, lora_alpha: 8}
train: {num_epochs: 1000, batch_size: 2, eval_steps: 40}
output: {dir: $scratch/run}
END
socket=$scratch/tmux
tmux() { command tmux -S "$socket" "$@"; }
env -u TMUX bash -c "command tmux -S '$socket' -f /dev/null new-session -d -x 100 -y 40 \
    'OMP_NUM_THREADS=1 XDG_CACHE_HOME=$scratch $LORAC train $scratch/run.yaml; echo ended \$?; sleep 600'"
screen() { tmux capture-pane -p; }
one_line() {
    [ "$(grep -c '^step [0-9]*/' <<<"$shown")" = 1 ] &&
        sed '/^ *$/d' <<<"$shown" | tail -n 1 | grep -q '^step [0-9]*/'
}
until_screen() { for _ in {1..200}; do screen | grep -q "$1" && return 0; sleep 0.1; done; return 1; }

ok "the progress line appears" until_screen '^step [0-9]*/'
for width in 100 79 50 30 12 120; do
    tmux resize-window -x "$width" -y 40
    before=$(screen | sed -n 's/^step \([0-9]*\)\/.*/\1/p' | tail -n 1)
    for _ in {1..50}; do
        after=$(screen | sed -n 's/^step \([0-9]*\)\/.*/\1/p' | tail -n 1)
        [ "${after:-0}" != "${before:-0}" ] && break
        sleep 0.1
    done
    ok "$width columns: it goes on" [ "${after:-0}" != "${before:-0}" ]
    # one picture for all: between two drawings the terminal shows the folded line, or none
    for _ in {1..60}; do shown=$(screen) && one_line && break; sleep 0.1; done
    report "$width columns: one line of progress, and nothing below it" "$(one_line && echo 0)" "$shown"
    is "$width columns: no remains of a folded line" "$(grep -v '^step' <<<"$shown" | grep -c ' left$')" 0
done
ok "notes stay above it" until_screen '^step [0-9]*: validation'
tmux send-keys C-c
ok "Ctrl-C ends it with 85" until_screen 'ended 85'
like "the accounting table" "$(screen)" "*forward*backward*optimiser*data*validation*checkpoints*"
tmux kill-server

# When the terminal vanishes, as with a lost connection, the run continues to its end.
socket=$scratch/tmux2 # the first server may still be ending, and would take a new session with it
steps() { grep -c '"loss"' "$scratch/run3/metrics.jsonl" 2>/dev/null; }
env -u TMUX bash -c "command tmux -S '$socket' -f /dev/null new-session -d -x 100 -y 40 \
    'exec env OMP_NUM_THREADS=1 XDG_CACHE_HOME=$scratch $LORAC train $scratch/run.yaml output.dir=$scratch/run3 train.max_steps=300'"
ok "vanishing terminal: there was one" until_screen '^step [0-9]*/'
tmux kill-server
before=$(steps)
for _ in {1..600}; do [ "$(steps)" = 300 ] && [ -e "$scratch/run3/step-000300.h5" ] && break; sleep 0.1; done
ok "vanishing terminal: the run was not at its end" [ "$before" -lt 300 ]
is "vanishing terminal: it went on to it" "$(steps)" 300
ok "vanishing terminal: the adapter is there" test -s "$scratch/run3/adapter/adapter_model.safetensors"

# Outside a terminal: plain lines without any control character.
run timeout --preserve-status -s INT 3 env OMP_NUM_THREADS=1 XDG_CACHE_HOME="$scratch" "$LORAC" train "$scratch/run.yaml" \
    output.dir="$scratch/run2"
is "in a file: stopped with a checkpoint" "$status" 85
is "in a file: no control characters" "$(tr -d '\n\040-\176' <"$scratch/err" | wc -c)" 0
like "in a file: where each number came from" "$err" \
    "*compute *1 thread (OMP_NUM_THREADS), kernels * (*), products * (*), [A-Z]*"
done_testing
