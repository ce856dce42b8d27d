#!/bin/bash
# Other trainers' training files: lorac plan answers all their keys at once, lorac convert translates
# them, and what it writes passes lorac plan.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

here=(model.path=checkpoints/tiny-base model.tokenizer=null data.train=datasets/support-desk.jsonl
    data.format=auto data.columns=null data.template=vicuna_v1.1 data.max_length=512 data.validation=0.1)

for theirs in tests/trainers/*.y*ml; do
    name=${theirs##*/} ours=$scratch/${theirs##*/}.yaml
    run "$LORAC" plan "$theirs"
    is "$name: plan refuses it as a configuration" "$status" 2
    ok "$name: with a line for each key" [ "$(grep -c "^lorac: $theirs:[0-9]" <<<"$err")" -gt 20 ]
    like "$name: the last line names the command that helps" "${err##*$'\n'}" \
        "lorac: $theirs: * errors; it is written for *: lorac convert $theirs -o OURS.yaml translates it"
    is "$name: the lines are in the order of the file" \
        "$(grep -o "^lorac: $theirs:[0-9]*:" <<<"$err" | sort -t: -k3 -n -s)" \
        "$(grep -o "^lorac: $theirs:[0-9]*:" <<<"$err")"
    is "$name: and no line is longer than a message" "$(grep -c '.\{1300\}' <<<"$err")" 0
    run "$LORAC" convert "$theirs" -o "$ours"
    is "$name: convert translates it" "$status" 0
    like "$name: and says what it left out" "$err" "*note: $theirs:*: left out: *"
    like "$name: and what comes next" "$err" "*written   $ours (from a file of *left out)*lorac plan $ours*"
    run "$LORAC" plan "$ours" "${here[@]}" "output.dir=$scratch/run-$name"
    is "$name: the translation passes plan with paths that exist" "$status" 0
done

ours=$scratch/axolotl.yml.yaml
run "$LORAC" convert tests/trainers/axolotl.yml -o "$ours"
is "an existing file stays" "$status" 1
like "an existing file stays: message" "$err" "lorac: $ours: *choose another name"
run "$LORAC" convert "$ours" -o "$scratch/again.yaml"
is "a configuration of lorac is not translated" "$status" 2
like "a configuration of lorac is not translated: message" "$err" "lorac: $ours: is a configuration of lorac already"
ok "a refused translation leaves no file" [ ! -e "$scratch/again.yaml" ]

run "$LORAC" convert tests/trainers/axolotl.yml -o "$scratch/x.gguf"
is "the result is a .yaml" "$status" 2
run "$LORAC" convert tests/trainers/axolotl.yml -o "$scratch/x.yaml" --quantize q8_0
is "options of models are refused" "$status" 2
like "options of models are refused: message" "$err" "*--quantize: is for models and adapters; tests/trainers/axolotl.yml is a*"
run "$LORAC" inspect tests/trainers/trl.yaml
like "inspect says whose file it is" "$out" "*TRL*lorac convert*"

# ---- all errors at once --------------------------------------------------------------------------

printf 'model:\n  pth: m\ndata:\n  train: d\n  format: text\n  columns: {prompt: a}\n  trian: 1\ntrain:\n  seed: x\n' \
    >"$scratch/wrong.yaml"
run "$LORAC" train "$scratch/wrong.yaml" adapter.r=0 sed=3 adapter.r=1
is "wrong.yaml: exit code" "$status" 2
is "wrong.yaml: file, overrides, what is missing, each in its order" "${err//"$scratch/"/}" \
    'lorac: wrong.yaml:2: unknown key "model.pth"; did you mean model.path?
lorac: wrong.yaml:6: data.columns: found with data.format text, wanted prompt_completion or auto
lorac: wrong.yaml:7: unknown key "data.trian"; did you mean data.train?
lorac: wrong.yaml:9: train.seed: found "x", wanted an integer in [0, 9223372036854775807]
lorac: override adapter.r: found "0", wanted an integer in [1, 4096]
lorac: override: unknown key "sed"; did you mean train.seed?
lorac: override adapter.r: given twice
lorac: wrong.yaml: model.path: missing; the base model: a Hugging Face directory or a .gguf file
lorac: wrong.yaml: output.dir: missing; the run'\''s directory, made if it is missing: checkpoints, adapter, metrics
lorac: wrong.yaml: 9 errors'
for command in plan eval "data check"; do
    # shellcheck disable=SC2086 # two words
    run "$LORAC" $command "$scratch/wrong.yaml"
    is "$command shows them too" "$status ${err##*$'\n'}" "2 lorac: $scratch/wrong.yaml: 6 errors"
done

for section in model data adapter train output; do
    echo "$section:"
    for i in {1..250}; do printf '  k%s\\e[1m: 1\n' "$i" | sed 's/  \(.*\): 1/  "\1": 1/'; done
done >"$scratch/many.yaml"
run timeout 20 "$LORAC" plan "$scratch/many.yaml"
is "a file of a thousand errors ends soon" "$status" 2
is "a hundred of them are shown" "$(wc -l <<<"$err")" 101
like "and their number" "${err##*$'\n'}" "lorac: $scratch/many.yaml: 1000 or more errors, of which 100 are shown"
is "none controls the terminal" "$(grep -c $'\e' <<<"$err")" 0

done_testing
