#!/bin/bash
# A template of the user's own: from the configuration into the adapter, and on to generation.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

model=$LORAC_TEST_DATA/stories260K-hf
if [ ! -d "$model" ]; then
    echo "1..0 # SKIP no $model"
    exit 0
fi
config=$scratch/run.yaml
cat >"$config" <<YAML
model: {path: $model}
data:
  train: datasets/sample-prompt_completion.jsonl
  template:
    name: desk
    user: "Customer: {user}\n"
    assistant: 'Desk: {answer}{eos}'
  max_length: 256
adapter: {r: 2}
train: {max_steps: 1, batch_size: 2}
output: {dir: $scratch/run}
YAML

run "$LORAC" train "$config"
is "a run with a template of its own: exit code" "$status" 0
definition='{\"name\": \"desk\", \"user\": \"Customer: {user}\\n\", \"assistant\": \"Desk: {answer}{eos}\"}'
like "lorac.json holds the definition" "$(<"$scratch/run/adapter/lorac.json")" "*\"template\": \"${definition//\\/\\\\}\"*"
like "the resolved configuration too" "$(<"$scratch/run/config.yaml")" \
    '*template: {name: desk, user: "Customer: {user}\\U0000000a", assistant: "Desk: {answer}{eos}"}*'
like "the model card says so" "$(<"$scratch/run/adapter/README.md")" "*its own, in lorac.json*"

run "$LORAC" train "$scratch/run/config.yaml" "output.dir=$scratch/again"
ok "and repeats the run" cmp -s "$scratch/run/adapter/adapter_model.safetensors" \
    "$scratch/again/adapter/adapter_model.safetensors"

generate() { run "$LORAC" generate --model "$model" --prompt Hi --max-new-tokens 3 "$@"; }
generate --adapter "$scratch/run/adapter"
by_adapter=$out
is "generation takes it from the adapter" "$status" 0
generate --adapter "$scratch/run/adapter" --template '{"user": "Customer: {user}\n", "assistant": "Desk: {answer}{eos}"}'
is "and from the command line" "$out" "$by_adapter"

run "$LORAC" train "$config" 'data.template={like: plain, user: x}' "output.dir=$scratch/other"
is "an impossible definition: exit code" "$status" 2
like "an impossible definition" "$err" \
    '*override data.template: template: user: found {user} 0 times, wanted it once*'
run "$LORAC" train "$config" 'data.template={like: alpca}' "output.dir=$scratch/other"
like "like an unknown one" "$err" '*override data.template: template: like: found "alpca", wanted one of alpaca *'

# a tree's answers count once, and all of its paths are one example
cat >"$scratch/tree.yaml" <<YAML
model: {path: $model}
data: {train: datasets/sample-oasst.jsonl, template: plain}
adapter: {r: 2}
train: {max_steps: 1, batch_size: 3}
output: {dir: $scratch/tree}
YAML
run "$LORAC" train "$scratch/tree.yaml"
is "a run on trees: exit code" "$status" 0
run "$LORAC" train "$scratch/tree.yaml" "train.share_prefixes=false" "output.dir=$scratch/tree2"
losses() { sed -n 's/.*"loss": \([0-9.]*\),.*/\1/p' "$1/metrics.jsonl" | cut -c1-7; }
is "sharing changes nothing" "$(losses "$scratch/tree")" "$(losses "$scratch/tree2")"
done_testing
