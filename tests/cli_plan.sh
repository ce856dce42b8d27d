#!/bin/bash
# The memory that `lorac plan` predicts is never less than the peak of the run, nor far more, on
# three shapes and in bf16; train says the same number.
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
    local name=$1 model=$2 tokens=$3 planned peak said
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
    is "$name: the run ends without an error" "$status$(grep -c 'error' <<<"$err")" 00
    peak=$(number memory_peak_bytes <"$scratch/run/run.json")
    ok "$name: $planned bytes planned, $peak taken at most" \
        awk -v p="$planned" -v t="$peak" \
        'BEGIN { exit !(t > 0 && t <= p && (t > 0.9 * p || p - t < 48 * 1048576)) }'
    said=$(sed -n 's/^memory  *\(.*\) at most, of .*/\1/p' <<<"$err")
    is "$name: train and plan say the same" "$said" \
        "$("$LORAC" plan "$scratch/run.yaml" "$@" 2>/dev/null | sed -n 's/^memory  *\(.*\) at most.*/\1/p')"
    is "$name: and so does the end" \
        "$(sed -n 's/^peak .* of memory, of \(.*\) at most/\1/p' <<<"$err")" "$said"
}

for model in few-135m few-1b few-7b; do tests/make-model "$model" "$scratch/$model" || exit 1; done
records 512 32000 >"$scratch/512.jsonl"
records 128 32000 >"$scratch/128.jsonl"
plan_and_run "135M" few-135m 512
plan_and_run "135M in bf16" few-135m 512 train.activations=bf16 train.compute=bf16
plan_and_run "1.1B" few-1b 128
plan_and_run "7B" few-7b 128
least=$("$LORAC" plan "$scratch/run.yaml" train.memory_budget=100MiB 2>&1 |
    sed -n 's/.*at least \([0-9.]*\) GiB.*/\1/p')
ok "the least that could do is named: ${least:-nothing} GiB" [ -n "$least" ]
done_testing
