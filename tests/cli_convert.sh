#!/bin/bash
# lorac convert: every form of an adapter gives the same answers, models in every type stay
# themselves, and a model's difference becomes the adapter that made it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

loss() { "$LORAC" eval "$@" --no-base --json 2>/dev/null | sed -n 's/.*"loss": \([-0-9.e]*\).*/\1/p'; }
near() { # near NAME FOUND WANTED TOLERANCE (of the wanted value)
    report "$1" "$(awk -v a="$2" -v b="$3" -v t="$4" \
        'BEGIN { d = a > b ? a - b : b - a; print (a != "" && b != "" && d <= t * b) ? 0 : 1 }')" "found:  $2
wanted: $3"
}

refused() { # refused NAME STATUS PATTERN ARGUMENT...
    local name=$1 wanted=$2 pattern=$3
    shift 3
    run "$LORAC" convert "$@"
    is "$name: exit code" "$status" "$wanted"
    like "$name: message" "$err" "$pattern"
}

# Golden models: grouped queries and not, tied and not, other scalings; adapters on all modules and
# few.
for name in gqa-tied mha-untied llama3-rope linear-rope; do
    g=tests/golden/$name
    data=(--data "$g/batch.jsonl" --format tokens)
    wanted=$(loss --model "$g/model" --adapter "$g/adapter" "${data[@]}")
    run "$LORAC" convert "$g/adapter" --model "$g/model" -o "$scratch/$name.gguf"
    is "$name: PEFT to GGUF" "$status" 0
    is "$name: the GGUF adapter does the same" \
        "$(loss --model "$g/model" --adapter "$scratch/$name.gguf" "${data[@]}")" "$wanted"
    run "$LORAC" convert "$scratch/$name.gguf" --model "$g/model" -o "$scratch/$name"
    is "$name: and back" "$status" 0
    is "$name: the same after both ways" \
        "$(loss --model "$g/model" --adapter "$scratch/$name" "${data[@]}")" "$wanted"
    # a GGUF base keeps rows of q and k in the other order; the adapter knows neither
    run "$LORAC" convert "$g/model" -o "$scratch/$name-base.gguf" --quantize f32
    near "$name: on the base as GGUF" \
        "$(loss --model "$scratch/$name-base.gguf" --adapter "$scratch/$name.gguf" "${data[@]}")" "$wanted" 1e-5
done

g=tests/golden/gqa-tied
data=(--data "$g/batch.jsonl" --format tokens)
wanted=$(loss --model "$g/model" --adapter "$g/adapter" "${data[@]}")

# rsLoRA: alpha / sqrt(r) has no place in a GGUF adapter and is folded. r is 4: with alpha 8 the
# plain scale is 2, so alpha 4 with rsLoRA is the same adapter.
mkdir "$scratch/rs"
cp "$g/adapter/adapter_model.safetensors" "$scratch/rs/"
sed 's/"lora_alpha": [0-9]*/"lora_alpha": 4/; s/"use_rslora": false/"use_rslora": true/' \
    "$g/adapter/adapter_config.json" >"$scratch/rs/adapter_config.json"
ok "rsLoRA: the test's adapter says so" grep -q '"use_rslora": true' "$scratch/rs/adapter_config.json"
run "$LORAC" convert "$scratch/rs" --model "$g/model" -o "$scratch/rs.gguf"
near "rsLoRA: folded" "$(loss --model "$g/model" --adapter "$scratch/rs.gguf" "${data[@]}")" "$wanted" 1e-6
run "$LORAC" inspect "$scratch/rs.gguf" --json
like "rsLoRA: alpha for a scale of 2" "$out" '*"lora_alpha": 8.0*'

# A checkpoint becomes what the run wrote beside it.
tests/make-model tiny "$scratch/tiny"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: datasets/sample-alpaca.jsonl, template: alpaca}
adapter: {r: 4, lora_alpha: 8, lora_dropout: 0.1}
train: {num_epochs: 2, batch_size: 2, learning_rate: 1e-2}
output: {dir: $scratch/run}
END
run "$LORAC" train "$scratch/run.yaml"
is "a run to take a checkpoint of" "$status" 0
checkpoints=("$scratch"/run/step-*.h5)
checkpoint=${checkpoints[-1]}
run "$LORAC" convert "$checkpoint" -o "$scratch/from-checkpoint"
is "checkpoint to PEFT" "$status" 0
for file in adapter_model.safetensors adapter_config.json; do
    ok "checkpoint to PEFT: $file" cmp "$scratch/run/adapter/$file" "$scratch/from-checkpoint/$file"
done
ok "checkpoint to PEFT: the licence" cmp "$scratch/tiny/LICENSE.txt" "$scratch/from-checkpoint/LICENSE.txt"
like "checkpoint to PEFT: the template" "$(cat "$scratch/from-checkpoint/lorac.json")" '*"template": "alpaca"*'
text=(--data datasets/sample-alpaca.jsonl --template alpaca)
is "a checkpoint is an adapter" "$(loss --model "$scratch/tiny" --adapter "$checkpoint" "${text[@]}")" \
    "$(loss --model "$scratch/tiny" --adapter "$scratch/run/adapter" "${text[@]}")"
near "a checkpoint is an adapter of any weight" \
    "$(loss --model "$scratch/tiny" --adapter "$checkpoint=0.5" "${text[@]}")" \
    "$(loss --model "$scratch/tiny" --adapter "$scratch/run/adapter=0.5" "${text[@]}")" 1e-6
run "$LORAC" merge --model "$g/model" --adapter "$checkpoint" -o "$scratch/wrong"
is "a checkpoint on another base" "$status" 1
like "a checkpoint on another base: message" "$err" "*step-*.h5: holds an adapter for *"
run "$LORAC" convert "$checkpoint" -o "$scratch/checkpoint.gguf"
is "checkpoint to GGUF" "$status" 0
like "checkpoint to GGUF: the template is told" "$err" "*prompt template, alpaca*"

# Models. The tolerances: half a unit in the last place of the stored values changes the loss by far
# less than 8, 11, 9, 5 bits of a value would; a random model's loss is ln V, which rounding hardly
# changes.
for row in f32:1e-6 f16:1e-3 bf16:1e-2 q8_0:1e-2 q4_0:0.1 q4_1:0.1; do
    type=${row%:*}
    run "$LORAC" convert "$scratch/tiny" --quantize "$type" -o "$scratch/$type.gguf"
    is "model to GGUF, $type" "$status" 0
    near "model to GGUF, $type: the loss" "$(loss --model "$scratch/$type.gguf" "${text[@]}")" \
        "$(loss --model "$scratch/tiny" "${text[@]}")" "${row#*:}"
    run "$LORAC" inspect "$scratch/$type.gguf" --json
    like "model to GGUF, $type: inspect says so" "$out" "*\"stored_as\": \"$type\"*"
done
ok "4 bits are smaller than 8" [ "$(stat -c %s "$scratch/q4_0.gguf")" -lt "$(stat -c %s "$scratch/q8_0.gguf")" ]
run "$LORAC" convert "$scratch/f16.gguf" -o "$scratch/hf"
is "GGUF to a directory" "$status" 0
is "GGUF to a directory: the same" "$(loss --model "$scratch/hf" "${text[@]}")" \
    "$(loss --model "$scratch/f16.gguf" "${text[@]}")"

# A tokenizer that is named replaces the base's own, whatever the form of either.
cp -r "$scratch/tiny" "$scratch/other"
sed -i 's/"\\u0061":/"tmp":/; s/"\\u0062":/"\\u0061":/; s/"tmp":/"\\u0062":/' "$scratch/other/tokenizer.json"
wanted_ids=$("$LORAC" tokenize --model "$scratch/other" abc)
ok "the other tokenizer is another one" [ "$wanted_ids" != "$("$LORAC" tokenize --model "$scratch/tiny" abc)" ]
for base in tiny f32.gguf; do
    for to in named named.gguf; do
        for command in convert merge; do
            what="$command --tokenizer, $base to $to"
            rm -rf "$scratch/named" "$scratch/named.gguf"
            args=("$scratch/$base")
            [ $command = convert ] || args=(--model "$scratch/$base" --adapter "$scratch/run/adapter")
            run "$LORAC" $command "${args[@]}" --tokenizer "$scratch/other" -o "$scratch/$to"
            is "$what" "$status" 0
            is "$what: is the result's" "$("$LORAC" tokenize --model "$scratch/$to" abc)" "$wanted_ids"
        done
        rm -rf "$scratch/named" "$scratch/named.gguf"
        refused "$base to $to: another model's tokenizer" 1 "*do not belong together*" \
            "$scratch/$base" --tokenizer "$LORAC_TEST_DATA/llama2-tokenizer/tokenizer.model" -o "$scratch/$to"
        ok "$base to $to: another model's tokenizer: nothing is left" [ ! -e "$scratch/$to" ]
    done
done
for form in merged merged.gguf; do
    run "$LORAC" merge --model "$scratch/tiny" --adapter "$scratch/run/adapter" -o "$scratch/$form"
    run "$LORAC" convert "$scratch/$form" --tokenizer "$scratch/tiny" -o "$scratch/without-$form"
    like "$form: the chat template that goes with its tokenizer is noted" "$err" "*note: the base's chat template is left out*"
done

# Extraction finds what the adapter added.
run "$LORAC" merge --model "$g/model" --adapter "$g/adapter" -o "$scratch/tuned" --dtype f32
run "$LORAC" convert "$scratch/tuned" --extract "$g/model" --r 4 -o "$scratch/extracted"
is "--extract: exit code" "$status" 0
like "--extract: holds it all" "$err" "*rank 4 holds 100.00 %*"
near "--extract: does the same" "$(loss --model "$g/model" --adapter "$scratch/extracted" "${data[@]}")" "$wanted" 1e-5
run "$LORAC" convert "$scratch/tuned" --extract "$g/model" --r 2 -o "$scratch/extracted-2"
ok "--extract: a smaller rank holds less" [ "${err/100.00 %/}" = "$err" ]
run "$LORAC" convert "$g/model" --extract "$g/model" -o "$scratch/none"
is "--extract: nothing differs" "$status" 1
like "--extract: nothing differs, message" "$err" "*no matrix of the model differs*"

# A Qwen2 has biases: training, merging, conversion and extraction lose none.
tests/make-model tiny-qwen2 "$scratch/qwen2"
run "$LORAC" train "$scratch/run.yaml" model.path="$scratch/qwen2" output.dir="$scratch/qwen2-run"
is "qwen2: trains" "$status" 0
run "$LORAC" convert "$scratch/qwen2" -o "$scratch/qwen2-hf"
run "$LORAC" convert "$scratch/qwen2-hf" --quantize f32 -o "$scratch/qwen2.gguf"
run "$LORAC" convert "$scratch/qwen2.gguf" -o "$scratch/qwen2-back"
ok "qwen2: to GGUF and back, the same weights" \
    cmp "$scratch/qwen2-hf/model.safetensors" "$scratch/qwen2-back/model.safetensors"
wanted2=$(loss --model "$scratch/qwen2" --adapter "$scratch/qwen2-run/adapter" "${text[@]}")
run "$LORAC" convert "$scratch/qwen2-run/adapter" --model "$scratch/qwen2" -o "$scratch/qwen2-adapter.gguf"
is "qwen2: the GGUF adapter does the same" \
    "$(loss --model "$scratch/qwen2" --adapter "$scratch/qwen2-adapter.gguf" "${text[@]}")" "$wanted2"
for form in qwen2-merged qwen2-merged.gguf; do
    run "$LORAC" merge --model "$scratch/qwen2" --adapter "$scratch/qwen2-run/adapter" --dtype f32 -o "$scratch/$form"
    near "$form: does the same" "$(loss --model "$scratch/$form" "${text[@]}")" "$wanted2" 1e-5
done
for bias in q k v; do
    for layer in 0 1; do
        ok "qwen2-merged: has the bias of $bias in layer $layer" \
            grep -aq "model.layers.$layer.self_attn.${bias}_proj.bias" "$scratch/qwen2-merged/model.safetensors"
    done
done
run "$LORAC" convert "$scratch/qwen2-merged" --extract "$scratch/qwen2" -o "$scratch/qwen2-extracted"
near "qwen2: what the adapter added is found again" \
    "$(loss --model "$scratch/qwen2" --adapter "$scratch/qwen2-extracted" "${text[@]}")" "$wanted2" 1e-5
ok "qwen2: nothing else differs" [ "${err/note:/}" = "$err" ]
# the last 16 values of a bias become 1
perl -0777 -pi -e '/k_proj\.bias":\{[^}]*"data_offsets":\s*\[(\d+),/ or die;
    substr($_, 8 + unpack("Q<", $_) + $1, 64) = pack("f<*", (1) x 16)' "$scratch/qwen2-merged/model.safetensors"
run "$LORAC" convert "$scratch/qwen2-merged" --extract "$scratch/qwen2" -o "$scratch/qwen2-elsewhere"
like "qwen2: biases that differ are noted" "$err" "*norms or biases differ too*"
sed -i 's/"model_type": "qwen2"/"model_type": "qwen2", "use_sliding_window": true/' "$scratch/qwen2/config.json"
refused "qwen2: a sliding window" 1 "*use_sliding_window*" "$scratch/qwen2" -o "$scratch/x"

refused "no output" 2 "*-o is missing*" "$g/adapter"
refused "a base that does not exist" 2 "*--model*" "$scratch/rs.gguf" -o "$scratch/x"
refused "the wrong base" 1 "*" "$g/adapter" --model "$scratch/tiny" -o "$scratch/x"
ok "the wrong base: nothing is left" [ ! -e "$scratch/x/adapter_config.json" ]
refused "a file that exists" 1 "*exists already*" "$g/adapter" --model "$g/model" -o "$scratch/gqa-tied.gguf"
refused "a directory that holds one" 1 "*holds an adapter already*" "$g/adapter" --model "$g/model" -o "$scratch/gqa-tied"
refused "block types in a directory" 2 "*need a .gguf*" "$scratch/tiny" --quantize q4_0 -o "$scratch/x"
refused "an adapter with a tokenizer" 2 "*--tokenizer: is for models*" "$g/adapter" --model "$g/model" --tokenizer "$scratch/tiny" -o "$scratch/x"
refused "a rank without --extract" 2 "*--r: goes with --extract only*" "$g/adapter" --model "$g/model" --r 2 -o "$scratch/x"
refused "--extract with a tokenizer" 2 "*--extract goes with -o and --r only*" "$scratch/tuned" --extract "$g/model" --tokenizer "$scratch/tiny" -o "$scratch/x"
refused "an adapter quantised" 2 "*is for models*" "$g/adapter" --model "$g/model" --quantize q8_0 -o "$scratch/x"
refused "into the model itself" 2 "*lies inside*" "$scratch/tiny" -o "$scratch/tiny/again"
refused "a rank that is too large" 2 "*--r: found 400, wanted 1 to 16*" "$scratch/tuned" --extract "$g/model" --r 400 -o "$scratch/x"
refused "no such thing" 1 "*" "$scratch/nothing" -o "$scratch/x"
done_testing
