#!/bin/bash
# lorac chat and generate: commands, context, signals. The tiny random model answers with noise, and
# greedy choice repeats it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

tests/make-model tiny "$scratch/tiny"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: datasets/support-desk.jsonl, template: alpaca}
adapter: {r: 4, lora_alpha: 8}
train: {max_steps: 3, batch_size: 2, learning_rate: 0.02, warmup_steps: 0}
output: {dir: $scratch/run}
END
export XDG_CACHE_HOME=$scratch
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
like "/reset: says that it forgot" "$err" "*forgotten*"
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

# What a line that begins with / asks.
chat 'Hello\n' --system 'Be brief.'
brief=$out
chat '/system bad \xff\n/system\n'
like "/system: bytes that are not text" "$err" "*not valid UTF-8*no system text*"
chat '/system Be brief.\n/system\nHello\n/system ""\n/reset\nHello\n'
is "/system: answers as --system does, and as without one" "$out" "$brief"$'\n'"$first"
like "/system: shows it" "$err" "*with the system text*the system text is: Be brief.*without the*"
chat '/again\nHello\n/again\n'
is "/again: at temperature 0 the same answer" "$out" "$first"$'\n'"$first"
like "/again: says so, and that nothing was said before" "$err" "*nothing was said*(at temperature 0 only /adapter and /system change the answer)*"
printf 'Hello\n/save %s\n/again\n/save %s\n' "$scratch/one" "$scratch/two" |
    "$LORAC" chat --model "$scratch/tiny" --template alpaca --max-new-tokens 8 >"$scratch/out" 2>"$scratch/err"
ok "/again: both answers are saved" test -s "$scratch/one" -a -s "$scratch/two"
ok "/again: another answer otherwise" [ "$(cksum <"$scratch/one")" != "$(cksum <"$scratch/two")" ]
is "/again: in place of the first" "$(grep -o '"role": "assistant"' "$scratch/two" | wc -l)" 1
chat '/adapter off\n/adapter\n'
like "/adapter: there is none" "$err" "*there is no adapter*"
chat '/tmp/a and /tmp/b\n /tmp/a\n'
like "a path is no command, and how to say it" "$err" "*unknown command \"/tmp/a\"*a space before / *"
ok "a space before / sends it" [ "$(wc -l <"$scratch/out")" = 1 ]

saved=$scratch/saved.jsonl
content() { python3 -c 'import json, sys; print("|".join(m["content"] for m in json.loads(open(sys.argv[1]).readline())["messages"] if m["role"] in sys.argv[2:]))' "$saved" "$@"; }
chat '/save '"$saved"'\nHello\\\nyou\nAnd?\n/save '"$saved"'\n/save '"$saved"'\n/save -f '"$saved"'\n/save\n' --system 'Be brief.'
like "/save: not before anything was said" "$err" "*nothing was said yet*saved 4 messages*"
like "/save: not over a file, but with -f" "$err" "*not saved: $saved*/save -f*saved 4 messages*"
like "/save: needs a file" "$err" "*not saved: to which file*"
is "/save: what was said" "$(content user)" $'Hello\nyou|And?'
is "/save: the system text" "$(content system)" "Be brief."
is "/save: only the owner reads it" "$(stat -c %a "$saved")" 600
run "$LORAC" data check "$scratch/run.yaml" data.train="$saved"
is "/save: lorac data check reads it" "$status" 0
like "/save: as messages" "$out" "*messages*"
long=$(head -c 10000 /dev/zero | tr '\0' x)
chat "$long\n/save -f $saved\n"
like "a message without room in the context ends a script" "$err" "*the prompt has * tokens, the model's context is*"
is "a message without room in the context: exit code" "$status" 1
head -c 17825792 /dev/zero | tr '\0' x >"$scratch/huge"
printf '\nHello\n' >>"$scratch/huge"
run "$LORAC" chat --model "$scratch/tiny" --template alpaca --temperature 0 --max-new-tokens 8 <"$scratch/huge"
is "a line of 17 MiB is dropped as a whole" "$out" "$first"
like "a line of 17 MiB: is said" "$err" "*nothing is sent: a message has at most 16 MiB*"
rm "$scratch/huge"

run "$LORAC" train "$scratch/run.yaml"
is "an adapter to switch: trained" "$status" 0
chat 'Hello\n' --adapter "$scratch/run/adapter"
adapted=$out
ok "an adapter to switch: answers otherwise" [ "$adapted" != "$first" ]
chat 'Hello\n/adapter off\n/again\n/adapter on\n/again\n/adapter maybe\n' --adapter "$scratch/run/adapter"
is "/adapter off: the base's answer; on: the adapter's" "$out" "$adapted"$'\n'"$first"$'\n'"$adapted"
like "/adapter: says what is on" "$err" "*the adapter is off: the base*the adapter is on*wanted on or off*"

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
    for delay in 0.1 0.2 0.4 0.8 0.15 0.3 0.6 1.2 0.05; do # how soon it begins and ends depends on the machine
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
