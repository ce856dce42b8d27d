#!/bin/bash
# lorac inspect: names what a path is, and finds what is not what it should be.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

inspect() { run "$LORAC" inspect "$@"; }
is_json() { perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <<<"$out" 2>/dev/null; }

tests/make-model tiny "$scratch/tiny"
cp datasets/sample-alpaca.jsonl "$scratch/records.jsonl"
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/tiny}
data: {train: $scratch/records.jsonl, template: alpaca, validation: 0.3}
adapter: {r: 4, lora_alpha: 8}
train: {num_epochs: 2, batch_size: 2}
output: {dir: $scratch/run}
END
run "$LORAC" train "$scratch/run.yaml"
is "a run to look at" "$status" 0
"$LORAC" convert "$scratch/run/adapter" -o "$scratch/adapter.gguf" 2>/dev/null
"$LORAC" convert "$scratch/tiny" -o "$scratch/tiny.gguf" 2>/dev/null
"$LORAC" data prepare "$scratch/run.yaml" >"$scratch/prepared" 2>&1
prepared=$(find "$scratch" -name '*.h5' -not -path '*/run/*' | head -n 1)
ok "a prepared data set to look at" [ -f "$prepared" ]
checkpoints=("$scratch"/run/step-*.h5)
checkpoint=${checkpoints[-1]}

while IFS='|' read -r path kind; do
    inspect "$path"
    is "${path##*/}: exit code" "$status" 0
    like "${path##*/}: kind" "$out" "*kind*$kind*"
    inspect "$path" --json
    like "${path##*/}: kind as JSON" "$out" "*\"kind\": \"$kind\"*"
    ok "${path##*/}: is JSON" is_json
    inspect "$path" --verify
    is "${path##*/}: verified" "$status$err" 0
    inspect "$path" --verify --json
    ok "${path##*/}: verified as JSON" is_json
done <<END
$scratch/tiny|model (Hugging Face)
$scratch/tiny.gguf|model (GGUF)
$scratch/run/best|adapter (PEFT)
$scratch/adapter.gguf|adapter (GGUF)
$scratch/run|training run
$checkpoint|checkpoint
$prepared|prepared data set
END

inspect "$scratch/run/best"
for wanted in "r  *4" "lora alpha  *8" "template  *alpaca" "base model  *$scratch/tiny"; do
    ok "adapter: $wanted" grep -q "^$wanted$" <<<"$out"
done
inspect "$scratch/run"
like "run: status" "$out" "*status          finished*"
inspect "$scratch/run/best" --verify
like "adapter: its base is checked" "$out" "*base*is what it was trained on*"

# What was changed is found.
damaged() { # damaged NAME PATTERN PATH
    inspect "$3" --verify
    is "$1: exit code" "$status" 1
    like "$1: found" "$out$err" "$2"
}
cp -r "$scratch/run" "$scratch/run2"
echo "# more" >>"$scratch/run2/config.yaml"
damaged "a configuration that was edited" "*✗ config.yaml*on record is*" "$scratch/run2"
cp "$scratch/run/config.yaml" "$scratch/run2/"
copy=$scratch/run2/${checkpoint##*/}
printf 'X' | dd of="$copy" bs=1 seek=9000 conv=notrunc status=none
damaged "a checkpoint with another byte" "*✗ ${checkpoint##*/}*" "$scratch/run2"
inspect "$copy"
is "that checkpoint by itself: exit code" "$status" 1
like "that checkpoint by itself: message" "$err" "lorac: $copy: *"
cp -r "$scratch/tiny" "$scratch/other"
printf '\000\000\200\077' | dd of="$scratch/other/model.safetensors" bs=1 \
    seek=$(($(stat -c %s "$scratch/other/model.safetensors") - 4)) conv=notrunc status=none
inspect "$scratch/run/best" --verify --model "$scratch/other"
is "another base: exit code" "$status" 1
like "another base: found" "$out" "*✗ base*use the base that it was trained on*"
printf '\000\000\300\177' | dd of="$scratch/other/model.safetensors" bs=1 \
    seek=$(($(stat -c %s "$scratch/other/model.safetensors") - 4)) conv=notrunc status=none
damaged "a weight that is NaN" "*NaN*" "$scratch/other"

echo '{"instruction": "x", "output": "y"}' >>"$scratch/records.jsonl"
damaged "records that were added" "*✗ $scratch/records.jsonl*on record is*" "$scratch/run"

mkdir "$scratch/empty"
inspect "$scratch/empty"
is "an empty directory: exit code" "$status" 1
like "an empty directory: message" "$err" "*holds neither a model*nor an adapter*nor a run*"
inspect datasets/sample-text.jsonl
is "records: exit code" "$status" 1
inspect "$scratch/nothing"
like "nothing: message" "$err" "*no such file or directory*"
done_testing
