#!/bin/bash
# The command line itself: help, versions, refusals, exit codes, results that cannot be written.
set -u
cd "$(dirname "$0")/.." || exit 1
ulimit -S -c "$(ulimit -H -c)"
. tests/tap.sh

one_line() { [ "$(wc -l <<<"$err")" = 1 ] && [ -n "$err" ]; }

run "$LORAC" --help
is "--help: exit code" "$status" 0
like "--help: names the program" "$out" "lorac fine-tunes*Usage: lorac COMMAND*"
is "--help: nothing on stderr" "$err" ""
commands=$(sed -n '/^Usage/,/^  lorac/s/^  \([a-z]\{1,\}\) .*/\1/p' <<<"$out" | grep -v lorac)
like "--help: lists commands" "$commands" "*tokenize*"
all=$out
run "$LORAC" help
is "help prints the same as --help" "$out" "$all"

for c in $commands; do
    run "$LORAC" "$c" --help
    is "$c --help: exit code" "$status" 0
    like "$c --help: usage and examples" "$out" "lorac $c: *Usage: lorac $c*Examples:*  lorac $c*"
    is "$c --help: nothing on stderr" "$err" ""
    ok "$c --help: fits 100 columns" [ -z "$(grep -E '.{101}' <<<"$out")" ]
    help=$out
    run "$LORAC" help "$c"
    is "help $c: the same" "$out" "$help"
    run "$LORAC" "$c" --no-such-option
    is "$c --no-such-option: exit code" "$status" 2
    like "$c --no-such-option: message" "$err" "lorac $c: unknown option *"
    ok "$c --no-such-option: one line" one_line
    is "$c --no-such-option: nothing on stdout" "$out" ""
done

run "$LORAC" --version
is "--version: exit code" "$status" 0
like "--version: program and compiler" "$out" "lorac [0-9]*compiler *"
version=$out
for pair in libyaml:libyaml jansson:libjansson PCRE2:libpcre2 utf8proc:libutf8proc OpenSSL:libcrypto HDF5:libhdf5 \
    OpenBLAS:libopenblas libedit:libedit; do
    ldd "$LORAC" 2>/dev/null | grep -q "${pair#*:}" || continue
    like "--version: ${pair%:*}" "$version" "*  ${pair%:*} [0-9]*"
done

run "$LORAC"
is "no command: exit code" "$status" 2
is "no command: nothing on stdout" "$out" ""
like "no command: usage on stderr" "$err" "*Usage: lorac COMMAND*"

run "$LORAC" toknize
is "misspelt command: exit code" "$status" 2
is "misspelt command: message" "$err" 'lorac: unknown command "toknize"; did you mean tokenize?'
run "$LORAC" xyzzy
is "unknown command: message" "$err" "lorac: unknown command \"xyzzy\"; 'lorac --help' lists all"
run "$LORAC" $'\033[31mred\n'
like "unknown command: escaped" "$err" 'lorac: unknown command "\\x1b*'
ok "unknown command: one line" one_line
run "$LORAC" help xyzzy
is "help of an unknown command: exit code" "$status" 2

run "$LORAC" tokenize --modle=x text
is "misspelt option: exit code" "$status" 2
like "misspelt option: nearest" "$err" "lorac tokenize: unknown option --modle; did you mean --model?"
# Other programs' names are answered with ours.
while IFS='|' read -r command pattern; do
    # shellcheck disable=SC2086 # words
    run "$LORAC" $command
    is "$command: exit code" "$status" 2
    like "$command: message" "$err" "$pattern"
    ok "$command: one line" one_line
done <<'END'
finetune run.yaml|lorac: unknown command "finetune": write train
quantize x|lorac: unknown command "quantize": write convert
generate --temp 1|lorac generate: unknown option --temp: write --temperature
generate --max_new_tokens=3|lorac generate: unknown option --max_new_tokens: write --max-new-tokens
generate --lora x|lorac generate: unknown option --lora: write --adapter
train --config run.yaml|lorac train: unknown option --config: name the configuration's file without it
train run.yaml --train.seed=1|lorac train: unknown option --train.seed: keys*write train.seed=VALUE
plan configs/demo.yaml lora_r=8|lorac: override: unknown key "lora_r": write adapter.r
plan configs/demo.yaml train.lr=1|lorac: override: unknown key "train.lr": write train.learning_rate
plan configs/demo.yaml train.learning_rat=1|*did you mean train.learning_rate?
plan configs/demo.yaml adapter.target_modules=all|*found "all", wanted all-linear*did you mean all-linear?
plan configs/demo.yaml adapter.target_modules=[q_prj]|*did you mean q_proj?
plan configs/demo.yaml train.lr_scheduler_type=cosin|*did you mean cosine?
plan configs/demo.yaml adapter.lora_alpha=16.5|*it must be a whole number
plan configs/demo-tiny.yaml data.template=alpca|*did you mean alpaca?*
plan configs/demo-tiny.yaml data.template=auto|*did you mean model?*
check run.yaml|lorac: unknown command "check"; did you mean lorac data check?
prepare run.yaml|lorac: unknown command "prepare"; did you mean lorac data prepare?
chekc run.yaml|lorac: unknown command "chekc"; did you mean lorac data check?
trian run.yaml|lorac: unknown command "trian"; did you mean train?
show run.yaml|lorac: unknown command "show": write data show, or inspect
data chek run.yaml|lorac: found "chek"*did you mean check?
generate --addapter x|lorac generate: unknown option --addapter; did you mean --adapter?
merge --model m --adapter a -o o --dtype float16|lorac merge: --dtype: found "float16"*did you mean f16?
merge --model m --adapter a -o o --dtype BF16|lorac merge: --dtype: found "BF16"*did you mean bf16?
merge --model m --adapter a -o o --format safetensors|*did you mean hf?
convert m -o o --quantize q8|lorac convert: --quantize: found "q8"*did you mean q8_0?
convert m -o o --quantize Q4_0|*did you mean q4_0?
bench --shape 7|lorac bench: --shape: found "7"*did you mean 7b?
bench --parts step|*did you mean steps?
eval --model m --data d --format alpca|*did you mean alpaca?*
eval --model m --data d --format zzzz|*unknown; there are auto tokens segments *
eval --model m --data d --train-on response|*did you mean responses?
train run.yaml --resume atuo|lorac: --resume: found "atuo"*did you mean auto?
plan configs/demo.yaml seed|lorac: found "seed", wanted key=value
END

run "$LORAC" tokenize --model x
is "too few arguments: exit code" "$status" 2
like "too few arguments: message" "$err" "lorac tokenize: needs TEXT|-*"
run "$LORAC" tokenize --model x a b
is "too many arguments: exit code" "$status" 2
like "too many arguments: message" "$err" 'lorac tokenize: "b" is one argument too many*'
run "$LORAC" tokenize text
is "no model: exit code" "$status" 2
run "$LORAC" tokenize --model "$scratch/none" text
is "a model that is not there: exit code" "$status" 1
like "a model that is not there: message" "$err" "lorac: $scratch/none*"
ok "a model that is not there: one line" one_line

run "$LORAC" help keys
is "help keys: exit code" "$status" 0
like "help keys: Markdown of all sections" "$out" "# Configuration*## model*## data*## adapter*## train*"

run env LORAC="$LORAC" scripts/write-docs --check
is "configs/README.md is what help keys prints" "$status$out" 0

# Results that cannot be written are a failure.
run bash -c "'$LORAC' --help >/dev/full"
is "full disk: exit code" "$status" 1
is "full disk: message" "$err" "lorac: cannot write to standard output: No space left on device"
run bash -c "'$LORAC' --help >&-"
is "closed stdout: exit code" "$status" 1
like "closed stdout: message" "$err" "lorac: cannot write to standard output*"
run bash -c "'$LORAC' help keys 2>&1 >&- | cat >/dev/null; exit \${PIPESTATUS[0]}"
is "closed stdout, stderr in a pipe: exit code" "$status" 1
run bash -c "'$LORAC' --help <&- >&- 2>&-"
is "everything closed: exit code" "$status" 1
# A reader that had enough is no failure: silence, and the end that SIGPIPE gives.
while read -r command; do
    run bash -c "(sleep 0.1; exec '$LORAC' $command) | true; exit \${PIPESTATUS[0]}"
    is "$command, a reader that left: as by SIGPIPE" "$status" 141
    is "$command, a reader that left: no message" "$(grep -v '^note: ' <<<"$err")" ""
done <<'END'
help keys
--help
--version
train --help
plan configs/demo-tiny.yaml --json
data show configs/demo-tiny.yaml -n 100
data check configs/demo-tiny.yaml
inspect checkpoints/tiny-base
tokenize --model checkpoints/tiny-base Hello
generate --model checkpoints/tiny-base --prompt Category: --max-new-tokens 2000
END
run bash -c "'$LORAC' help keys | head -n 1; exit \${PIPESTATUS[0]}"
like "help keys | head: silent" "$status:$err" "@(0|141):"

# No core dumps: they would hold the training data. A full pipe keeps the program from ending.
if [ -r "/proc/$$/limits" ]; then
    mkfifo "$scratch/full"
    exec 9<>"$scratch/full"
    head -c 65536 /dev/zero >&9
    "$LORAC" help keys >&9 <&- &
    pid=$!
    for _ in {1..500}; do
        stdin=$(readlink "/proc/$pid/fd/0")
        limit=$(awk '/Max core file size/ { print $5 }' "/proc/$pid/limits")
        case $stdin:$limit in pipe:*:[01]) break ;; esac
        sleep 0.02
    done
    head -c 65536 <&9 >/dev/null
    wait "$pid"
    exec 9>&-
    case $limit in 0 | 1) limit=none ;; esac
    is "a run sets its core dumps to none" "$limit" none
    like "a closed stdin does not become a file" "$stdin" "pipe:*"
fi

done_testing
