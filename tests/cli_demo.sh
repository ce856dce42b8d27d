#!/bin/bash
# scripts/demo on the tiny base, cut short: what it prints, what it leaves, and that training helps.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

# row NAME: a row of the closing table, "before  2.3456  0 %" as "2.3456 0".
row() { sed -n "s/^$1  *\([0-9.]*\)  *\([0-9]*\) %\$/\1 \2/p" <<<"$out"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && b != "" && a + 0 < b + 0) }'; }

# A model that is not there stands for a machine without a network. Use one thread: so small a model
# gains nothing from more, and loses much where others use the machine.
dir=$scratch/demo
steps=60
! sanitized || steps=5
run env NO_COLOR=1 OMP_NUM_THREADS=1 LORAC="$LORAC" LORAC_SMOLLM2_GGUF="$scratch/none" \
    scripts/demo --dir "$dir" train.max_steps=$steps
is "demo: without a download it ends well: exit code" "$status" 0
[ "$status" = 0 ] || echo "# $err"
like "demo: says which model it takes" "$out" "*== 1. The model ==
No model can be downloaded; the tiny base of lorac takes its place.
base model: checkpoints/tiny-base
*"
like "demo: stderr says why no model was downloaded" "$err" "get-smollm2: LORAC_SMOLLM2_GGUF: $scratch/none: no such file*"
like "a held-out record and its answer" "$out" "*Sort this support ticket*Category: *Summary: *"
like "the commands, as one would type them" "$out" "*
\$ lorac train configs/demo-tiny.yaml output.dir=*"
like "progress as plain lines" "$err" "*step $steps/$steps *loss *tokens/s*"

read -r loss_before match_before < <(row before)
read -r loss_after match_after < <(row 'with the adapter')
read -r loss_merged match_merged < <(row merged)
# Three and a half epochs teach the form; exact answers come with the whole demo.
if sanitized; then
    skip "held-out loss falls to an eighth" "a sanitizer's few steps do not teach that"
else
    ok "held-out loss falls to an eighth" less "$(awk "BEGIN { print 8 * $loss_after }")" "$loss_before"
fi
is "no exact match before" "$match_before" 0
ok "merged, in 16 bits: the loss" less "$loss_merged" "$(awk "BEGIN { print 1.02 * $loss_after }")"
ok "merged: at most one answer more or fewer" [ "$(((match_merged - match_after) ** 2))" -le 4 ]
like "the closing line" "$out" "*The merged model gives the same three answers*Training took * s, everything * s."*

for f in train/adapter/adapter_model.safetensors train/adapter/adapter_config.json \
    merged/config.json merged/model.safetensors merged/tokenizer.model; do
    ok "demo: leaves $f" [ -s "$dir/$f" ]
done

run scripts/demo --tinny
is "an unknown option: exit code" "$status" 2
mkdir "$scratch/mine" && touch "$scratch/mine/thesis"
run env LORAC="$LORAC" scripts/demo --tiny --dir "$scratch/mine"
is "a directory of somebody else: exit code" "$status" 1
like "a directory of somebody else: message" "$err" "demo: $scratch/mine: holds something else*"
ok "a directory of somebody else: left alone" [ -e "$scratch/mine/thesis" ]

done_testing
