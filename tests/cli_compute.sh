#!/bin/bash
# train.compute: bf16 and --compute, from the configuration to answers; what is said of it; and the
# same bits on more threads than there are processors, in both modes. No test asks how fast.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache
unset LORAC_GEMM

base=checkpoints/tiny-base
of() { sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p"; } # of KEY: of the JSON on stdin
near() { # near A B SHARE: whether they differ by less than that share of B
    awk -v a="$1" -v b="$2" -v share="$3" 'BEGIN { d = (a - b) / b; print (d < share && d > -share) ? "yes" : "no" }'
}
words=(zero one two three four)
for i in {0..4}; do
    echo "{\"prompt\": \"Which colour has box ${words[i]}?\", \"completion\": \"Box ${words[i]} is $((i % 3 + 1)) red.\"}"
done >"$scratch/facts.jsonl"
cat >"$scratch/run.yaml" <<YAML
model: { path: $base }
data: { train: $scratch/facts.jsonl, validation: [$scratch/facts.jsonl], template: alpaca, format: prompt_completion }
adapter: { r: 8, lora_alpha: 16 }
train: { max_steps: 25, batch_size: 5, learning_rate: 1.0e-2, eval_steps: 25, eval_on_start: false, compute: bf16 }
output: { dir: $scratch/run }
YAML

# ---- before the run ------------------------------------------------------------------------------
slower="*products in bf16 are no faster than in f32 on this CPU*train.compute: f32 rounds less*"
run "$LORAC" doctor
like "doctor: the set that computes bf16" "$out" "*bf16 *train.compute: bf16 by *; *er than f32*"
[[ $out == *"; no faster than f32"* ]] && slow=yes || slow=no
says_slow() { # says_slow NAME: after a run
    if [ "$slow" = yes ]; then
        like "$1: bf16 is no faster here" "$err" "$slower"
    else
        is "$1: no line about the speed" "${err/are no faster than in f32/}" "$err"
    fi
}
run "$LORAC" plan "$scratch/run.yaml"
is "plan: exit code" "$status" 0
like "plan: the set" "$out" "*compute    frozen products in bf16 by *; all else in f32*"
like "plan: both rates" "$out" "*GFLOP/s in frozen products and * in f32*"
says_slow plan
run "$LORAC" plan "$scratch/run.yaml" --json
bf16=$(of memory_bytes <<<"$out")
is "plan --json: the word" "$(of compute <<<"$out")" bf16
run "$LORAC" plan "$scratch/run.yaml" train.compute=f32 --json
is "plan --json: the word of f32" "$(of compute <<<"$out")" f32
is "plan: memory is that of f32 within 1 %" \
    "$(near "$bf16" "$(of memory_bytes <<<"$out")" 0.01)" yes
run env LORAC_GEMM=blas "$LORAC" train "$scratch/run.yaml"
is "products by BLAS have no bf16: exit code" "$status" 2
like "products by BLAS have no bf16: the message" "$err" "*LORAC_GEMM=blas*f32 only*"

# ---- the run, and what it leaves -----------------------------------------------------------------
run "$LORAC" train "$scratch/run.yaml"
is "train: exit code" "$status" 0
like "train: the header" "$err" "*frozen products in bf16 by *; all else in f32*"
says_slow train
for what in "$scratch/run" "$scratch/run/adapter" "$scratch/run/step-000025.h5" "$scratch/run/adapter/lorac.json"; do
    run "$LORAC" inspect "$what"
    like "inspect ${what#"$scratch/"}: the word" "$out" "*compute *bf16*"
done

# ---- evaluation is training's, and exact match is what generate answers --------------------------
trained=$(tail -n 1 "$scratch/run/metrics.jsonl")
run "$LORAC" eval "$scratch/run.yaml" --no-base --json
is "eval of a run: exit code" "$status" 0
own=$out
like "eval of a run: in which numbers" "$err" "*products with the weights are in bf16 by *"
is "eval of a run: the word" "$(of compute <<<"$own")" bf16
is "eval of a run: the loss is training's" "$(near "$(of loss <<<"$own")" "$(of eval_loss <<<"$trained")" 1e-6)" yes
is "eval of a run: exact match is training's" "$(of exact_match <<<"$own")" "$(of eval_exact_match <<<"$trained")"
asked=(--adapter "$scratch/run/adapter" --data "$scratch/facts.jsonl" --format prompt_completion --no-base --json)
note="*run/adapter: was trained with train.compute: bf16, and computes here in f32, which rounds less; --compute bf16*"
run "$LORAC" eval "${asked[@]}" --compute bf16
is "eval --compute bf16: the run's own numbers" "$out" "$own"
is "eval --compute bf16: no note about f32" "${err/computes here in f32/}" "$err"
run "$LORAC" eval "${asked[@]}"
is "eval: f32 by default" "$(of compute <<<"$out")" f32
like "eval: the adapter computes otherwise than it was trained" "$err" "$note"
is "eval: another loss" "$([ "$(of loss <<<"$out")" != "$(of loss <<<"$own")" ] && echo another)" another
run "$LORAC" eval "$scratch/run.yaml" --compute f32
is "eval of a run: --compute is refused" "$status" 2
like "eval of a run: the configuration says it" "$err" "*--compute exclude each other: write train.compute=C after it*"
right=0
for i in {0..4}; do
    run "$LORAC" generate --adapter "$scratch/run/adapter" --compute bf16 "Which colour has box ${words[i]}?"
    [ "$out" = "Box ${words[i]} is $((i % 3 + 1)) red." ] && right=$((right + 1))
done
is "exact match is what generate answers in bf16" "$right" "$(printf '%.0f' "$(awk "BEGIN { print 5 * $(of exact_match <<<"$own") }")")"
is "and some answers are right" "$((right > 0))" 1
like "generate: in which numbers" "$err" "*products with the weights are in bf16 by *"
answer=$out
run "$LORAC" chat --adapter "$scratch/run/adapter" --compute bf16 --temperature 0 <<<"Which colour has box four?"
like "chat: the same answer" "$out" "*$answer*"
run "$LORAC" generate --adapter "$scratch/run/adapter" --max-new-tokens 1 "Which colour has box one?"
like "generate: f32 by default, and a note" "$err" "$note"
run "$LORAC" merge --adapter "$scratch/run/adapter" -o "$scratch/merged"
is "merge: no such note" "${err/computes here in/}" "$err"

# ---- both words in a sweep -----------------------------------------------------------------------
run "$LORAC" sweep "$scratch/run.yaml" train.compute=f32,bf16 train.max_steps=1 train.eval_steps=1 \
    "output.dir=$scratch/sweep"
is "sweep: exit code" "$status" 0
run "$LORAC" sweep --table "$scratch/sweep"
like "sweep: the column" "$out" "*compute*"
is "sweep: a row for each word" "$(grep -cE '^ +(f32|bf16) +1 ' <<<"$out")" 2

# ---- more threads than processors ----------------------------------------------------------------
for compute in f32 bf16; do
    for threads in 1 8 64; do
        run env OMP_NUM_THREADS="$threads" "$LORAC" train "$scratch/run.yaml" train.max_steps=2 \
            data.validation=0 train.compute="$compute" "output.dir=$scratch/$compute-$threads"
        hash=$(sha256sum <"$scratch/$compute-$threads/adapter/adapter_model.safetensors")
        [ "$threads" = 1 ] && wanted=$hash
        is "$compute: $threads threads, the same adapter" "$hash" "$wanted"
    done
done
is "the two modes give two adapters" "$(sha256sum "$scratch"/{f32,bf16}-1/adapter/adapter_model.safetensors |
    cut -d' ' -f1 | sort -u | wc -l)" 2
done_testing
