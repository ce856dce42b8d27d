#!/bin/bash
# Commands that take long: their line of progress on a terminal and in a file, and their end after
# Ctrl-C, which leaves nothing. Also help on a narrow terminal.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache
case $LORAC in /*) ;; *) LORAC=$PWD/$LORAC ;; esac

tests/make-model few-1b "$scratch/model"
tests/make-model few-135m "$scratch/small" # of which a block takes less than a second
cp datasets/support-desk.jsonl "$scratch/data.jsonl"
for i in 1 2; do echo "{\"prompt\": \"Number $i\", \"completion\": \"n\"}"; done >"$scratch/few.jsonl"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/model}
data: {train: $scratch/few.jsonl, template: plain}
adapter: {r: 1, target_modules: [q_proj]}
train: {max_steps: 1, batch_size: 1, pass_tokens: 64}
output: {dir: $scratch/run}
END
run "$LORAC" train "$scratch/run.yaml"
is "an adapter to merge: exit code" "$status" 0
[ "$status" = 0 ] || echo "# $err"

# ---- signals, in a file --------------------------------------------------------------------------
# A command, the beginning of what it writes (or "": it reads only), and what is left.
nothing="nothing was written"
eval_all=(eval --model "$scratch/model" --data "$scratch/data.jsonl" --template alpaca --format messages)
interrupt() { # interrupt SIGNAL STATUS LEFT COMMAND...
    local signal=$1 wanted=$2 left=$3 before after
    shift 3
    rm -rf "$scratch/out" "$scratch/cache"
    mkdir "$scratch/out"
    before=$(ls -A "$scratch" "$scratch/model")
    # whoever runs the tests may ignore SIGHUP, as nohup does
    env --default-signal=HUP "$LORAC" "$@" >"$scratch/stdout" 2>"$scratch/err" &
    local pid=$!
    if [[ $* == *" $scratch/out"* ]]; then # begun to write
        for _ in {1..600}; do [ -n "$(find "$scratch/out" -name '*.tmp.*')" ] && break; sleep 0.02; done
    else
        sleep 0.7
    fi
    kill "-$signal" $pid
    status=0
    { wait $pid; } 2>/dev/null || status=$?
    err=$(<"$scratch/err")
    is "SIG$signal, $1: exit code" "$status" "$wanted"
    like "SIG$signal, $1: what is left" "$err" "*lorac: stopped by *SIG$signal*: $left"
    is "SIG$signal, $1: nothing is there" "$(ls -A "$scratch/out")" ""
    is "SIG$signal, $1: nothing on stdout" "$(cat "$scratch/stdout")" ""
    after=$(ls -A "$scratch" "$scratch/model")
    is "SIG$signal, $1: nothing beside it" "$(grep -v 'cache\|stdout' <<<"$after")" "$(grep -v 'cache\|stdout' <<<"$before")"
}
touch "$scratch/stdout" "$scratch/err"
interrupt INT 130 "$nothing" convert "$scratch/model" -o "$scratch/out/q.gguf" --quantize q4_0
interrupt TERM 143 "$nothing" convert "$scratch/model" -o "$scratch/out/deep/directory"
interrupt HUP 129 "$nothing" merge --adapter "$scratch/run" -o "$scratch/out/merged.gguf" --dtype f32
interrupt INT 130 "$nothing" merge --adapter "$scratch/run" -o "$scratch/out/merged" --dtype f32 --verify
interrupt INT 130 "$nothing" "${eval_all[@]}"
interrupt INT 130 "not everything was read, nothing was written" inspect "$scratch/model" --verify
short=(eval --model "$scratch/model" --data "$scratch/few.jsonl" --template plain)
(trap '' HUP; exec "$LORAC" "${short[@]}" >"$scratch/stdout" 2>"$scratch/err") &
pid=$!
sleep 0.2
kill -HUP $pid
wait $pid
is "nohup: SIGHUP does not end it" $? 0
like "nohup: it has its result" "$(<"$scratch/stdout")" "loss *"
is "in a file: a short command shows no progress" "$(grep -c evaluating "$scratch/err")" 0

# ---- a terminal ----------------------------------------------------------------------------------
if ! command -v tmux >/dev/null; then
    skip "the line of progress" "no tmux"
    done_testing
    exit 0
fi
cd "$scratch" || exit 1
n=0
terminal() { # terminal WIDTH COMMAND...: in a terminal of its own, in the scratch directory
    local width=$1
    shift
    n=$((n + 1))
    socket=$scratch/tmux$n
    env -u TMUX bash -c "command tmux -S '$socket' -f /dev/null new-session -d -x $width -y 40 \
        'trap : INT; cd $scratch; OMP_NUM_THREADS=1 XDG_CACHE_HOME=$scratch/cache $LORAC $*; echo ended \$?; sleep 600'"
}
tmux() { command tmux -S "$socket" "$@"; }
screen() { tmux capture-pane -p; }
until_screen() { for _ in {1..300}; do screen | grep -q "$1" && return 0; sleep 0.1; done; return 1; }
close_terminal() { tmux kill-server; rm -rf out; mkdir out; }

for width in 40 80 120; do
    terminal $width convert model -o out/o.gguf --quantize q4_1
    ok "$width columns: the line appears" until_screen '^writing out/o.gguf: [0-9]* %, '
    first=$(screen | sed -n 's/^writing .*: \([0-9]*\) %.*/\1/p')
    for _ in {1..50}; do
        shown=$(screen)
        now=$(sed -n 's/^writing .*: \([0-9]*\) %.*/\1/p' <<<"$shown")
        [ "${now:-$first}" != "$first" ] && break
        sleep 0.1
    done
    ok "$width columns: it goes on" [ "${now:-0}" -gt "${first:-100}" ]
    is "$width columns: it is one line" "$(grep -c . <<<"$shown")" 1
    tmux send-keys C-c
    ok "$width columns: Ctrl-C ends it" until_screen '^ended 130'
    shown=$(screen | tr -d ' \n') # the terminal folds the message anywhere
    like "$width columns: says that nothing is left" "$shown" \
        "*stopping;oncemoretoquitatoncelorac:stoppedbyinterrupt(SIGINT):nothingwaswrittenended130"
    is "$width columns: and nothing is" "$(ls out)" ""
    close_terminal
done
terminal 80 eval --model small --data data.jsonl --template alpaca --format messages
ok "eval: the line appears" until_screen '^evaluating the model: [0-9]* %, '
tmux send-keys C-c
ok "eval: Ctrl-C ends it" until_screen '^ended 130'
ok "eval: nothing is left" until_screen 'nothing was written'
close_terminal
terminal 80 convert model -o out/o.gguf --quantize q4_0
ok "to its end: exit code" until_screen '^ended 0'
is "to its end: no line of progress is left" "$(screen | grep -c '^writing')" 0
ok "to its end: it is there" [ -s out/o.gguf ]
close_terminal
terminal 40 eval --adapter run --data few.jsonl
ok "40 columns: eval's table" until_screen '^ended 0'
like "40 columns: eval's table fits" "$(screen)" "*
 *base *adapter *diff.*
loss *
perplexity *
token accuracy *
exact match *
targets *"
close_terminal

# ---- help on a narrow terminal -------------------------------------------------------------------
for command in "" train data eval convert; do
    terminal 40 $command --help
    until_screen '^ended 0'
    # -J joins what the terminal folded; the examples are commands and stay on their lines
    folded=$(tmux capture-pane -p -J -S -200 | sed '/^Examples:/,$d' | sed 's/ *$//' | grep -c '^.\{41,\}')
    is "40 columns: $command --help is wrapped at words" "$folded" 0
    close_terminal
done
done_testing
