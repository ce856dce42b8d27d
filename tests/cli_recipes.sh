#!/bin/bash
# Every recipe in configs/ is planned as it is, on records of the format that it names and on a
# model of the shape that it names, whose weights are a hole in a file: so no recipe becomes wrong
# unnoticed. One value in the hole is NaN: code that reads the weights would refuse the model.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

root=$PWD
case $LORAC in /*) ;; *) LORAC=$root/$LORAC ;; esac
mkdir -p "$scratch/models" "$scratch/datasets" "$scratch/checkpoints"
ln -s "$root/configs" "$scratch/configs"

# The names that recipes give models, and their shapes. The demos have their own (scripts/demo).
declare -A shapes=(
    [models/Llama-2-7b-hf]=7b
    [models/Llama-2-7b-chat-hf]=7b
    [models/Llama-2-13b-hf]=13b
    [models/Llama-2-70b-hf]=70b
    [models/SmolLM2-135M-Instruct.Q4_1.gguf]=tiny
    [checkpoints/tiny-base]=tiny
)
for path in "${!shapes[@]}"; do
    tests/make-model "${shapes[$path]}" "$scratch/made" || exit 1
    mv "$scratch/made" "$scratch/$path"
done
many() { # many FORMAT: records, %d is their number; so many that a hundredth is still some
    awk -v format="$1" 'BEGIN { for (i = 1; i <= 1500; i++) { s = format; gsub(/%d/, i, s); print s } }'
}
many '{"instruction": "Question number %d?", "input": "", "output": "Answer %d."}' \
    >"$scratch/datasets/alpaca.jsonl"
many '{"prompt": "Question number %d?", "completion": "Answer %d."}' \
    >"$scratch/datasets/our-answers.jsonl"
{
    echo '['
    many '{"conversations": [{"from": "human", "value": "Hi %d"}, {"from": "gpt", "value": "Hello."}]},'
    echo '{"conversations": [{"from": "human", "value": "Bye"}, {"from": "gpt", "value": "Bye."}]}]'
} >"$scratch/datasets/conversations.json"
ln -s "$root"/datasets/support-desk*.jsonl "$scratch/datasets/"

number() { grep -o "\"$1\": *[0-9]*" <<<"$out" | sed 's/.*: *//'; }

recipes=0
for recipe in configs/*.yaml; do
    recipes=$((recipes + 1))
    model=$(sed -n 's/^  path: *\([^ ]*\).*/\1/p' "$recipe")
    ok "$recipe: its model is known here" [ -n "${shapes[$model]:-}" ]
    overrides=(train.memory_budget=512GiB)
    # the tiny model has no chat template of its own
    [ "${model/SmolLM2/}" = "$model" ] || overrides+=(data.template=chatml)
    run env -C "$scratch" "$LORAC" plan "$recipe" "${overrides[@]}" --json
    is "$recipe: planned as it is" "$status$err" 0
    ok "$recipe: the weights are part of the plan" [ "$(number weight_bytes)" -gt 100000 ]
    ok "$recipe: more than the weights" [ "$(number memory_bytes)" -gt "$(number weight_bytes)" ]
    ok "$recipe: steps" [ "$(number steps)" -gt 0 ]
    case ${shapes[$model]:-} in
    7b) is "$recipe: 7B's weights" "$(number weight_bytes)" 13476831232 ;;
    13b) is "$recipe: 13B's weights" "$(number weight_bytes)" 26031728640 ;;
    70b) is "$recipe: 70B's weights" "$(number weight_bytes)" 137953296384 ;;
    esac
    is "$recipe: named in configs, explained" \
        "$(grep -c '^ *[a-z_]*:.*#' "$recipe" | awk '{ print ($1 > 0) }')" 1
done
ok "there are recipes" [ "$recipes" -ge 7 ]

done_testing
