#!/bin/bash
# Every script of scripts/ and scripts/hooks/: --help says what it does, a wrong option and wrong
# words are one line and exit code 2, never a traceback. A new script is found by its first line.
# Then what single scripts take: lists with commas and spaces, and files that are not there.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

# They run in a copy without anything else: what a script that overlooks a wrong word would write
# stays there, and a binary is not there for it.
root=$PWD
tree=$scratch/tree
mkdir -p "$tree/tests/fuzz"
cp -r scripts "$tree"
for file in tests/test_*.c tests/fuzz/fuzz_*.c; do : >"$tree/$file"; done
cd "$tree" || exit 1
unset LORAC_SMOLLM2_GGUF
one_line() { [ "$(wc -l <<<"$err")" = 1 ] && [ -n "$err" ]; }
in_python() { [[ $(head -n 1 "$1") == *python3 ]]; }

# call SCRIPT WORD...: a script in Python need not be executable.
call() {
    local script=$1
    shift
    if in_python "$script"; then set -- python3 "$script" "$@"; else set -- "./$script" "$@"; fi
    run timeout 60 env LORAC="$scratch/no-lorac" "$@" </dev/null
}
refuses() { # refuses SCRIPT WHAT WORD...
    local name=${1#scripts/} what=$2
    call "$1" "${@:3}"
    # What is named and is not there is no wrong word.
    if [ "$status" = 1 ] && [[ $err == *"o such file"* || $err == *": not a "* ]]; then status=2; fi
    is "$name, $what: exit code" "$status" 2
    ok "$name, $what: one line" one_line
    is "$name, $what: nothing on stdout" "$out" ""
    like "$name, $what: begins with its name" "$err" "$(basename "$1" .py)*: *"
}

have_python=1
command -v python3 >/dev/null || have_python=''
scripts=()
for script in scripts/* scripts/hooks/*; do
    [ ! -d "$script" ] || continue
    [ "$(head -c 2 "$script")" = '#!' ] || continue
    name=${script#scripts/}
    if [ -z "$have_python" ] && { in_python "$script" || grep -q '^exec python3' "$script"; }; then
        skip "$name" "python3 is not installed"
        continue
    fi
    scripts+=("$name")
    call "$script" --help
    is "$name --help: exit code" "$status" 0
    is "$name --help: nothing on stderr" "$err" ""
    like "$name --help: a sentence about it" "$out" "*[a-z] [a-z]* [a-z]*[.:]*"
    ok "$name --help: fits 100 columns" [ -z "$(LC_ALL=C.UTF-8 grep -E '.{101}' <<<"$out")" ]
    refuses "$script" "an option" --no-such-option
    refuses "$script" "words" $'no-such\n\eword' $'no-such\n\eword' x y z
done
ok "scripts are found: ${#scripts[@]}" [ "${#scripts[@]}" -ge 30 ]

# What has no first line of its own is a library.
for file in scripts/*; do
    case $file in *.md | *.pm | */command-line.sh) continue ;; esac
    [ ! -d "$file" ] || continue
    [ "$(head -c 2 "$file")" != '#!' ] || continue
    is "$file: no interpreter in its first line, so no main" "$(grep -n '__main__' "$file")" ""
done

# ---- what single scripts take --------------------------------------------------------------------
# Each line: the words, and the one line that answers them, as a pattern.
while IFS='|' read -r words pattern; do
    read -ra list <<<"$words"
    [[ " ${scripts[*]} " == *" ${list[0]} "* ]] || continue
    call "scripts/${list[0]}" "${list[@]:1}"
    like "$words: exit code 2 and the message" "$status:$err" "2:$(basename "${list[0]}" .py)*: $pattern*"
    ok "$words: one line" one_line
done <<'END'
lint text,bannd|found "bannd", wanted some of format, layers, *
fuzz gguf,spmm|found "spmm", wanted some of *gguf*spm*
test-aarch64 isa,goldn|found "goldn", wanted some of isa, *golden*
install-deps --for tests|found "tests", wanted test, demo or ci after --for
install-deps --for|found "", wanted test, demo or ci after --for
demo --dir|found "", wanted a directory after --dir
setup-venv --with tlr|found "tlr", wanted trl after --with
setup-venv numpy|found "numpy", wanted --with trl, or an option *
setup-venv --index-url|found "", wanted a value after --index-url
write-docs --chekc|found "--chekc", wanted --check
bench-waiting 0|found "0", wanted as ROUNDS a whole number, 1 or more
bench-waiting nine|found "nine", wanted as ROUNDS a whole number, 1 or more
check-code txt|found "txt", wanted one of banned, length, text
coverage|found too few words, wanted BUILD*
same-bits one|found "one", wanted OLD NEW*
bench-pair sh sh ten|found "ten", wanted as PAIRS a whole number, 1 or more
bench-peft step --variants installed,tund|--variants: found "tund", wanted some of installed, tuned, *; did you mean tuned?
bench-peft stpe|SECTION: found "stpe", wanted some of step, *; did you mean step?
bench-peft --shapes 7b|--shapes: found "7b", wanted some of 135m, 1.1b*
bench-peft --compute f16|--compute: found "f16", wanted some of f32, bf16*
bench-peft --rounds two|--rounds: found "two", wanted a whole number, 1 or more
bench-peft --variant tuned|found "--variant", wanted *; did you mean --variants?
bench-peft --json none/out.json|--json: found "none/out.json", wanted a file in a directory that exists
bench-peft --data none.json|--data: "none.json": no such file or directory
make-malformed.py chekc|check?seeds: found "chekc", wanted one of check, seeds
make-malformed.py check spm,hg|*found "hg", wanted some of *
learning-rates.py tests out --data a=b|--data: found "a=b", wanted NAME=TRAIN,HELD,STEPS
learning-rates.py tests out --data a=b,c,3|--data: "b": no such file or directory
learning-rates.py tests out --data a=tests,tests,3 --rates 1e-3,fast|--rates: found "fast", wanted numbers above 0
bf16-losses.py tests out --data tests --compute f32|--compute: found "f32", wanted two or more*
bf16-losses.py tests out --data tests --compute f32,f16|--compute: found "f16", wanted some of f32, bf16*
bf16-gradients.py gqa-tied,mha|MODEL: found "mha", wanted some of gqa-tied, *
END

lists() { # lists WORD...: lists with commas, spaces or both are read, and then a program is missing
    call scripts/bench-peft "$@"
    like "bench-peft $*" "$status:$err" "1:*no-lorac: not there*"
}
if [ -n "$have_python" ]; then
    lists step,epoch --variants installed,tuned
    lists 'step, epoch' 7b --variants ' installed tuned,bf16' --shapes '135m,1.1b' --compute 'f32 bf16'
    call scripts/bench-pair sh "$scratch/no-lorac"
    is "bench-pair: a program that is missing" "$status:$err" \
        "1:bench-pair: $scratch/no-lorac: not a program that can be run"
    call scripts/make-support-desk.py none
    is "a directory that is missing is one line" "$status:$err" \
        '1:make-support-desk.py: "none/support-desk.jsonl": No such file or directory'
    echo 'import command_line; command_line.no_words("x"); import no_such_module' >x.py
    run env PYTHONPATH=scripts python3 x.py
    like "a Python module that is missing is one line" "$status:$err" \
        "1:x.py: the Python module no_such_module is not installed; scripts/setup-venv *"
fi
run env WHERE=alnoe scripts/bench-waiting
like "bench-waiting: WHERE" "$status:$err" '2:*found "alnoe", wanted as WHERE alone or beside*'
run env FUZZ_SECONDS=1m scripts/fuzz
like "fuzz: FUZZ_SECONDS" "$status:$err" '2:*found "1m", wanted as FUZZ_SECONDS a whole number*'
run scripts/hooks/commit-msg --commit HEAD~nothing
like "commit-msg: a commit that is missing" "$status:$err" '2:*found "HEAD~nothing", wanted a commit*'

cd "$root" || exit 1
run scripts/lint 'layers, path'
is "lint: a list with a comma and a space" "$status:$(cut -d: -f1 <<<"$out" | paste -sd' ')" "0:✓ layers ✓ path"
run scripts/same-bits "$LORAC" "$LORAC" f32,bf61
like "same-bits: a case" "$status:$err" '2:same-bits: found "bf61", wanted some of f32, dropout, *'

# ---- scripts/bf16-losses.py ----------------------------------------------------------------------
if [ -z "$have_python" ]; then
    skip "bf16-losses.py" "python3 is not installed"
    done_testing
    exit
fi
losses=(python3 scripts/bf16-losses.py checkpoints/tiny-base "$scratch/losses"
    --data datasets/support-desk-heldout.jsonl --seeds 1)
export OMP_NUM_THREADS=1 LORAC
run "${losses[@]}" --steps 1 --compute f32,f32 --most 0
is "bf16-losses: the same arithmetic twice: exit code" "$status$err" 0
like "bf16-losses: and no difference" "$out" "| seed | f32-1 | f32-2 | difference |*
| 0 | [0-9]*.[0-9]* | [0-9]*.[0-9]* | +0.000 % |
| mean | | | +0.000 % |"
table=$out
touch -d '2000-01-01' "$scratch/losses/f32-1-seed-0/metrics.jsonl"
run "${losses[@]}" --steps 1 --compute f32,f32 --most 0
is "bf16-losses: a second call prints the same" "$out" "$table"
is "bf16-losses: and trains nothing" "$(date -r "$scratch/losses/f32-1-seed-0/metrics.jsonl" +%Y)" 2000
run "${losses[@]}" --steps 2 --compute f32,f32
like "bf16-losses: runs of other settings are left alone" "$status:$err" \
    "1:bf16-losses.py: *f32-1-seed-0.yaml: holds runs of other settings; name another OUT"
run "${losses[@]}" --steps 1 --compute 'f32 bf16'
if "$LORAC" plan configs/demo-tiny.yaml train.compute=bf16 >/dev/null 2>&1; then
    is "bf16-losses: f32 and bf16: exit code" "$status$err" 0
    like "bf16-losses: f32 and bf16" "$out" "| seed | f32 | bf16 | difference |*| mean | | | [+-]* % |"
else
    like "bf16-losses: a lorac without bf16" "$status:$err" "1:bf16-losses.py: *compute*"
    ok "bf16-losses: a lorac without bf16: one line" one_line
fi
done_testing
