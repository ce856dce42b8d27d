#!/bin/bash
# lorac inspect says what a path is, and finds what is not as it should be.
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
is "a run to look at: exit code" "$status" 0
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
like "run: its status is finished" "$out" "*status          finished*"
inspect "$scratch/run/best" --verify
like "adapter: its base is checked" "$out" "*base*is what it was trained on*"

# A file that was changed is found.
damaged() { # damaged NAME PATTERN PATH
    inspect "$3" --verify
    is "$1: exit code" "$status" 1
    like "$1: says what is wrong" "$out$err" "$2"
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

# ---- single files --------------------------------------------------------------------------------
# PATH|EXIT CODE|KIND|WHAT ELSE IS SAID (a pattern)
cp "$scratch/run/adapter/adapter_model.safetensors" "$scratch/alone.safetensors"
cp "$scratch/tiny/model.safetensors" "$scratch/model-00001-of-00002.safetensors"
cp "$scratch/tiny/model.safetensors" "$scratch/no-name"
cp "$scratch/tiny/tokenizer.json" "$scratch/my-tokens.json"
cp "$scratch/tiny.gguf" "$scratch/gguf-without-a-name"
cp "$checkpoint" "$scratch/checkpoint-without-a-name"
echo '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}' >"$scratch/model.safetensors.index.json"
echo '{"fine_tune_type": "lora", "num_layers": 16, "lora_parameters": {"rank": 8}}' >"$scratch/mlx.json"
echo '{"dim": 4096, "n_layers": 32, "n_heads": 32}' >"$scratch/params.json"
echo '{"eos_token_id": 2}' >"$scratch/generation_config.json"
echo '[{"instruction": "x", "output": "y"}]' >"$scratch/list.json"
echo '{"a": 1}' >"$scratch/a.json"
echo 'x: 1' >"$scratch/some.yaml"
: >"$scratch/nothing-in-it"
printf 'question,answer\nx,y\n' >"$scratch/records.csv"
printf '\200\002}q' >"$scratch/pytorch_model.bin"
printf 'PK\003\004\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\020\0\0\0archive/data.pkl' >"$scratch/consolidated.00.pth"
printf 'PK\003\004\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\005\0\0\0w.npy' >"$scratch/weights.npz"
printf '\223NUMPY\001\0' >"$scratch/w.npy"
printf 'PAR1xxxx' >"$scratch/records.parquet"
printf 'tjgg\001\0\0\0' >"$scratch/ggml-model.bin"
printf '\001\002\003\0\377\376' >"$scratch/unknown"
mlx_header='{"model.layers.0.self_attn.q_proj.lora_a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} '
perl -e 'print pack("Q<", length $ARGV[0]), $ARGV[0], "\0\0\0\0"' "$mlx_header" >"$scratch/adapters.safetensors"
while IFS='|' read -r path code kind also; do
    inspect "$path"
    is "${path##*/}: exit code" "$status" "$code"
    like "${path##*/}: kind" "$out" "*kind  *$kind*"
    like "${path##*/}: what to do" "$out" "*$also*"
    inspect "$path" --json
    ok "${path##*/}: is JSON" is_json
    like "${path##*/}: kind as JSON" "$out" "*\"kind\": \"$kind\"*"
    inspect "$path" --verify
    is "${path##*/}: --verify" "$status" "$code"
done <<END
$scratch/tiny/model.safetensors|0|weights of a model (Hugging Face)|lorac inspect $scratch/tiny
$scratch/model-00001-of-00002.safetensors|0|one shard of a model (Hugging Face)|put its config.json beside it
$scratch/no-name|0|weights of a model (Hugging Face)|config.json
$scratch/run/adapter/adapter_model.safetensors|0|weights of an adapter (PEFT)|lorac inspect $scratch/run/adapter
$scratch/alone.safetensors|0|weights of an adapter (PEFT)|adapter_config.json
$scratch/adapters.safetensors|1|an MLX adapter (mlx_lm.lora)|mlx_lm.fuse
$scratch/tiny/tokenizer.json|0|tokenizer|byte-level BPE, 260 ids
$scratch/tiny/tokenizer_config.json|0|settings of a tokenizer (Hugging Face)|lorac inspect $scratch/tiny
$scratch/tiny/config.json|0|configuration of a model (Hugging Face)|vocabulary      260
$scratch/generation_config.json|0|settings of generation (Hugging Face)|eos_token_id
$scratch/model.safetensors.index.json|0|list of a model's shards (Hugging Face)|tensors  *1
$scratch/run/adapter/adapter_config.json|0|configuration of an adapter (PEFT)|lora alpha      8
$scratch/run/adapter/lorac.json|0|lorac's notes about an adapter or a merged model (lorac.json)|base fingerprint
$scratch/run/run.json|0|training run|status          finished
$scratch/run/metrics.jsonl|0|metrics of a run|last step
$scratch/run.yaml|0|configuration of a run|lorac plan
$scratch/some.yaml|1|YAML|x
$scratch/gguf-without-a-name|0|model (GGUF)|does not end in .gguf
$scratch/checkpoint-without-a-name|0|checkpoint|does not end in .h5
$scratch/mlx.json|1|configuration of an MLX adapter|mlx_lm.fuse
$scratch/params.json|1|configuration of a model (Meta's params.json)|convert_llama_weights_to_hf
$scratch/list.json|1|records (a JSON list)|lorac data show
$scratch/records.jsonl|1|records (JSON lines)|lorac data show
$scratch/records.csv|1|records (CSV)|data.train
$scratch/records.parquet|1|Parquet table|to_json
$scratch/a.json|1|JSON of a kind that lorac does not know|
$scratch/nothing-in-it|1|empty file|
$scratch/pytorch_model.bin|1|PyTorch or pickle file|save_pretrained
$scratch/consolidated.00.pth|1|PyTorch file|may hold programs
$scratch/weights.npz|1|NumPy archive (.npz)|safetensors
$scratch/w.npy|1|NumPy array|safetensors
$scratch/ggml-model.bin|1|model of llama.cpp before GGUF (ggjt)|.gguf
$scratch/unknown|1|file of a kind that lorac does not know|
END
inspect "$scratch/my-tokens.json"
like "a tokenizer under another name is one" "$out" "*kind  *tokenizer*"
if [ -f "$LORAC_TEST_DATA/llama2-tokenizer/tokenizer.model" ]; then
    inspect "$LORAC_TEST_DATA/llama2-tokenizer/tokenizer.model"
    like "tokenizer.model" "$out" "*kind  *tokenizer*SentencePiece BPE, 32000 ids, bos 1, eos 2*"
else
    skip "tokenizer.model" "no fixtures"
fi
cp "$scratch/other/model.safetensors" "$scratch/nan.safetensors"
damaged "a safetensors file with a NaN" "*✗ values*1 are NaN or infinite*" "$scratch/nan.safetensors"

echo '{"instruction": "x", "output": "y"}' >>"$scratch/records.jsonl"
damaged "records that were added" "*✗ $scratch/records.jsonl*on record is*" "$scratch/run"

# A checkpoint whose seal is right and whose numbers are not: its moments are infinite.
perl -MDigest::SHA=sha256_hex -e '
    local $/; open my $in, "<:raw", $ARGV[0]; my $x = <$in>; my $body = substr $x, 512;
    # the last array of numbers that is not zero: any float32 will do
    my $at = -1; for (my $i = length($body) - 4000; $i > 4096; $i -= 4) {
        my ($v) = unpack "f<", substr $body, $i, 4; next unless abs($v) > 1e-9 && abs($v) < 1e-1;
        my ($w) = unpack "f<", substr $body, $i - 4, 4; next unless abs($w) > 1e-9 && abs($w) < 1e-1;
        $at = $i; last }
    die "no number" if $at < 0;
    substr($body, $at, 4) = pack "V", 0x7f800000;
    open my $out, ">:raw", $ARGV[1];
    my $head = sprintf "LORACH5\nversion 1\nbytes %020d\nsha256 %s\n", length $x, sha256_hex $body;
    print $out $head, "\0" x (512 - length $head), $body' "$checkpoint" "$scratch/infinite.h5"
damaged "a checkpoint with an infinite number" "*✓ seal*✗ values*1 are NaN or infinite*" "$scratch/infinite.h5"
inspect "$checkpoint" --verify
like "a checkpoint: its values are looked at" "$out" "*✓ values*of which 0 are NaN or infinite*"
inspect "$scratch/adapter.gguf" --verify
like "a GGUF adapter: its values are looked at" "$out" "*✓ values*"

# Keys of an adapter's configuration that have no effect are shown.
cp -r "$scratch/run/adapter" "$scratch/patterns"
sed -i 's/"bias": "none",/"bias": "none", "alpha_pattern": {"q_proj": 2, "qproj": 3}, "rank_pattern": {"layers.1.mlp.up_proj": 4},/' \
    "$scratch/patterns/adapter_config.json"
inspect "$scratch/patterns"
like "patterns are shown" "$out" "*rank pattern    layers.1.mlp.up_proj: 4*alpha pattern   q_proj: 2, qproj: 3*"
like "a pattern that matches nothing is noted" "$out" '*! adapter*alpha_pattern: "qproj" matches no module*'
ok "one that matches is not" [ "${out/\"q_proj\" matches no/}" = "$out" ]

mkdir "$scratch/empty"
inspect "$scratch/empty"
is "an empty directory: exit code" "$status" 1
like "an empty directory: message" "$err" "*holds neither a model*nor an adapter*nor a run*"
inspect datasets/sample-text.jsonl
is "records: exit code" "$status" 1
inspect "$scratch/nothing"
like "nothing: message" "$err" "*no such file or directory*"
done_testing
