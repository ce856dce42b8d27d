#!/bin/bash
# scripts/demo on the tiny base, cut short: what it prints, what it leaves, and that training helps.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

# of KEY ROW: a row of the closing table, "before  2.3456  0 %" as "2.3456 0".
row() { sed -n "s/^$1  *\([0-9.]*\)  *\([0-9]*\) %\$/\1 \2/p" <<<"$out"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && b != "" && a + 0 < b + 0) }'; }

dir=$scratch/demo
short=(train.max_steps=60 train.num_epochs=1)
run env NO_COLOR=1 LORAC="$LORAC" scripts/demo --tiny --dir "$dir" "${short[@]}"
is "exit code" "$status" 0
[ "$status" = 0 ] || echo "# $err"
like "the model" "$out" "*== 1. The model ==
base model: checkpoints/tiny-base
*"
like "a held-out record and its answer" "$out" "*Sort this support ticket*Category: *Summary: *"
like "the commands, as one would type them" "$out" "*
\$ lorac train configs/demo-tiny.yaml output.dir=*"
like "progress as plain lines" "$err" "*step 60/60 *loss *tokens/s*"

read -r loss_before match_before < <(row before)
read -r loss_after match_after < <(row 'with the adapter')
read -r loss_merged match_merged < <(row merged)
ok "held-out loss halves" less "$loss_after" "$(awk "BEGIN { print $loss_before / 2 }")"
ok "no exact match before" less "$match_before" 5
ok "exact matches after" less "$match_before" "$match_after"
ok "merged: as many within two" less "$match_merged" $((match_after + 4))
ok "merged: as many within two" less "$match_after" $((match_merged + 4))
ok "merged: loss" [ "${loss_merged%??}" = "${loss_after%??}" ]
like "the closing line" "$out" "*The merged model gives the same three answers*Training took * s, everything * s."*

for f in train/adapter/adapter_model.safetensors train/adapter/adapter_config.json \
    merged/config.json merged/model.safetensors merged/tokenizer.model; do
    ok "$f" [ -s "$dir/$f" ]
done

run scripts/demo --tinny
is "an unknown option: exit code" "$status" 2
mkdir "$scratch/mine" && touch "$scratch/mine/thesis"
run env LORAC="$LORAC" scripts/demo --tiny --dir "$scratch/mine"
is "a directory of somebody else: exit code" "$status" 1
like "a directory of somebody else: message" "$err" "demo: $scratch/mine: holds something else*"
ok "a directory of somebody else: left alone" [ -e "$scratch/mine/thesis" ]

done_testing
