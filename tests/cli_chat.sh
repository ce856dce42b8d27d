#!/bin/bash
# lorac chat and generate: commands, context, signals. The tiny random model answers with noise, and
# greedy choice repeats it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

tests/make-model tiny "$scratch/tiny"
chat() { # chat INPUT OPTION...
    printf '%b' "$1" >"$scratch/in"
    shift
    run "$LORAC" chat --model "$scratch/tiny" --template alpaca --temperature 0 --max-new-tokens 8 "$@" <"$scratch/in"
}

chat 'Hello\n'
is "one question: exit code" "$status" 0
first=$out
ok "one question: an answer" [ -n "$first" ]
run "$LORAC" generate --model "$scratch/tiny" --template alpaca --max-new-tokens 8 --prompt Hello
is "the answer is that of generate" "$out" "$first"
chat 'Hello\n/reset\nHello\n/quit\nHello\n'
is "/reset: the same question, the same answer; nothing after /quit" "$out" "$first"$'\n'"$first"
like "/reset: says that it forgot" "$err" "*(forgotten)*"
chat 'Hello\nHello\n'
ok "earlier turns count" [ "$out" != "$first"$'\n'"$first" ]
chat '/hlep\n'
like "a misspelt command" "$err" '*unknown command "/hlep"; did you mean /help*'
chat '/help\n'
like "/help: lists the commands" "$err" "*/reset*/quit*Ctrl-C*"
chat '\n\n'
is "empty lines: no answers" "$out" ""
chat 'bad \xff\n'
like "bytes that are not text" "$err" "*not valid UTF-8*"
long=$(printf 'word %.0s' {1..150})
chat "$long\n$long\n$long\n$long\n"
is "a context that is full: exit code" "$status" 0
like "a context that is full: the oldest goes" "$err" "*forgot the oldest*"
run bash -c "yes Hello | head -c 100000 | '$LORAC' chat --model '$scratch/tiny' --template alpaca --max-new-tokens 2 >/dev/full"
is "a full disk ends it: exit code" "$status" 1

# A model's words cannot command the terminal.
noise=("$LORAC" generate --model "$scratch/tiny" --template alpaca --temperature 5 --max-new-tokens 400 --prompt Hello)
controls() { LC_ALL=C tr -d '\n\r\t' | LC_ALL=C tr -cd '\000-\037\177' | wc -c; }
ok "a pipe gets control characters as they are" [ "$("${noise[@]}" | controls)" != 0 ]
if command -v script >/dev/null; then
    is "a terminal gets none" "$(script -qec "${noise[*]}" /dev/null </dev/null | controls)" 0
else
    skip "a terminal gets no control characters" "no script(1)"
fi

if command -v tmux >/dev/null; then
    socket=$scratch/tmux
    # A long answer, stopped; then the end.
    env -u TMUX tmux -S "$socket" new-session -d -x 80 -y 24 \
        "OMP_NUM_THREADS=1 '$LORAC' chat --model '$scratch/tiny' --template alpaca --temperature 5 --max-new-tokens 1900; echo ended \$?; sleep 60"
    screen() { tmux -S "$socket" capture-pane -p; }
    until_screen() { for _ in {1..100}; do screen | grep -q "$1" && return 0; sleep 0.1; done; return 1; }
    ok "on a terminal: a prompt" until_screen '^>'
    tmux -S "$socket" send-keys C-c
    ok "Ctrl-C at the prompt: says how to end" until_screen '/quit or Ctrl-D'
    # Ctrl-S holds the terminal: the answer waits in a write when Ctrl-C, which lets it go, comes.
    for delay in 0.1 0.2 0.4 0.8; do # how soon it begins and ends depends on the machine
        tmux -S "$socket" send-keys Hello Enter
        sleep "$delay"
        tmux -S "$socket" send-keys C-s
        sleep 0.2
        tmux -S "$socket" send-keys C-c
        sleep 0.5
        screen | grep -q '(stopped)' && break
    done
    ok "Ctrl-C in an answer: stops it" until_screen '(stopped)'
    tmux -S "$socket" send-keys C-d
    ok "Ctrl-D: ends with success" until_screen 'ended 0'
    tmux -S "$socket" kill-server
else
    skip "Ctrl-C on a terminal" "no tmux"
fi
done_testing
