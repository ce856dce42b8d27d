#!/bin/bash
# lorac chat on a terminal: keys are sent with tmux, and the screen is read. What arrived is read
# from what /save wrote.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
if ! command -v tmux >/dev/null; then
    echo "1..0 # SKIP no tmux"
    exit 0
fi
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
case $LORAC in /*) ;; *) LORAC=$PWD/$LORAC ;; esac
tests/make-model tiny "$scratch/tiny"
socket='' servers=0
tmux() { command tmux -u -S "$socket" "$@"; }
keys() { tmux send-keys "$@"; }
# The screen without the spaces at its ends, and its last line.
screen() { tmux capture-pane -p; }
last() { screen | sed '/^ *$/d' | tail -n 1; }
until_screen() { for _ in {1..400}; do screen | grep -q -- "$1" && return 0; sleep 0.05; done; return 1; }
until_last() { for _ in {1..400}; do [ "$(last)" = "$1" ] && return 0; sleep 0.05; done; return 1; }
shown() { # shown NAME LINE: the last line becomes this
    if until_last "$2"; then report "$1" 0 ""; else report "$1" 1 "found:  $(last)
wanted: $2"; fi
}
# start WIDTH COMMAND [PATTERN]: COMMAND, in which CHAT is replaced, on a new terminal
CHAT="env LC_ALL=C.UTF-8 NO_COLOR=1 '$LORAC' chat --model '$scratch/tiny' --template alpaca"
SHORT='--temperature 0 --max-new-tokens 3' LONG='--temperature 0 --max-new-tokens 3500'
! sanitized || LONG=${LONG/3500/900}
start() {
    socket=$scratch/tmux$((servers += 1)) # a server that ends would take a new session with it
    (unset TMUX && export LC_ALL=C.UTF-8 && command tmux -u -S "$socket" -f /dev/null new-session -d \
        -x "$1" -y 24 "${2//CHAT/$CHAT}; echo ended \$?; sleep 600")
    until_screen "${3:-^>}" || report "$1 columns: a prompt" 1 "$(screen)"
}
finish() { tmux kill-server; }
chat_pid() { pgrep -f "^$LORAC chat --model $scratch/tiny"; }
saved=$scratch/saved.jsonl
# What the user said, as the file that /save writes has it: message N, from 0.
save() {
    rm -f "$saved"
    keys "/save $saved" Enter
    for _ in {1..100}; do [ -s "$saved" ] && return 0; sleep 0.05; done
    return 1
}
said() { # said N [ROLE]
    python3 -c 'import json, sys
said = [m["content"] for m in json.loads(open(sys.argv[1]).readline())["messages"] if m["role"] == sys.argv[3]]
sys.stdout.write(said[int(sys.argv[2])])' "$saved" "$1" "${2:-user}"
}
prompts() { screen | grep -c '^>'; }
paste() { # paste FILE OPTION...: as a terminal does it, with marks if -p is given and asked for
    tmux load-buffer -b text "$1"
    tmux paste-buffer -b text -d "${@:2}"
}
seq -f 'line %g of a mail' 12 >"$scratch/mail"
printf '%s' "$(seq -s ' ' 1 350)" >"$scratch/half" # more than half of the context
printf '%s' "$(head -c 9000 /dev/zero | tr '\0' 'y')" >"$scratch/long"

if ! "$LORAC" --version | grep -q 'libedit [0-9]'; then
    skip "editing" "built without libedit"
    done_testing
    exit 0
fi
for width in 40 80 120; do
    start "$width" "CHAT $SHORT"
    keys bcd Home a End e
    shown "$width columns: Home and End" "> abcde"
    keys Left Left BSpace
    shown "$width columns: arrows and Backspace" "> abde"
    keys Home DC Right C-k X
    shown "$width columns: Delete, and Ctrl-K to the end" "> bX"
    keys C-u "grüße 世界!" Left Left BSpace
    shown "$width columns: over a wide character, and one deleted" "> grüße 界!"
    keys Home Right Right Right DC End "…"
    shown "$width columns: over letters of two bytes, and one deleted" "> grüe 界!…"
    keys Enter
    until_screen '^> *$'
    keys "second one" Enter
    for _ in {1..100}; do [ "$(prompts)" -ge 3 ] && break; sleep 0.05; done
    keys Up Up
    shown "$width columns: history, up" "> grüe 界!…"
    keys Down
    shown "$width columns: history, down" "> second one"
    # a line of three rows, with the cursor moved through it
    keys C-u
    keys -l "$(printf 'word%.0s ' $(seq $((width / 2))))"
    keys Home "first " End "last" Enter
    until_screen '^> *$'
    paste "$scratch/mail" -p
    shown "$width columns: a paste of 12 lines is shown as that" "> [12 lines]"
    keys Left Left
    keys End " thanks"
    shown "$width columns: and edited like text" "> [12 lines] thanks"
    keys Enter
    until_screen '^> *$'
    keys Up
    shown "$width columns: the history has the label" "> [12 lines] thanks"
    keys " again" Enter
    save
    is "$width columns: what was edited is what is said" "$(said 0)|$(said 1)" "grüe 界!…|second one"
    is "$width columns: a line of many rows" "$(said 2)" \
        "first $(printf 'word%.0s ' $(seq $((width / 2))))last"
    is "$width columns: the paste is one message, with its line breaks" "$(said 3)" \
        "$(cat "$scratch/mail")"$'\n'" thanks"
    is "$width columns: the label from the history is the paste" "$(said 4)" "$(said 3) again"
    keys C-d
    ok "$width columns: Ctrl-D ends it" until_screen 'ended 0'
    finish
done

# ---- long lines and pastes -----------------------------------------------------------------------
start 80 "CHAT $SHORT"
paste "$scratch/long" -p
shown "a paste of 9,000 bytes without a line break is a label" "> [9000 bytes]"
keys BSpace
shown "Backspace deletes the label" ">"
paste "$scratch/mail" -p
keys Left x Enter
ok "a label that was changed: is said" until_screen 'paste .12 lines. is not in the message'
until_last '>'
printf 'one short line\n' | tr -d '\n' >"$scratch/short"
paste "$scratch/short" -p
shown "a short paste is shown as it is" "> one short line"
keys C-u
# the context has no room for such lines: each is refused, and the chat goes on
keys /system Space
paste "$scratch/long" -p
keys Enter
ok "a system text without room is refused" until_screen 'the system text has'
paste "$scratch/long" -p
keys Enter
ok "a message without room is refused, and the chat goes on" until_screen '(not answered: the prompt'
head -c 17825792 /dev/zero | tr '\0' 'z' >"$scratch/huge"
printf '\nHello\nHello\n' >>"$scratch/huge"
paste "$scratch/huge" -p
ok "a paste of 17 MiB is refused as a whole" until_screen 'nothing is sent'
rm "$scratch/huge"
sleep 0.5
shown "a paste of 17 MiB: nothing of it is left" ">"
keys after Enter
until_screen '^> after'
save
is "after what was refused" "$(said 1)" "after"
keys C-d
until_screen 'ended 0'
finish
# Where /again finds no room for an answer, the one that is there stays. Alone, each text has room.
start 80 "CHAT $SHORT"
paste "$scratch/half" -p
keys Enter
until_screen '^> *$'
save
before=$(said 0 assistant)
keys "/system "
paste "$scratch/half" -p
keys Enter
until_screen 'with the system text'
keys /again Enter
ok "/again without room: says so" until_screen "not answered: the prompt has .* the model's context is 2048"
save
is "/again without room: the message is still there" "$(said 0)" "$(cat "$scratch/half")"
is "/again without room: and its answer" "$(said 0 assistant)" "$before"
finish

# With a context that has room for it, a line of 10,000 bytes arrives as a whole.
sed -i 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 32768/' "$scratch/tiny/config.json"
# It is a system text here, since the answer to a long message takes long.
seq -s ' ' 1 2500 | head -c 10000 >"$scratch/long"
start 80 "CHAT $SHORT"
keys Hello Enter
until_last '>'
for how in typed pasted; do
    keys /system Space
    if [ $how = typed ]; then paste "$scratch/long"; else paste "$scratch/long" -p; fi
    keys Enter
    until_last '>'
    save
    is "a line of 10,000 bytes, $how" "$(said 0 system | cksum)" "$(cksum <"$scratch/long")"
done
finish

# ---- during an answer; signals -------------------------------------------------------------------
start 80 "CHAT $LONG"
keys unwanted C-c
ok "Ctrl-C while typing: says how to end" until_screen '/quit or Ctrl-D'
shown "Ctrl-C while typing: the line is dropped" ">"
keys Hello Enter
keys "typed meanwhile"
sleep 0.3
is "what is typed during an answer is not shown in it" "$(screen | grep -c meanwhile)" 0
for _ in {1..600}; do [ "$(last)" = "> typed meanwhile" ] && break; sleep 0.1; done
shown "what was typed during an answer is at the next prompt" "> typed meanwhile"
keys C-u C-d
ok "and the end" until_screen 'ended 0'
finish

# Ctrl-Z gives the terminal back, and fg takes it again.
start 80 "bash --norc --noprofile -i" '^bash'
keys "PS1='$ '; clear" Enter
modes() { # what stty says about the modes that an editor changes
    keys "stty -a | grep -o -- '-*icanon\\|-*echo\\|-*icrnl' | tr '\\n' ' '; echo $1" Enter
    until_screen "^.*icrnl.* $1\$" && screen | grep " $1\$" | tail -n 1 | sed "s/ $1\$//"
}
before=$(modes first)
keys "$CHAT $SHORT" Enter
until_screen '^>'
keys half
until_last '> half'
keys C-z
ok "Ctrl-Z stops it" until_screen 'Stopped'
is "Ctrl-Z: the terminal is as before" "$(modes second)" "$before"
keys fg Enter
shown "fg: the line is still there" "> half"
keys " done"
shown "fg: and goes on" "> half done"
keys C-u
kill "$(chat_pid)"
ok "kill ends it" until_screen 'Terminated'
keys exit Enter
finish
# After a kill the terminal is as before, without a shell that sets it, and marks no pastes: cat would
# show the marks.
start 80 "stty -a >$scratch/before; CHAT $SHORT; stty -a >$scratch/after; cat -v"
kill "$(chat_pid)"
ok "kill: says so" until_screen 'Terminated'
paste "$scratch/short" -p
ok "kill: pastes are not marked any more" until_screen '^one short line'
is "kill: the terminal is as before" "$(cat "$scratch/after")" "$(cat "$scratch/before")"
finish

# ---- without UTF-8, and without an editor --------------------------------------------------------
CHAT=${CHAT/C.UTF-8/POSIX}
start 80 "CHAT $SHORT"
keys "grüße 世界!" Left BSpace
shown "in the POSIX locale, too" "> grüße 世!"
keys Enter
until_screen '^> *$'
save
is "in the POSIX locale: what is said" "$(said 0)" "grüße 世!"
finish
start 80 "TERM=dumb CHAT $LONG"
ok "TERM=dumb: says what is missing" until_screen 'note: .*no line editing'
keys -l "$(seq -s ' ' 1 2500 | head -c 10000)"
keys Enter
ok "TERM=dumb: the terminal's cut is not sent" until_screen 'cuts lines at 4095 bytes'
keys short Enter
sleep 0.3 # until it has been read: before that the terminal shows what is typed
keys meanwhile
ok "TERM=dumb: what is typed during an answer is dropped with a word" until_screen 'typed during the answer is dropped'
is "TERM=dumb: and not shown" "$(screen | grep -c meanwhile)" 0
keys C-d
ok "TERM=dumb: the end" until_screen 'ended 0'
finish
done_testing
