#!/bin/bash
# lorac data: what show, check and prepare print and refuse, and which files they leave.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=2
cache=$XDG_CACHE_HOME/lorac/data
golden=tests/golden/gqa-tied

config() { # config NAME MODEL TRAIN [LINE OF data]...
    local file=$scratch/$1
    printf 'model:\n  path: %s\ndata:\n  train: %s\n' "$2" "$3" >"$file"
    shift 3
    [ $# = 0 ] || printf '  %s\n' "$@" >>"$file"
    printf 'output:\n  dir: %s\n' "$scratch/run" >>"$file"
}
data() { run "$LORAC" data "$@"; }
json() { # json KEY...: that member of the output
    perl -MJSON::PP -e '$v = decode_json(do { local $/; <STDIN> });
        $v = ref $v eq "ARRAY" ? $v->[$_] : $v->{$_} for @ARGV; print $v' "$@" <<<"$out"
}

# ---- usage ---------------------------------------------------------------------------------------
data --help
is "--help: exit code" "$status" 0
like "--help: has examples" "$out" "*lorac data check run.yaml --json*"
data
is "nothing: exit code" "$status" 2
data shwo x.yaml
is "a wrong word: exit code" "$status" 2
like "a wrong word: the nearest" "$err" "lorac: found \"shwo\", wanted show, check or prepare; did you mean show?"
data show
is "no configuration: exit code" "$status" 2
data check "$scratch/none.yaml"
is "no such configuration: exit code" "$status" 2

# ---- token ids, no tokenizer ---------------------------------------------------------------------
config tokens.yaml $golden/model $golden/batch.jsonl 'format: tokens'
n=$(wc -l <$golden/batch.jsonl)
data check "$scratch/tokens.yaml" --json
is "tokens: check: exit code" "$status" 0
is "tokens: check: records" "$(json training records)" "$n"
is "tokens: check: examples" "$(json training examples)" "$n"
is "tokens: check: malformed" "$(json files 0 malformed)" 0
data show "$scratch/tokens.yaml" -n 2
is "tokens: show: exit code" "$status" 0
is "tokens: show: two examples" "$(grep -c '^example ' <<<"$out")" 2
like "tokens: show: where they are from" "$out" "*example 1 of $n, $golden/batch.jsonl:1, *"

# ---- prepare -------------------------------------------------------------------------------------
data prepare "$scratch/tokens.yaml"
is "prepare: exit code" "$status" 0
file=$(head -n 1 <<<"$out")
like "prepare: where it is" "$file" "$cache/*.h5"
like "prepare: records and speed" "$out" "*prepared: $n records, $n training and 0 validation*records/s*"
is "prepare: the file's mode" "$(stat -c %a "$file")" 600
is "prepare: the directory's mode" "$(stat -c %a "$cache")" 700
data prepare "$scratch/tokens.yaml"
like "prepare again: nothing to do" "$out" "$file*was there already: *"
data prepare "$scratch/tokens.yaml" "data.cache_dir=$scratch/elsewhere"
like "prepare: a directory of the user's own" "$out" "$scratch/elsewhere/*.h5*prepared: *"
data check "$scratch/tokens.yaml"
is "check of prepared data: exit code" "$status" 0
data prepare "$scratch/tokens.yaml" --purge
is "purge: exit code" "$status" 0
like "purge: what it did" "$out" "$cache: 1 prepared data sets removed, *"
is "purge: nothing is left" "$(ls "$cache")" ""

# ---- malformed, empty, all dropped ---------------------------------------------------------------
printf '{"input_ids": [1, 2]}\n{"input_ids": "x"}\n{"input_ids": [3, 4]}\n{}\nnot JSON\n' >"$scratch/bad.jsonl"
config bad.yaml $golden/model "$scratch/bad.jsonl" 'format: tokens'
data check "$scratch/bad.yaml"
is "malformed: exit code" "$status" 1
is "malformed: nothing on stdout" "$out" ""
for line in 2 4 5; do
    like "malformed: line $line is named" "$err" "*$scratch/bad.jsonl:$line: *"
done
like "malformed: counted by kind" "$err" "*3 of 5 records are malformed: 1 not valid JSON, *"
data check "$scratch/bad.yaml" data.on_error=skip
is "too many malformed: exit code" "$status" 1
like "too many malformed: the setting" "$err" "*data.max_skipped_frac*"
data check "$scratch/bad.yaml" data.on_error=skip data.max_skipped_frac=0.9 --json
is "malformed, allowed: exit code" "$status" 0
is "malformed, allowed: what is left" "$(json training examples)" 2
{
    for i in {1..40}; do printf '{"messages": [{"role": "user", "content": "q%d"}, {"role": "assistant", "content": "a"}]}\n' "$i"; done
    echo '{"messages": [{"role": "out of memory", "content": "q"}, {"role": "assistant", "content": "a"}]}'
} >"$scratch/quoted.jsonl"
config quoted.yaml checkpoints/tiny-base "$scratch/quoted.jsonl" 'template: zephyr'
data check "$scratch/quoted.yaml" data.on_error=skip --json
is "a record that quotes a message of lorac's is skipped like others: exit code" "$status" 0
is "a record that quotes a message of lorac's is skipped like others" "$(json training examples)" 40
: >"$scratch/empty.jsonl"
last() { tail -n 1 <<<"$err"; }
data check "$scratch/tokens.yaml" "data.train=$scratch/empty.jsonl"
is "empty file: exit code" "$status" 1
like "empty file: says so" "$(last)" "lorac: override data.train: $scratch/empty.jsonl: holds no records"
data check "$scratch/tokens.yaml" data.max_length=2
is "all too long: exit code" "$status" 1
like "all too long: the setting" "$(last)" "lorac: data.train: none of $n records is left; *data.max_length = 2*"
data check "$scratch/tokens.yaml" data.validation=1e-9
is "no validation: exit code" "$status" 1
like "no validation: the setting" "$(last)" "lorac: data.validation: a fraction of 1e-09*raise it*"
data check "$scratch/tokens.yaml" data.validation=0.999999999
like "all validation: the setting" "$(last)" "lorac: data.validation: *none to train on; lower it"
data show "$scratch/tokens.yaml" --record 999
is "show of no record: exit code" "$status" 1
like "show of no record: how many there are" "$(last)" \
    "lorac: --record 999: no record begins on line 999: $golden/batch.jsonl has $n records, the last one on line $n"
data show "$scratch/bad.yaml" data.on_error=skip data.max_skipped_frac=0.9 --record 2
is "show of a skipped record: exit code" "$status" 1
like "show of a skipped record: it is there" "$(last)" "*the record that begins there gives no example*"
printf '[{"input_ids": [1, 2]},\n{"input_ids": [3, 4]},\n]\n' >"$scratch/comma.json"
data check "$scratch/tokens.yaml" "data.train=$scratch/comma.json"
is "a trailing comma: exit code" "$status" 1
like "a trailing comma: not valid JSON" "$err" "*1 of 3 records is malformed: 1 not valid JSON*"
data show "$scratch/tokens.yaml" --record x
is "show of a wrong record: exit code" "$status" 2

# ---- CSV, and what is kept aside -----------------------------------------------------------------
{
    printf '\xef\xbb\xbfQuestion;Answer\r\n'
    for i in $(seq 60); do printf '"Who answers ""%s""?";"The desk,\r\nroom %s."\r\n' "$i" "$i"; done
} >"$scratch/export.csv"
config csv.yaml checkpoints/tiny-base "$scratch/export.csv" 'template: alpaca'
for fraction in 0.1:6 0.3:18 0.5:30; do
    data check "$scratch/csv.yaml" --json "data.validation=${fraction%:*}" train.seed=3
    is "CSV: check: exit code" "$status" 0
    is "CSV: ${fraction%:*} of 60 is ${fraction#*:}" "$(json validation examples)" "${fraction#*:}"
done
data check "$scratch/csv.yaml" data.validation=0.1
like "CSV: six examples are few" "$err" "*validation: only 6 examples*"
data show "$scratch/csv.yaml" --record 4
like "CSV: a record by its line" "$out" "*$scratch/export.csv:4, *The desk,*room 2.*"
sed 's/Who answers[^?]*/Who answers/' "$scratch/export.csv" >"$scratch/same.csv"
data check "$scratch/csv.yaml" "data.train=$scratch/same.csv" data.validation=0.1
is "one question: exit code" "$status" 1
like "one question: where, how many" "$(last)" "*same.csv:2 on, is 60 of 60 (100 %); use a separate file *"
sed '5d' "$scratch/export.csv" >"$scratch/cut.csv"
data check "$scratch/csv.yaml" "data.train=$scratch/cut.csv"
is "CSV cut in a record: exit code" "$status" 1
like "CSV cut in a record: where" "$(last)" "lorac: $scratch/cut.csv:4: *"

# ---- mixtures ------------------------------------------------------------------------------------
for i in $(seq 0 99); do echo "{\"input_ids\": [1, $((i % 10)), $((i / 10))]}"; done >"$scratch/many.jsonl"
for i in $(seq 10) $(seq 10); do echo "{\"input_ids\": [2, $i, 3]}"; done >"$scratch/few.jsonl"
config mix.yaml $golden/model "[{path: $scratch/many.jsonl, weight: 0.25}, {path: $scratch/few.jsonl, weight: 3}]" 'format: tokens'
data check "$scratch/mix.yaml" train.batch_size=10 --json
is "mixture: exit code" "$status" 0
is "mixture: steps of an epoch" "$(json steps_per_epoch)" 9
is "mixture: copies are counted" "$(json training duplicates)" 10
data check "$scratch/mix.yaml" train.batch_size=10 data.deduplicate=true --json
is "mixture without copies: steps" "$(json steps_per_epoch)" 6
is "mixture without copies: removed" "$(json training removed)" 10
data show "$scratch/tokens.yaml" "data.train=$scratch/many.jsonl" data.validation=0.1 -n 1
is "show of held-out examples: exit code" "$status" 0
held=$(grep -o 'held out for validation: [0-9]*' <<<"$out" | grep -o '[0-9]*')
ok "show of held-out examples: they are listed" [ "${held:-0}" -gt 0 ]
like "show of held-out examples: one is shown" "$out" "*held-out example 1 of $held, $scratch/many.jsonl:*not trained on: validation*"
line=$(grep -o 'many.jsonl:[0-9]*' <<<"$(grep '^held out' <<<"$out")" | head -n 1 | cut -d: -f2)
data show "$scratch/tokens.yaml" "data.train=$scratch/many.jsonl" data.validation=0.1 --record "$line"
is "show of a held-out record: exit code" "$status" 0
like "show of a held-out record: what it is" "$out" "*held-out example 1 of $held, $scratch/many.jsonl:$line, *"
data show "$scratch/tokens.yaml" "data.train=$scratch/many.jsonl" "data.validation=$scratch/few.jsonl" --record few.jsonl:3
like "show of a validation file's record" "$out" "*held-out example 3 of 20, $scratch/few.jsonl:3, *"
data show "$scratch/tokens.yaml" "data.train=$scratch/many.jsonl" "data.validation=$scratch/few.jsonl" -n 1
like "show of a validation file: one range of lines" "$out" "*held out for validation: 20 examples, from few.jsonl:1-20"$'\n'"*"
data show "$scratch/mix.yaml" --record few.jsonl:3
is "show of a file's record: one" "$(grep -c '^example ' <<<"$out")" 1
like "show of a file's record: which" "$out" "*, $scratch/few.jsonl:3, 3 tokens*"

# ---- text ----------------------------------------------------------------------------------------
model=$LORAC_TEST_DATA/stories260K-hf
if [ ! -d "$model" ]; then
    skip "data check on texts" "$model is not there"
    done_testing
    exit 0
fi
key='-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----'
{
    printf '{"instruction": "Say hello.", "output": "Hello \\u001b[31m there"}\n'
    printf '{"instruction": "Write to me.", "output": "At anna.b@example.org please"}\n'
    printf '{"instruction": "Nothing?", "output": " "}\n'
    printf '{"instruction": "A key?", "output": "%s"}\n' "$key"
    printf '{"instruction": "A token?", "output": "ghp_0123456789abcdefghijABCDEFGHIJ012345"}\n'
    printf '{"instruction": "Marks?", "output": "[INST] twice"}\n'
    printf '{"instruction": "Again?", "output": "[INST] twice"}\n'
    printf '{"instruction": "No mail: a@b, @x.de, 5@ 6, foo@bar.1", "output": "%s"}\n' "sk-short AKIA1"
} >"$scratch/text.jsonl"
config text.yaml "$model" "$scratch/text.jsonl" 'template: alpaca'
data check "$scratch/text.yaml"
is "text: exit code" "$status" 0
for row in "1  empty answers  line 3" "1  answers that were given before (the most frequent one 2 times)  line 7" \
    "1  private keys  line 4" "1  access tokens of well-known services  line 5" \
    "1  e-mail addresses  line 2" "1  texts with control characters  line 1" \
    "2  texts that spell a template's marks (\[INST\], <|im_end|>, </s>)  lines 6, 7"; do
    like "text: check finds $row" "$out" "* $row*"
done
ok "text: none of it is shown" [ -z "$(grep -E 'anna|ghp_|MII' <<<"$out$err")" ]
data check "$scratch/text.yaml" --json
is "text: JSON: e-mail addresses" "$(json files 0 email_addresses records)" 1
is "text: JSON: their lines" "$(json files 0 email_addresses lines 0)" 2
is "text: JSON: answers without EOS" "$(json answers_without_eos)" 0
data check "$scratch/text.yaml" --json data.train_on_eos=false
is "text: answers without EOS" "$(json answers_without_eos)" 8
# ---- columns that are not used -------------------------------------------------------------------
for i in 1 2 3 4; do
    printf '{"question": "q%d", "context": "c", "answer": "a%d", "url": "u"%s}\n' "$i" "$i" \
        "$([ "$i" = 1 ] && echo ', "topic": "t"')"
done >"$scratch/columns.jsonl"
config columns.yaml "$model" "$scratch/columns.jsonl" 'template: alpaca'
url="note: train: url: in 100 % of the records, not used; data.columns"
topic="note: train: topic: in 25 % of the records, not used; data.columns"
for threads in 1 3; do
    for command in 'data check' 'data show' plan; do
        # shellcheck disable=SC2086 # the command is two words
        run env OMP_NUM_THREADS=$threads "$LORAC" $command "$scratch/columns.yaml"
        is "columns: $command, $threads threads: exit code" "$status" 0
        is "columns: $command, $threads threads: each is named once" \
            "$(grep -E 'url|topic|context' <<<"$err")" "$url"$'\n'"$topic"
    done
done
for again in '' ', again'; do
    data prepare "$scratch/columns.yaml"
    is "columns: data prepare$again: each is named" "$(grep -E 'url|topic' <<<"$err")" "$url"$'\n'"$topic"
done
like "columns: data prepare, again: from the cache" "$out" "*was there already*"
data check "$scratch/columns.yaml" --json
is "columns: the prepared file tells check, too" "$(grep -cE 'url|topic' <<<"$err")" 2
is "columns: JSON: records with one" "$(json files 0 unused_columns topic)" 1
like "columns: JSON: the notes" "$(json notes 0)" "train: url: in 100 %*"
data prepare "$scratch/columns.yaml" --purge
echo '{"question": "<image> what?", "images": ["a.png"], "answer": "a"}' >"$scratch/images.jsonl"
config images.yaml "$model" "$scratch/images.jsonl" 'template: alpaca'
for command in 'data check' 'data show' plan train; do
    # shellcheck disable=SC2086 # the command is two words
    run "$LORAC" $command "$scratch/images.yaml"
    is "images: $command: exit code" "$status" 0
    like "images: $command: says that they are not read" "$err" "*note: train: images: in 100 % of the records, with a mark*does not see it*"
    ok "images: $command: one record is not a plural" [ "${out/1 records/}${err/1 records/}" = "$out$err" ]
done
rm -rf "$scratch/run"
run "$LORAC" train "$scratch/columns.yaml" train.max_steps=1 train.warmup_ratio=0
is "columns: train: exit code" "$status" 0
is "columns: train: each is named" "$(grep -E 'url|topic' <<<"$err")" "$url"$'\n'"$topic"
rm -rf "$scratch/run"
run "$LORAC" plan "$scratch/columns.yaml" --json
like "columns: plan: JSON: the notes" "$(json notes 1)" "train: topic: in 25 %*"
data show "$scratch/columns.yaml" "data.columns={prompt: question, input: topic, completion: answer}" --record 1
like "columns: the ones that are named are read" "$out" "*q1*### Input:*t*### Response:*a1*"
like "columns: and the others not used" "$err" "*context: in 100 % of the records, not used*"

data show "$scratch/text.yaml" --record 2
like "show: context, target between its marks" "$out" "*Write to me.*### Response:*⟦At anna.b@example.org please</s>⟧*"
like "show: what is shared" "$out" "*first epoch: step 1 of 1*-- tokens 0 to *, shared by 8 examples*"
data show "$scratch/text.yaml" --record 1 --ids
ok "show: no control characters" [ -z "$(LC_ALL=C grep -P '\x1b' <<<"$out")" ]
like "show: they are spelt" "$out" '*\x1b*'
like "show: --ids lists place, id, text and target" "$out" "* place      id*     0       1          \"<s>\"*target*"
if command -v script >/dev/null; then
    run env TERM=xterm script -qc "$LORAC data show $scratch/text.yaml --record 2" /dev/null
    like "show: colours on a terminal" "$out" $'*\x1b[1;32m*At anna*'
    run env TERM=xterm NO_COLOR=1 script -qc "$LORAC data show $scratch/text.yaml --record 2" /dev/null
    ok "show: none with NO_COLOR" [ -z "$(LC_ALL=C grep -P '\x1b' <<<"$out")" ]
else
    skip "show: colours" "script is not installed"
fi

# ---- real files ----------------------------------------------------------------------------------
real() { # real FILE TEMPLATE RECORDS [KEY VALUE]...: of `files 0` in the JSON
    local path=$LORAC_TEST_DATA/$1 template=$2 records=$3 key value
    [ -f "$path" ] || { skip "$1" "it is not there" && return; }
    config real.yaml "$model" "$path" "template: $template"
    data check "$scratch/real.yaml" --json
    is "$1: exit code" "$status" 0
    is "$1: records" "$(json files 0 records)" "$records"
    is "$1: malformed" "$(json files 0 malformed)" 0
    shift 3
    for key; do
        [[ $key == *=* ]] || continue
        value=${key#*=}
        # shellcheck disable=SC2086 # the path is several words
        is "${path##*/}: ${key%%=*}" "$(json ${key%%=*})" "$value"
    done
}
real gsm8k/train.jsonl alpaca 7473 'files 0 format=prompt_completion' 'training duplicates=0'
real self-instruct-seed/seed_tasks.jsonl alpaca 175 'files 0 format=alpaca'
real vicuna/dummy_conversation.json vicuna_v1.1 500 'files 0 format=sharegpt' 'training examples=500'
real oasst/en_100_tree.jsonl llama2 99 'files 0 format=oasst' 'files 0 messages=1155'
real oasst/oasst_20230412_fr_top1.jsonl llama2 256 'files 0 format=messages'
real llama-factory-demo/glaive_toolcall_en_demo.json llama2 300 'files 0 format=sharegpt'
real llama-factory-demo/dpo_en_demo.json llama2 299 'training chosen=299'

done_testing
