#!/bin/bash
# lorac bench measures what it is asked for and says so. No test asks how fast.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache

small=(--layers 2 --examples 1 --length 64 --steps 1 --rounds 1)
run "$LORAC" bench --parts steps,adapters "${small[@]}"
is "steps: exit code" "$status" 0
like "steps: the shape" "$out" "*shape 135m (SmolLM2-135M)*"
like "steps: what was measured" "$out" "*step of 1 x 64 tokens, r 16 on all linear layers, bf16 weights, 2 layers*"
like "steps: the share" "$out" "*% of the wall*"
like "steps: nothing is computed twice" "$out" "*keep all 2, all but the MLP 0, their input only 0*"
like "steps: layers that were left out" "$out" "*2 of 30 layers were measured; all would take 15.0 times as long*"
like "adapters: the factor" "$out" "*more work, a factor of *"
ok "the weights are kept" test -s "$scratch/cache/lorac/bench/135m-2-layers/model.safetensors"

run "$LORAC" bench --parts products,attention --tokens 32 "${small[@]}" --json
is "json: exit code" "$status" 0
is "json: every product of a layer, forward and back" "$(python3 -c '
import json, sys
b = json.load(sys.stdin)
assert b["fma_gflops"] > 0 and b["shape"] == "135m" and len(b["attention"]) == 1, b
shares = [p[t] for p in b["products"] for t in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")]
print(len(b["products"]), all(s > 0 for s in shares))' <<<"$out")" "8 True"

run "$LORAC" bench --compute bf16 --parts products,steps --tokens 32 "${small[@]}" --json
is "bf16: exit code" "$status" 0
is "bf16: beside f32, in products of every type and in steps" "$(python3 -c '
import json, sys
b = json.load(sys.stdin)
gains = [p["gain"][t] for p in b["products"] for t in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")]
print(b["compute"], len(b["products"]), all(g > 0 for g in gains), b["step"]["gain"] > 0,
      all(p["share_of_twice_sgemm"] > 0 for p in b["products"]))' <<<"$out")" "bf16 8 True True True"
like "bf16: the table" "$err" "*sgemm    f32   bf16  limit*"
like "bf16: the step" "$err" "*with train.compute: bf16, * times as fast as in f32*"

# A budget a little smaller than all that it keeps, then one below the minimum.
run "$LORAC" bench --parts steps "${small[@]/64/192}" --json
planned=$(python3 -c 'import json, sys; print(int(json.load(sys.stdin)["step"]["planned_bytes"]))' <<<"$out")
weights=$(stat -c %s "$scratch/cache/lorac/bench/135m-2-layers/model.safetensors")
run "$LORAC" bench --parts steps "${small[@]/64/192}" --memory-budget "$((planned + weights - 3000000))B"
is "a budget that makes a layer compute twice: exit code" "$status" 0
like "a budget that makes a layer compute twice" "$out" "*with what is computed twice counted twice*"
run "$LORAC" bench --parts steps "${small[@]}" --memory-budget 80MB
is "a budget that cannot hold the step: exit code" "$status" 1
like "a budget that cannot hold the step" "$err" "*memory_budget*need at least*"

refused() { # refused NAME PATTERN OPTION...
    run "$LORAC" bench "${@:3}"
    is "$1: exit code" "$status" 2
    like "$1: the message" "$err" "$2"
}
refused "a size without unit" "*--memory-budget: found*18*wanted a size such as 18GB*" --memory-budget 18
refused "an unknown part" "*--parts: found*stpes*wanted products, attention*" --parts stpes
refused "an unknown shape" "*--shape*3b*135m*" --shape 3b
refused "tokens that are not a number" "*--tokens: found*many*" --tokens many
done_testing
