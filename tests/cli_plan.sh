#!/bin/bash
# What `lorac plan` says of memory is what a run then takes, on three shapes and with recomputation.
# Within 5 %: the C library, the threads' stacks and parts of libraries are estimated, the rest is exact.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

if sanitized; then
    echo "1..0 # SKIP AddressSanitizer takes memory of its own"
    exit 0
fi

number() { grep -o "\"$1\": *[0-9]*" | tail -n 1 | sed 's/.*: *//'; }

records() { # records TOKENS VOCABULARY: four examples, the second half of each with loss
    awk -v n="$1" -v v="$2" 'BEGIN {
        srand(1)
        for (e = 0; e < 4; e++) {
            ids = labels = ""
            for (i = 0; i < n; i++) {
                id = int(rand() * v)
                ids = ids (i ? "," : "") id
                labels = labels (i ? "," : "") (i < n / 2 ? -100 : id)
            }
            printf "{\"input_ids\": [%s], \"labels\": [%s]}\n", ids, labels
        }
    }'
}

plan_and_run() { # plan_and_run NAME MODEL TOKENS OVERRIDE...
    local name=$1 model=$2 tokens=$3 planned peak
    shift 3
    cat >"$scratch/run.yaml" <<YAML
model: {path: $scratch/$model}
data: {train: $scratch/$tokens.jsonl, format: tokens}
train: {max_steps: 1, batch_size: 4, pass_tokens: 512}
output: {dir: $scratch/run}
YAML
    rm -rf "$scratch/run"
    run "$LORAC" plan "$scratch/run.yaml" "$@" --json
    is "$name: planned" "$status" 0
    planned=$(number memory_bytes <<<"$out")
    run "$LORAC" train "$scratch/run.yaml" "$@"
    is "$name: ran" "$status$(grep -c 'error' <<<"$err")" 00
    peak=$(number memory_bytes <"$scratch/run/metrics.jsonl")
    ok "$name: $planned bytes planned, $peak taken" \
        awk -v p="$planned" -v t="$peak" 'BEGIN { exit !(t > 0.95 * p && t < 1.05 * p) }'
}

for model in few-135m few-1b few-7b; do tests/make-model "$model" "$scratch/$model" || exit 1; done
records 512 32000 >"$scratch/512.jsonl"
records 128 32000 >"$scratch/128.jsonl"
plan_and_run "135M" few-135m 512
plan_and_run "135M in bf16" few-135m 512 train.activations=bf16
plan_and_run "1.1B" few-1b 128
plan_and_run "7B" few-7b 128
least=$("$LORAC" plan "$scratch/run.yaml" train.memory_budget=100MiB 2>&1 |
    sed -n 's/.*at least \([0-9.]*\) GiB.*/\1/p')
ok "the least that could do is named: ${least:-nothing} GiB" [ -n "$least" ]
done_testing
