#!/bin/bash
# An adapter and the base that it is used on: lorac says when the base is another one, when the
# model holds the adapter already, and which parts of an adapter's file are not used.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

generate() { run "$LORAC" generate --prompt Hi --max-new-tokens 2 "$@"; }
evaluate() { run "$LORAC" eval --data "$scratch/records.jsonl" "$@"; }
silent() { # silent NAME: nothing is noted
    ok "$1" [ "${err/note:/}" = "$err" ]
}

tests/make-model tiny "$scratch/tiny"
cp datasets/sample-alpaca.jsonl "$scratch/records.jsonl"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: $scratch/records.jsonl, template: alpaca}
adapter: {r: 4, lora_alpha: 8}
train: {max_steps: 2, batch_size: 2, learning_rate: 1e-2, warmup_ratio: 0}
output: {dir: $scratch/run}
END
run "$LORAC" train "$scratch/run.yaml"
is "a run to take an adapter from" "$status" 0
a=$scratch/run/adapter
checkpoints=("$scratch"/run/step-*.h5)
checkpoint=${checkpoints[-1]}
like "lorac.json has the base's fingerprint" "$(cat "$a/lorac.json")" '*"base_fingerprint": "????????????????????????????????????????????????????????????????"*'

# Half of an adapter is the same in every form: 0.5 is exact.
"$LORAC" convert "$a" -o "$scratch/a.gguf" 2>/dev/null
half() { evaluate --model "$scratch/tiny" --template alpaca --no-base --adapter "$1" && grep '^loss' <<<"$out"; }
whole=$(half "$a")
wanted=$(half "$a=0.5")
ok "half of an adapter: another loss than all of it" [ "$wanted" != "$whole" ]
is "half of an adapter: a checkpoint" "$(half "$checkpoint=0.5")" "$wanted"
is "half of an adapter: a GGUF adapter" "$(half "$scratch/a.gguf=0.5")" "$wanted"
is "half of an adapter: a run's directory" "$(half "$scratch/run=0.5")" "$wanted"

# Another base of the same shape: one number differs.
cp -r "$scratch/tiny" "$scratch/other"
printf '\000\000\200\077' | dd of="$scratch/other/model.safetensors" bs=1 \
    seek=$(($(stat -c %s "$scratch/other/model.safetensors") - 4)) conv=notrunc status=none
other='*note: *was trained on another file than this model*'
for form in PEFT GGUF checkpoint; do
    case $form in
    PEFT) adapter=$a ;;
    GGUF) adapter=$scratch/a.gguf && "$LORAC" convert "$a" -o "$adapter" 2>/dev/null ;;
    checkpoint) adapter=$checkpoint ;;
    esac
    rm -rf "$scratch/cache"
    generate --model "$scratch/tiny" --adapter "$adapter"
    silent "$form: the right base, nothing cached: generate is silent"
    generate --model "$scratch/other" --adapter "$adapter"
    is "$form: another base: generate works" "$status" 0
    if [ $form = checkpoint ]; then
        silent "checkpoint: has no fingerprint, so generate is silent"
    else
        like "$form: another base: generate notes it by the fingerprint" "$err" "$other"
    fi
    ok "$form: generate hashes no base" [ ! -e "$scratch/cache/lorac/sha256" ]
    evaluate --model "$scratch/other" --adapter "$adapter" --template alpaca
    like "$form: another base: eval notes it" "$err" "$other"
    ok "$form: eval hashes the base" [ -e "$scratch/cache/lorac/sha256" ]
    generate --model "$scratch/other" --adapter "$adapter"
    like "$form: another base: generate notes it by the cached hash" "$err" "$other"
    evaluate --model "$scratch/tiny" --adapter "$adapter" --template alpaca
    silent "$form: the right base: eval is silent"
    run "$LORAC" merge --model "$scratch/other" --adapter "$adapter" -o "$scratch/merged-other-$form"
    is "$form: another base: merge works" "$status" 0
    like "$form: another base: merge notes it" "$err" "$other"
done

# A checkpoint knows its base's hash; the fingerprint of an adapter that is made from it needs the
# base.
fingerprint=$(grep -o '"base_fingerprint": "[0-9a-f]*"' "$a/lorac.json")
run "$LORAC" convert "$checkpoint" -o "$scratch/from-checkpoint"
silent "checkpoint to PEFT, the base's hash is cached: silent"
like "checkpoint to PEFT, the base's hash is cached: it gets the fingerprint" \
    "$(cat "$scratch/from-checkpoint/lorac.json")" "*$fingerprint*"
run "$LORAC" convert "$checkpoint" -o "$scratch/from-checkpoint.gguf"
generate --model "$scratch/other" --adapter "$scratch/from-checkpoint.gguf"
like "checkpoint to GGUF: it gets the fingerprint too" "$err" "$other"
run "$LORAC" convert "$checkpoint" --model "$scratch/other" -o "$scratch/from-other"
like "checkpoint to PEFT, another base: noted" "$err" "$other"
like "checkpoint to PEFT, another base: not its fingerprint" "$(cat "$scratch/from-other/lorac.json")" '*"base_fingerprint": null*'
rm -rf "$scratch/cache"
without='*note: *does not have its base*fingerprint*what is written has none either*'
run "$LORAC" convert "$checkpoint" -o "$scratch/from-checkpoint-2"
like "checkpoint to PEFT, no hash is cached: said" "$err" "$without"
mkdir "$scratch/config-only"
cp "$scratch/tiny/config.json" "$scratch/config-only"
run "$LORAC" convert "$checkpoint" --model "$scratch/config-only" -o "$scratch/from-checkpoint-3"
like "checkpoint to PEFT, a base without weights: said" "$err" "*the model's weights are not here*"
run "$LORAC" chat --model "$scratch/other" --adapter "$a" --max-new-tokens 2 <<<$'Hi\n/quit'
like "another base: chat notes it" "$err" "$other"
generate --model "$scratch/other" --adapter "$a" --adapter "$scratch/a.gguf=0.5"
is "several adapters: a note for each" "$(grep -c "was trained on another file" <<<"$err")" 2
run "$LORAC" eval "$scratch/run.yaml" "model.path=$scratch/other"
like "another base: eval of a configuration notes it" "$err" "*was trained on another file*"
run "$LORAC" eval "$scratch/run.yaml"
ok "the right base: eval of a configuration is silent" [ "${err/another file/}" = "$err" ]

# lorac eval run.yaml says when it keeps other records aside than the run, and when the template is
# another one.
yes '{"prompt": "Number", "completion": " n"}' | head -n 20 |
    awk '{ sub("Number", "Number " NR); print }' >"$scratch/numbers.jsonl"
sed 's/records.jsonl, /numbers.jsonl, validation: 0.5, /; s/dir: .*run/&-split/' "$scratch/run.yaml" >"$scratch/split.yaml"
run "$LORAC" train "$scratch/split.yaml"
is "a run that keeps a fraction aside" "$status" 0
measured() { # measured NAME PATTERN [OVERRIDE]...: a pattern of the notes, "" for none
    run "$LORAC" eval "$scratch/split.yaml" "${@:3}"
    is "eval of a run: $1: exit code" "$status" 0
    if [ "$2" ]; then like "eval of a run: $1" "$err" "*note: $2*"; else silent "eval of a run: $1: silent"; fi
}
were="data.validation: other records are kept aside now than in the run in \"$scratch/run-split\", so some of these were trained on*"
may="data.validation: other records may be kept aside now*some of these may have been trained on*"
measured "as it was trained" ""
measured "the same split by its own name" "" train.seed=5 data.split_seed=0
measured "train.seed" "$were: it had another data.split_seed" train.seed=5
measured "data.split_seed" "$were: it had another data.split_seed" data.split_seed=5
measured "another fraction" "$may: it had another data.validation" data.validation=0.6
measured "fewer examples" "$may: it had another data.max_length" data.max_length=200
measured "data.template" "*best: was trained with the template alpaca, and is asked here with vicuna_v1.1" \
    data.template=vicuna_v1.1
measured "validation in a file of its own" "" "data.validation=$scratch/records.jsonl"
cp "$scratch/numbers.jsonl" "$scratch/numbers.kept"
echo '{"prompt": "Number 21", "completion": " n"}' >>"$scratch/numbers.jsonl"
measured "records were added" "$may: the data files have changed since"
mv "$scratch/numbers.kept" "$scratch/numbers.jsonl"
sed -i.kept '/split_seed/d' "$scratch/run-split/config.yaml"
measured "a run of before data.split_seed" "$were: it was begun by an earlier lorac, which chose them by another rule"
measured "such a run, validation in a file" "" "data.validation=$scratch/records.jsonl"
sed -i 's/validation: 0.5/validation: 0/' "$scratch/run-split/config.yaml"
measured "a run that kept nothing aside" "$were: it had another data.validation"
rm "$scratch/run-split/config.yaml"
measured "a run without its configuration" "data.validation: it is not known whether the run kept the same records aside*config.yaml*"

# A run's directory stands for the adapter in it: best/, else adapter/.
generate --model "$scratch/tiny" --adapter "$a" && direct=$out
generate --model "$scratch/tiny" --adapter "$scratch/run"
is "a run without best/: exit code" "$status" 0
is "a run without best/: the answer of its adapter/" "$out" "$direct"
like "a run without best/: said" "$err" "note: $scratch/run is a run's directory without best/ *the adapter of its last step is taken, $scratch/run/adapter"
generate --model "$scratch/tiny" --adapter "$scratch/run-split"
like "a run with best/: that one" "$err" "note: $scratch/run-split is a run's directory: its best adapter is taken, $scratch/run-split/best"
generate --model "$scratch/tiny" --adapter "$scratch/run/=0.5"
is "a run with a weight" "$status" 0
for command in "merge --adapter $scratch/run -o $scratch/run-merged.gguf" "convert $scratch/run -o $scratch/run-converted" \
    "eval --adapter $scratch/run --data $scratch/records.jsonl" "eval --adapter $scratch/run=1 --data $scratch/records.jsonl"; do
    # shellcheck disable=SC2086 # words
    run "$LORAC" $command
    is "${command%% *} of a run: exit code" "$status" 0
    like "${command%% *} of a run: which adapter" "$err" "*note: $scratch/run is a run's directory without best/ *"
    [[ $command = convert* ]] || like "${command%% *} of a run: which base" "$err" \
        "*note: --model is missing: the base is $scratch/tiny, for which $scratch/run/adapter was made*"
done
ok "convert of a run: its adapter" cmp -s "$a/adapter_model.safetensors" "$scratch/run-converted/adapter_model.safetensors"
cp -r "$scratch/tiny" "$scratch/model-with"
cp -r "$a" "$scratch/model-with/adapter"
run "$LORAC" convert "$scratch/model-with" -o "$scratch/model-with.gguf"
is "convert of a model in whose directory an adapter lies: exit code" "$status" 0
run "$LORAC" inspect "$scratch/model-with.gguf"
like "convert of a model in whose directory an adapter lies: the model" "$out" "*kind *model (GGUF)*"
run "$LORAC" chat --adapter "$scratch/run" --max-new-tokens 2 --temperature 0 <<<Hi
is "chat with a run alone: exit code" "$status" 0
is "chat with a run alone: the answer of generate" "$out" "$direct"
like "chat with a run alone: which base" "$err" "*note: --model is missing: the base is $scratch/tiny*"
run "$LORAC" inspect "$scratch/run-split"
like "inspect of a run: its adapter" "$out" "*adapter  *$scratch/run-split/best*"
cp -r "$scratch/run" "$scratch/run-begun"
rm -r "$scratch/run-begun/adapter"
generate --adapter "$scratch/run-begun"
is "a run without an adapter: exit code" "$status" 1
like "a run without an adapter: its checkpoint" "$err" "lorac: $scratch/run-begun: this run has neither best/ nor adapter/ yet; name its newest checkpoint: $scratch/run-begun/step-*.h5"
rm "$scratch"/run-begun/step-*.h5
generate --adapter "$scratch/run-begun"
like "a run that has nothing" "$err" "*it has to be trained further first"
generate --adapter "$scratch/tiny"
is "a model in the place of an adapter: exit code" "$status" 1
generate --adapter "$scratch/none"
like "an adapter that is not there" "$err" "lorac: $scratch/none: no such adapter"

# The base that an adapter names, where --model is missing.
for adapter in "$a" "$checkpoint"; do
    generate --adapter "$adapter"
    is "no --model, ${adapter##*/}: the answer" "$out" "$direct"
    like "no --model, ${adapter##*/}: said" "$err" "note: --model is missing: the base is $scratch/tiny, for which $adapter was made"
done
generate --adapter "$scratch/a.gguf"
is "no --model, an adapter that names no base: exit code" "$status" 2
like "no --model, an adapter that names no base: message" "$err" "lorac: --model is missing: which base? $scratch/a.gguf does not say for which one it was made"
generate
like "neither --model nor --adapter" "$err" "lorac: --model is missing: which base?"
mv "$scratch/tiny" "$scratch/elsewhere-tiny"
generate --adapter "$a"
is "no --model, the base is gone: exit code" "$status" 2
like "no --model, the base is gone: message" "$err" "*--model is missing: which base? $a was made for \"$scratch/tiny\", which is not there"
generate --adapter "$a" --model "$scratch/elsewhere-tiny"
is "the base is elsewhere: --model" "$out" "$direct"
mv "$scratch/elsewhere-tiny" "$scratch/tiny"

# A bare prompt is a prompt.
run "$LORAC" generate --adapter "$a" Hi --max-new-tokens 2
is "a bare prompt" "$out" "$direct"
run "$LORAC" generate --adapter "$a" --max-new-tokens 2 - <<<Hi
is "a bare -: from stdin" "$out" "$direct"
run "$LORAC" generate --adapter "$a" --max-new-tokens 2 -- Hi
is "a bare prompt after --" "$out" "$direct"
run "$LORAC" generate --adapter "$a" Hi --prompt Ho
is "two prompts: exit code" "$status" 2
like "two prompts: message" "$err" 'lorac: found two prompts, "Hi" and --prompt "Ho": which one?'
run "$LORAC" generate --adapter "$a" Which form is needed
is "a prompt without quotation marks: exit code" "$status" 2
like "a prompt without quotation marks: message" "$err" 'lorac: found 4 arguments, "Which" and "form" among them, wanted one prompt: put it in quotation marks'
run "$LORAC" generate --adapter "$a"
is "no prompt: exit code" "$status" 2
like "no prompt: message" "$err" "lorac: the prompt is missing: write it in quotation marks *"

# lorac says when a template, given or of another adapter, is not the one of the training.
template="*note: *was trained with the template alpaca, and is asked here with llama2: *"
generate --model "$scratch/tiny" --adapter "$a" --template llama2
like "generate: another template is noted" "$err" "$template"
generate --model "$scratch/tiny" --adapter "$a" --template alpaca
silent "generate: the same template: no note"
evaluate --model "$scratch/tiny" --adapter "$checkpoint" --template llama2
like "eval of a checkpoint: another template is noted" "$err" "$template"
run "$LORAC" train "$scratch/run.yaml" data.template=llama2 output.dir="$scratch/run-llama2"
generate --model "$scratch/tiny" --adapter "$scratch/run-llama2/adapter" --adapter "$a=0.5"
like "generate: two adapters of different templates are noted" "$err" "$template"
run "$LORAC" merge --model "$scratch/tiny" --adapter "$a" -o "$scratch/merged-alpaca"
generate --model "$scratch/merged-alpaca" --template llama2
like "generate: another template than a merged model's is noted" "$err" "$template"
generate --model "$scratch/merged-alpaca"
silent "generate: a merged model's own template: no note"

# A lorac.json of an earlier version has nothing to compare without reading the base.
cp -r "$a" "$scratch/old"
grep -v base_fingerprint "$a/lorac.json" >"$scratch/old/lorac.json"
rm -rf "$scratch/cache"
generate --model "$scratch/other" --adapter "$scratch/old"
silent "an old lorac.json: no note"
evaluate --model "$scratch/other" --adapter "$scratch/old" --template alpaca
like "an old lorac.json: eval reads the base" "$err" "$other"
rm "$scratch/old/lorac.json"
generate --model "$scratch/other" --adapter "$scratch/old"
silent "no lorac.json: no note"

# A copy of the base, in another place or in one shard more, is the same base if its bytes are.
cp -r "$scratch/tiny" "$scratch/copy"
touch "$scratch/copy/model.safetensors"
generate --model "$scratch/copy" --adapter "$a"
silent "a copy of the base is the base"

# Already merged.
run "$LORAC" merge --model "$scratch/tiny" --adapter "$a" -o "$scratch/merged"
is "merge of an adapter: exit code" "$status" 0
ok "merge: the right base is not noted" test "$(grep -c 'was trained on another' <<<"$err")" = 0
like "merge: lorac.json says what is in it" "$(cat "$scratch/merged/lorac.json")" '*"merged_adapters": \[*"????????????????????????????????????????????????????????????????"*'
run "$LORAC" merge --model "$scratch/tiny" --adapter "$a=0" -o "$scratch/nothing"
is "merge with weight 0: exit code" "$status" 2
like "merge with weight 0: message" "$err" "*nothing of it would be merged; leave it out*"
run "$LORAC" merge --model "$scratch/tiny" --adapter "$a" -o "$scratch/merged.gguf"
is "merge of an adapter to GGUF: exit code" "$status" 0
run "$LORAC" convert "$scratch/merged" -o "$scratch/converted.gguf" --quantize q8_0
is "a merged model converted" "$status" 0
run "$LORAC" convert "$scratch/merged.gguf" -o "$scratch/converted"
is "a merged GGUF converted" "$status" 0
run "$LORAC" convert "$scratch/merged.gguf" -o "$scratch/again.gguf" --quantize f16
is "a merged GGUF converted to GGUF" "$status" 0
cp -r "$a" "$scratch/elsewhere"
for model in merged merged.gguf converted.gguf converted again.gguf; do
    for adapter in "$a" "$scratch/a.gguf" "$checkpoint" "$scratch/elsewhere" "$a=0.5"; do
        what="$model, ${adapter##*/}"
        run "$LORAC" merge --model "$scratch/$model" --adapter "$adapter" -o "$scratch/twice"
        is "$what: merging it again: exit code" "$status" 1
        like "$what: merging it again: message" "$err" "*is already merged into $scratch/$model*"
        ok "$what: nothing is written" [ ! -e "$scratch/twice" ]
        generate --model "$scratch/$model" --adapter "$adapter"
        is "$what: generate works" "$status" 0
        like "$what: generate notes it" "$err" "*note: *is already merged into $scratch/$model, and now counts twice*"
    done
    generate --model "$scratch/$model"
    silent "$model: without an adapter nothing is noted"
done
run "$LORAC" merge --model "$scratch/tiny" --adapter "$a" --adapter "$scratch/elsewhere" -o "$scratch/twice"
is "one adapter named twice: exit code" "$status" 2
like "one adapter named twice: message" "$err" "*elsewhere: the same adapter was named before, and would count twice; write it once, with its weight*"
sed 's/max_steps: 2/max_steps: 3/' "$scratch/run.yaml" >"$scratch/run2.yaml"
run "$LORAC" train "$scratch/run2.yaml" "output.dir=$scratch/run2"
is "another adapter is trained: exit code" "$status" 0
run "$LORAC" merge --model "$scratch/merged" --adapter "$scratch/run2/adapter" -o "$scratch/both"
is "another adapter is merged on top" "$status" 0
is "both are known afterwards" "$(grep -c '^    "[0-9a-f]*",*$' "$scratch/both/lorac.json")" 2
run "$LORAC" merge --model "$scratch/both" --adapter "$a" -o "$scratch/twice"
is "the first is known afterwards" "$status" 1
run "$LORAC" merge --model "$scratch/merged.gguf" --adapter "$scratch/run2/adapter" -o "$scratch/both.gguf"
run "$LORAC" merge --model "$scratch/both.gguf" --adapter "$a" -o "$scratch/twice"
is "the first is known afterwards, GGUF" "$status" 1

# Dimensions that do not fit mean another base; this is said before anything else.
g=tests/golden/gqa-tied/adapter
run "$LORAC" generate --model "$scratch/tiny" --adapter $g --prompt Hi
like "another shape, PEFT" "$err" "*adapter_model.safetensors: was trained on another base*"
"$LORAC" convert $g --model tests/golden/gqa-tied/model -o "$scratch/g.gguf" 2>/dev/null
run "$LORAC" generate --model "$scratch/tiny" --adapter "$scratch/g.gguf" --prompt Hi
like "another shape, GGUF" "$err" "*g.gguf: was trained on another base*"
run "$LORAC" merge --model tests/golden/gqa-tied/model --adapter "$checkpoint" -o "$scratch/x"
like "another shape, checkpoint" "$err" "*: holds an adapter for another base: *"

# A single file of an adapter is not one.
for file in adapter_model.safetensors adapter_config.json; do
    generate --model "$scratch/tiny" --adapter "$a/$file"
    is "$file: exit code" "$status" 1
    like "$file: the directory is named" "$err" "*name the directory that it lies in*"
done
# A run that begins from an adapter: the same notes, in plan and in train.
for row in "tiny|$a|" "other|$a|*note: *was trained on another file than this model*" \
    "merged|$a|*note: adapter.init_from: *is already merged into *"; do
    IFS='|' read -r base from wanted <<<"$row"
    for command in plan "data check" train; do
        rm -rf "$scratch/started"
        # shellcheck disable=SC2086 # two words
        run "$LORAC" $command "$scratch/run.yaml" "model.path=$scratch/$base" "adapter.init_from=$from" \
            "output.dir=$scratch/started"
        is "init_from on $base: $command" "$status" 0
        if [ "$wanted" ]; then
            like "init_from on $base: $command notes it" "$err" "$wanted"
        else
            ok "init_from on $base: $command has no note of it" [ "${err/was trained on another file/}${err/is already merged/}" = "$err$err" ]
        fi
    done
done
# One reader for all forms: the same bits follow from each.
for from in "$a" "$scratch/a.gguf" "$checkpoint"; do
    run "$LORAC" train "$scratch/run.yaml" "adapter.init_from=$from" "output.dir=$scratch/from-${from##*/}"
    is "init_from ${from##*/}: exit code" "$status" 0
    ok "init_from ${from##*/}: no note of lora_alpha, which is the same" [ "${err/lora_alpha/}" = "$err" ]
    ok "init_from ${from##*/}: the adapter that follows from PEFT's" \
        cmp -s "$scratch/from-adapter/adapter/adapter_model.safetensors" "$scratch/from-${from##*/}/adapter/adapter_model.safetensors"
    run "$LORAC" train "$scratch/run.yaml" "adapter.init_from=$from" "output.dir=$scratch/alpha" adapter.lora_alpha=12
    like "init_from ${from##*/}: another lora_alpha: noted" "$err" "*note: adapter.lora_alpha: 12 is not used: *has 8 and keeps it*"
    ok "init_from ${from##*/}: another lora_alpha: it is the adapter's own" \
        cmp -s "$scratch/from-adapter/adapter/adapter_model.safetensors" "$scratch/alpha/adapter/adapter_model.safetensors"
    rm -rf "$scratch/alpha"
done
run "$LORAC" plan "$scratch/run.yaml" "adapter.init_from=$scratch/run"
like "init_from a run's directory: the adapter in it is named" "$err" "*run: found no adapter_config.json, but one in *run/adapter: name that*"
run "$LORAC" plan "$scratch/run.yaml" "adapter.init_from=$a/adapter_model.safetensors"
like "init_from a file of an adapter: its directory is named" "$err" "*adapter.init_from: *name the directory that it lies in*"
run "$LORAC" train "$scratch/run.yaml" --resume auto train.max_steps=4
is "resumed with more steps: exit code" "$status" 2
like "resumed with more steps: init_from is named" "$err" "*another train.max_steps; *new run in another output.dir; with adapter.init_from: $checkpoint it trains that adapter further*"
run "$LORAC" train "$scratch/run.yaml" --resume auto train.max_steps=4 train.seed=4
ok "resumed with another seed too: it is not" [ "${err/init_from/}" = "$err" ]
run "$LORAC" train "$scratch/run.yaml" "output.dir=$scratch/further" --resume "$checkpoint"
like "a finished run's checkpoint elsewhere: init_from is named" "$err" "*nothing is left to train*as adapter.init_from*"
cp -r "$a" "$scratch/one-layer"
sed -i 's/"bias"/"layers_to_transform": [1, 40], "bias"/' "$scratch/one-layer/adapter_config.json"
generate --model "$scratch/tiny" --adapter "$scratch/one-layer"
like "layers_to_transform beyond the model: the layer is named" "$err" \
    "*note: *adapter_config.json: layers_to_transform: names layer 40 that this base does not have; its layers are 0 to 1*"
sed 's/\[1, 40\]/[40]/' "$scratch/one-layer/adapter_config.json" >"$scratch/json"
cp -r "$scratch/one-layer" "$scratch/no-layer"
mv "$scratch/json" "$scratch/no-layer/adapter_config.json"
generate --model "$scratch/tiny" --adapter "$scratch/no-layer"
is "layers_to_transform beyond the model alone: refused" "$status" 1
like "layers_to_transform beyond the model alone: it is blamed" "$err" \
    "*has tensors for *but layers_to_transform of adapter_config.json names layer 40, for which it has none"
run "$LORAC" plan "$scratch/run.yaml" "adapter.init_from=$scratch/one-layer"
like "init_from with matrices that never learn: noted" "$err" "*note: adapter.init_from: *has nothing for 7 of 14 matrices*not trained*"
run "$LORAC" plan "$scratch/run.yaml" "adapter.init_from=$a" adapter.r=8
is "init_from of another rank: plan refuses it as train does" "$status" 2
like "init_from of another rank: message" "$err" "*adapter.init_from: *has rank 4*"
done_testing
