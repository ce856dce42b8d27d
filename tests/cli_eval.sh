#!/bin/bash
# lorac eval: base and adapter on the same records, against an evaluation of each by itself; wrong
# answers beside the right ones, against what generate answers; a run's adapter on another file.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

base=checkpoints/tiny-base
# of PATH: base.loss and the like, of the JSON on stdin
of() {
    python3 -c 'import json, sys
v = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    v = v[int(key)] if isinstance(v, list) else v[key]
print(v)' "$1"
}
python() { python3 -c "print($1)"; }

# Facts that the run learns, of which two are kept aside; then some that it learns otherwise.
words=(zero one two three four five six seven eight nine)
for i in {0..9}; do
    echo "{\"prompt\": \"Which colour has box ${words[i]}?\", \"completion\": \"Box ${words[i]} is $((i % 3 + 1)) red.\"}"
done >"$scratch/facts.jsonl"
{
    sed -n '1,3p' "$scratch/facts.jsonl"
    printf '%s\n' '{"prompt": "Which colour has box ten?", "completion": "No\nsuch box."}'
    sed -n '4p' "$scratch/facts.jsonl" | sed 's/red/blue/'
} >"$scratch/asked.jsonl"
cat >"$scratch/run.yaml" <<END
model: {path: $base}
data: {train: $scratch/facts.jsonl, template: alpaca, format: prompt_completion}
adapter: {r: 8, lora_alpha: 16}
train: {max_steps: 40, batch_size: 10, learning_rate: 1.0e-2}
output: {dir: $scratch/run}
END
run "$LORAC" eval "$scratch/run.yaml"
is "no run yet: exit code" "$status" 1
like "no run yet: what to do" "$err" "*output.dir: $scratch/run: there is no run yet; lorac train makes it"
run "$LORAC" train "$scratch/run.yaml"
is "a run: exit code" "$status" 0
adapter=$scratch/run/adapter

# ---- base, adapter, difference -------------------------------------------------------------------
asked=(--data "$scratch/asked.jsonl" --template alpaca --format prompt_completion)
run "$LORAC" eval --model $base "${asked[@]}" --json
is "the base by itself: exit code" "$status" 0
alone=$out
is "the base by itself: nothing to compare" "$(grep -c '"base"\|"difference"' <<<"$out")" 0
run "$LORAC" eval --model $base --adapter "$adapter" --no-base "${asked[@]}" --json
with=$out
is "--no-base: no base" "$(grep -c '"base"' <<<"$out")" 0
run "$LORAC" eval --model $base --adapter "$adapter" "${asked[@]}" --json
both=$out
for key in loss perplexity targets tokens examples token_accuracy exact_match; do
    is "both: $key of the adapter is that of the adapter by itself" "$(of $key <<<"$both")" "$(of $key <<<"$with")"
    is "both: $key of the base is that of the base by itself" "$(of base.$key <<<"$both")" "$(of $key <<<"$alone")"
done
for key in loss perplexity token_accuracy exact_match; do
    is "both: difference of $key" "$(python "abs($(of difference.$key <<<"$both") -
        ($(of $key <<<"$with") - $(of $key <<<"$alone"))) < 1e-10")" True
done
is "both: training helped" "$(python "$(of difference.loss <<<"$both") < -1")" True

run "$LORAC" eval --model $base --adapter "$adapter" "${asked[@]}"
is "the table" "$(sed 's/[0-9.]\{1,\}/N/g; s/  */ /g' <<<"$out")" " base adapter difference
loss N N -N
perplexity N N -N
token accuracy N N +N
exact match N of N N of N +N
targets N of N tokens"
is "the table: as wide as it has to be" "$(awk 'NR == 1 { n = length } length > n { n = length } END { print n <= 46 }' <<<"$out")" 1
is "the table: exact match as counts" "$(sed -n 's/^exact match .* \([0-9]* of 5\)  *+.*/\1/p' <<<"$out")" \
    "$(python "round(5 * $(of exact_match <<<"$with"))") of 5"
run "$LORAC" eval --model $base "${asked[@]}"
is "one column for the base by itself" "$(sed -n 1,4p <<<"$out" | sed 's/[0-9.]\{1,\}/N/g; s/  */ /g')" "loss N
perplexity N
token accuracy N
exact match N of N"

# ---- a run ---------------------------------------------------------------------------------------
run "$LORAC" eval "$scratch/run.yaml" --json
is "a run: exit code" "$status" 0
like "a run: which adapter, which records" "$err" \
    "*note: $scratch/run is a run's directory without best/*$adapter on 10 examples of the training data: no records are kept aside*"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/asked.jsonl" --json
is "a run and a file: exit code" "$status" 0
is "a run and a file: the run's template, format, base and adapter" "$out" "$both"
like "a run and a file: some of it was trained on" "$err" \
    "*note: $scratch/asked.jsonl: the run was trained on 3 of its 5 examples, so the loss looks better than it is*"
run "$LORAC" eval "$scratch/run.yaml" data.format=alpaca data.template=plain --data "$scratch/asked.jsonl" --json \
    "data.train=[{path: $scratch/facts.jsonl, format: prompt_completion, template: alpaca, weight: 2}, $scratch/none.jsonl]"
is "a run of several files, and a file: read as the first of them" "$out" "$both"
sed -n 4,5p "$scratch/asked.jsonl" >"$scratch/new.jsonl"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/new.jsonl"
ok "a file that is all new: no note about it" [ "${err/new.jsonl: /}" = "$err" ]
like "a file that is all new: it is named" "$err" "*$adapter on 2 examples of $scratch/new.jsonl"
cp "$scratch/facts.jsonl" "$scratch/kept"
echo '{"prompt": "a", "completion": "b"}' >>"$scratch/facts.jsonl"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/new.jsonl"
like "the run's data have changed: said" "$err" "*new.jsonl: it is not known whether*its data files have changed since*"
mv "$scratch/facts.jsonl" "$scratch/away"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/new.jsonl"
is "the run's data are gone: a file is still evaluated" "$status" 0
like "the run's data are gone: said" "$err" "*new.jsonl: it is not known whether the run was trained on records of it: *facts.jsonl: No such file*"
mv "$scratch/kept" "$scratch/facts.jsonl"
run "$LORAC" eval "$scratch/run.yaml" --data datasets/sample-alpaca.jsonl --format alpaca
is "--format: another format than the run's" "$status" 0
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/none.jsonl"
is "no such file: exit code" "$status" 1
like "no such file: message" "$err" "lorac: --data $scratch/none.jsonl: no such file"
for option in --model=x --adapter=x --template=x --tokenizer=x --train-on=responses; do
    run "$LORAC" eval "$scratch/run.yaml" $option
    is "a configuration and $option: exit code" "$status" 2
    like "a configuration and $option: what to write" "$err" "*a configuration and ${option%=*} exclude each other: write *"
done
run "$LORAC" eval "$scratch/run.yaml" --format alpaca
is "--format without --data: exit code" "$status" 2

run "$LORAC" eval "$scratch/run" --data "$scratch/asked.jsonl" --json
is "a run's directory: its configuration" "$out" "$both"
cp -r "$scratch/run" "$scratch/moved"
run "$LORAC" eval "$scratch/moved"
like "a run's directory that was moved: its own adapter" "$err" "*$scratch/moved/adapter on 10 examples*"

# The validation part of a run, with its best adapter.
sed "s/facts.jsonl, /&validation: 0.3, /; s/40, /6, eval_steps: 3, /; s/dir: .*run/&-aside/" "$scratch/run.yaml" >"$scratch/aside.yaml"
run "$LORAC" train "$scratch/aside.yaml"
run "$LORAC" eval "$scratch/aside.yaml" --json
like "a run with validation: its best adapter" "$err" "*$scratch/run-aside/best on 3 examples of the validation part*"
is "a run with validation: no note about best/" "$(grep -c 'without best/' <<<"$err")" 0
is "a run with validation: its loss is what the run found" "$(of loss <<<"$out" | cut -c 1-8)" \
    "$(python3 -c 'import json, sys
print(min(json.loads(l)["eval_loss"] for l in open(sys.argv[1]) if "eval_loss" in l))' "$scratch/run-aside/metrics.jsonl" | cut -c 1-8)"

# ---- wrong answers -------------------------------------------------------------------------------
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/asked.jsonl" --show 5
is "--show: exit code" "$status" 0
text=$out
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/asked.jsonl" --show 5 --json
wrong=$(python "5 - round(5 * $(of exact_match <<<"$out"))")
is "--show: as many as are wrong" "$(python3 -c 'import json, sys; print(len(json.load(sys.stdin)["wrong_answers"]))' <<<"$out")" "$wrong"
ok "--show: those that were never learnt are" [ "$wrong" -ge 2 ]
like "--show: how many" "$text" "*wrong answers   $wrong, of which $wrong are shown*"
json=$out
for i in $(seq 0 $((wrong - 1))); do
    line=$(of "wrong_answers.$i.line" <<<"$json")
    question=$(sed -n "${line}p" "$scratch/asked.jsonl" | of prompt)
    is "--show $i: file" "$(of "wrong_answers.$i.file" <<<"$json")" "$scratch/asked.jsonl"
    is "--show $i: the question of the record, without the template" "$(of "wrong_answers.$i.prompt" <<<"$json")" "$question"
    is "--show $i: its right answer" "$(of "wrong_answers.$i.right" <<<"$json")" "$(sed -n "${line}p" "$scratch/asked.jsonl" | of completion)"
    said=$("$LORAC" generate --adapter "$scratch/run" "$question" 2>/dev/null)
    is "--show $i: what generate answers" "$(of "wrong_answers.$i.answer" <<<"$json")" "$(sed 's/^ *//; s/ *$//' <<<"$said")"
    like "--show $i: the same for people" "$text" "*
$scratch/asked.jsonl:$line
  prompt   $question
  right    *
  adapter  $(of "wrong_answers.$i.answer" <<<"$json" | sed '2,$s/^/           /')*"
done
like "--show: further lines of an answer below its first" "$text" "*
  right    No
           such box.
*"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/asked.jsonl" --show 1
is "--show 1: one" "$(grep -c '^  right ' <<<"$out")" 1
run "$LORAC" eval --model $base "${asked[@]}" --show 1
like "--show of a base: the model's answer" "$out" "*
  model    *"
long=$(printf 'word%.0s ' {1..100})
echo "{\"prompt\": \"$long last\", \"completion\": \"x\"}" >"$scratch/long.jsonl"
run "$LORAC" eval "$scratch/run.yaml" --data "$scratch/long.jsonl" --show 1
is "--show: the end of a long question, in one line, from a word on" \
    "$(sed -n 's/^  prompt   \(\.\.\. word word .*\) last$/\1/p' <<<"$out" | wc -l)" 1
ok "--show: a long question is short" [ "$(sed -n '/^  prompt/p' <<<"$out" | wc -c)" -le 180 ]
run "$LORAC" eval --model $base --data datasets/sample-text.jsonl --show 3
is "--show of texts: exit code" "$status" 0
like "--show of texts: said" "$err" "*note: --show: * left out: everything in them is learnt*"
golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
run "$LORAC" eval --model "$golden/model" --data "$golden/batch.jsonl" --format tokens --show 3
is "--show of token ids: exit code" "$status" 2
like "--show of token ids: message" "$err" "*--show: there is no tokenizer*"
marks=$(grep -c "Which colour" <<<"$err$(cat "$scratch"/cache/lorac/* 2>/dev/null)")
is "--show: no text of a record on stderr" "$marks" 0

done_testing
