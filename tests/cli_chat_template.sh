#!/bin/bash
# The model's own chat template and the adapter's: lorac says what it does not understand, and a
# merged model has the template that its adapter was trained with.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

# model DIR [JINJA]: a tiny model whose files carry that chat template
model() {
    tests/make-model tiny "$scratch/$1"
    [ -z "${2-}" ] || perl -MJSON::PP -e '
        my ($dir, $jinja) = @ARGV;
        open my $in, "<", "$dir/tokenizer_config.json" or die;
        my $config = decode_json(do { local $/; <$in> });
        $config->{chat_template} = $jinja;
        open my $out, ">", "$dir/tokenizer_config.json" or die;
        print {$out} encode_json($config);' "$scratch/$1" "$2"
}
generate() { run "$LORAC" generate --model "$scratch/$1" --prompt Hi --max-new-tokens 4 "${@:2}"; }
config() {
    cat >"$scratch/run.yaml" <<END
model: {path: $scratch/$1}
data: {train: datasets/sample-alpaca.jsonl, template: $2}
adapter: {r: 2}
train: {max_steps: 1, batch_size: 2, learning_rate: 1e-2}
output: {dir: $scratch/run-$1-$2}
END
}
chat_template() { # of a directory's tokenizer_config.json
    perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{chat_template} // "none"' \
        <"$scratch/$1/tokenizer_config.json"
}

model plain
model unknown "{% for m in messages %}[INST]{{ m.content | replace('a', 'b') }}{% endfor %}"
model odd "{{ messages | tojson }}"
model zephyr "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"

# ---- a template that is not understood -----------------------------------------------------------
generate unknown
is "an unknown template: exit code" "$status" 0
like "an unknown template: said in one line" "$err" \
    "note: *unknown: its chat template, *is not one that lorac knows*It has \[INST\]*--template mistral"
generate unknown --template mistral
is "with --template there is nothing to say" "$err" ""
generate odd
like "one like no other: the names to choose from" "$err" "note: *--template NAME: alpaca *"
model phi "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}"
generate phi
like "Phi-3's: called that, no other is suggested" "$err" "note: *is not one that lorac knows*It looks like Phi-3's, for which there is no template*"
ok "Phi-3's: not zephyr" [ "${err/zephyr/}" = "$err" ]
generate plain
is "a model without one: nothing to say" "$err" ""
generate zephyr
is "a model with a known one: nothing to say" "$err" ""
run bash -c "echo Hi | '$LORAC' chat --model '$scratch/unknown' --max-new-tokens 2"
like "chat says it too" "$err" "*is not one that lorac knows*--template mistral*"
run "$LORAC" eval --model "$scratch/unknown" --data datasets/sample-alpaca.jsonl --json
like "eval says it too" "$err" "*is not one that lorac knows*--template mistral*"
like "and its JSON stays JSON" "$out" "{*}"

# ---- another template than the model's own -------------------------------------------------------
config zephyr alpaca
for command in plan train "data check"; do
    # shellcheck disable=SC2086 # two words
    run "$LORAC" $command "$scratch/run.yaml"
    is "another template than the model's: $command: exit code" "$status" 0
    like "another template than the model's: $command names model" "$out$err" \
        "*data.template: template alpaca is not the model's own chat template, zephyr*template: model*"
done
run "$LORAC" plan "$scratch/run.yaml" data.template=model
like "the model's own: no note" "$out$err" "*"
ok "the model's own: no note at all" test "${out/not the model/}" = "$out"
run "$LORAC" plan "$scratch/run.yaml" data.template=llama3
is "tokens that are missing: exit code" "$status" 2
like "tokens that are missing: model is suggested" "$err" \
    "*places the special token *templates that would work: model (the model's own, zephyr*"
run "$LORAC" plan "$scratch/run.yaml" "model.path=$scratch/plain" data.template=llama3
like "a model without one: model is not suggested" "$err" "*would work: alpaca *"
run "$LORAC" plan "$scratch/run.yaml" "model.path=$scratch/unknown"
like "a template that is not known: said too" "$out$err" "*which lorac does not know*"

run "$LORAC" generate --model "$scratch/plain" --prompt "<s>[INST] Hi [/INST]" --max-new-tokens 4
like "a prompt that spells a special token: said" "$err" '*note: the prompt spells the special token "<s>"*letters*'
generate plain
ok "a prompt that spells none: not said" test "${err/spells/}" = "$err"

# ---- merge ---------------------------------------------------------------------------------------
adapter=$scratch/run-zephyr-alpaca/adapter
run "$LORAC" merge --model "$scratch/zephyr" --adapter "$adapter" -o "$scratch/merged"
is "merge: exit code" "$status" 0
like "merge: says whose template it writes" "$err" "*the adapter's, alpaca, is written*in the place of the base's*"
like "merge: what an input needs" "$err" "*no input of its own*\"### Input:\" on a line of its own*"
like "merge: the chat template is alpaca's" "$(chat_template merged)" "*### Instruction:*### Response:*"
like "merge: lorac.json" "$(<"$scratch/merged/lorac.json")" '*"template": "alpaca"*'
run "$LORAC" inspect "$scratch/merged"
like "merge: inspect reads it back" "$out" "*chat template * alpaca*"
generate zephyr --adapter "$adapter"
with_adapter=$out
generate zephyr
ok "merge: the base answers differently" test "$out" != "$with_adapter"
generate merged
is "merge: the merged model answers as base and adapter" "$out" "$with_adapter"
run "$LORAC" convert "$scratch/merged" --extract "$scratch/zephyr" --r 2 -o "$scratch/difference"
like "--extract: the template goes along" "$(<"$scratch/difference/lorac.json")" '*"template": "alpaca"*'
run "$LORAC" convert "$scratch/merged" --extract "$scratch/zephyr" --r 2 -o "$scratch/difference.gguf"
like "--extract to GGUF: its template is said" "$err" '*no place for its prompt template, alpaca*'
rm "$scratch/merged/lorac.json"
generate merged
is "merge: by its chat template too" "$out" "$with_adapter"
generate merged --template plain
ok "merge: --template chooses another" test "$out" != "$with_adapter"

run "$LORAC" merge --model "$scratch/zephyr" --adapter "$adapter" -o "$scratch/merged.gguf"
is "merge to GGUF: exit code" "$status" 0
generate merged.gguf
is "merge to GGUF: answers the same" "$out" "$with_adapter"
ok "merge to GGUF: the base's template is gone" test "$(grep -ac "message.role + '|>" "$scratch/merged.gguf")" = 0
run "$LORAC" convert "$scratch/merged.gguf" -o "$scratch/back"
like "GGUF to a directory: the chat template goes along" "$(chat_template back)" "*### Response:*"
like "GGUF to a directory: lorac.json" "$(<"$scratch/back/lorac.json")" '*"template": "alpaca"*'
config zephyr alpaca
run "$LORAC" train "$scratch/run.yaml" train.seed=7 "output.dir=$scratch/second"
run "$LORAC" merge --model "$scratch/merged.gguf" --adapter "$scratch/second/adapter" -o "$scratch/twice.gguf"
is "merge on a merged GGUF: exit code" "$status" 0
generate twice.gguf
is "merge on a merged GGUF: one template" "$status" 0

# it is replaced where the base has its template, so that there are never two that disagree
for where in config file both; do
    model "base-$where" "{{ messages | tojson }}"
    [ "$where" = config ] || echo "{{ messages | tojson }}" >"$scratch/base-$where/chat_template.jinja"
    [ "$where" != file ] || printf '{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true}' \
        >"$scratch/base-$where/tokenizer_config.json"
    run "$LORAC" merge --model "$scratch/base-$where" --adapter "$adapter" -o "$scratch/in-$where"
    is "a base with its template in $where: exit code" "$status" 0
    in_config=$(chat_template "in-$where")
    in_file=$(cat "$scratch/in-$where/chat_template.jinja" 2>/dev/null || echo none)
    case $where in
    config) ok "written into the configuration alone" test "$in_file" = none ;;
    file) ok "written into the file alone" test "$in_config" = none ;;
    both) is "written into both" "$in_file" "$in_config" ;;
    esac
    like "a base with its template in $where: alpaca's" "$in_config$in_file" "*### Response:*"
done

# the base's own, which the template of the training equals: it stays, with its tools
config zephyr model
run "$LORAC" train "$scratch/run.yaml"
is "trained with the model's own: exit code" "$status" 0
run "$LORAC" merge --model "$scratch/zephyr" --adapter "$scratch/run-zephyr-model/adapter" -o "$scratch/own"
is "the model's own template stays as it is" "$(chat_template own)" "$(chat_template zephyr)"

# a template of the user's own; one that no chat template can say; an end that the files do not name
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/plain}
data:
  train: datasets/sample-alpaca.jsonl
  template: {name: desk, user: "Customer: {user}\n", system: "{system}\n", assistant: "Desk: {answer}{<s>}\n"}
adapter: {r: 2}
train: {max_steps: 1, batch_size: 2}
output: {dir: $scratch/desk}
END
run "$LORAC" train "$scratch/run.yaml"
is "a template of the user's own: exit code" "$status" 0
run "$LORAC" merge --model "$scratch/plain" --adapter "$scratch/desk/adapter" -o "$scratch/desk-merged"
like "a template of the user's own is written" "$(chat_template desk-merged)" "*Customer: *Desk:*"
generate plain --adapter "$scratch/desk/adapter"
with_adapter=$out
generate desk-merged
is "and used by generate" "$out" "$with_adapter"
like "the token that ends its answers is named" \
    "$(tr -d ' \n' <"$scratch/desk-merged/generation_config.json")" '*"eos_token_id":\[*,*\]*'
cat >"$scratch/run.yaml" <<END
model: {path: $scratch/plain}
data:
  train: datasets/sample-alpaca.jsonl
  template: {user: "<s>{user}", system: "{system}", assistant: "{answer}{eos}"}
adapter: {r: 2}
train: {max_steps: 1, batch_size: 2}
output: {dir: $scratch/spelt}
END
run "$LORAC" train "$scratch/run.yaml"
is "letters that spell a token: exit code" "$status" 0
run "$LORAC" merge --model "$scratch/plain" --adapter "$scratch/spelt/adapter" -o "$scratch/spelt-merged"
like "what a chat template cannot say is said" "$err" "*note: the merged model has no place for the adapter's prompt template*spells a special token*"
ok "and nothing is written" test -z "$(grep chat_template "$scratch/spelt-merged/tokenizer_config.json")"
# ---- a merged model's own template is the one that lorac merge noted, readable as Jinja or not ---
cat >"$scratch/fold.yaml" <<END
model: {path: $scratch/plain}
data:
  train: datasets/sample-alpaca.jsonl
  template: {user: "Q: {user}\\n", fold: "{system} - {user}", assistant: "A: {answer}{eos}"}
adapter: {r: 2}
train: {max_steps: 1, batch_size: 2}
output: {dir: $scratch/fold}
END
run "$LORAC" train "$scratch/fold.yaml"
for to in folded folded.gguf; do
    run "$LORAC" merge --model "$scratch/plain" --adapter "$scratch/fold/adapter" -o "$scratch/$to"
    is "template: model on $to: the merge" "$status" 0
    run "$LORAC" data show "$scratch/fold.yaml" --ids
    wanted=$out
    run "$LORAC" data show "$scratch/fold.yaml" --ids "model.path=$scratch/$to" data.template=model
    is "template: model on $to: the same ids" "$out" "$wanted"
    run "$LORAC" train "$scratch/fold.yaml" "model.path=$scratch/$to" data.template=model "output.dir=$scratch/$to-run"
    is "template: model on $to: trains" "$status" 0
    generate "$to" --template model
    is "--template model on $to" "$status" 0
    generate "$to" --adapter "$scratch/$to-run/step-000001.h5"
    is "a checkpoint trained with template: model on $to" "$status$err" 0
    run "$LORAC" convert "$scratch/$to-run/step-000001.h5" -o "$scratch/$to-adapter"
    like "it is converted with the template's definition" "$(cat "$scratch/$to-adapter/lorac.json")" '*"template": "{*fold*'
    run "$LORAC" data check "$scratch/fold.yaml" "model.path=$scratch/$to"
    ok "the same template by its parts on $to: no note" [ "${out/chat template/}${err/chat template/}" = "$out$err" ]
done

# ---- the forms in which a tokenizer_config.json has its template ---------------------------------
zephyr=$(chat_template zephyr)
for form in '{"default": T, "tool_use": "x"}' '{"rag": T}' '[{"name": "tool_use", "template": "x"}, {"name": "default", "template": T}]'; do
    model form
    perl -MJSON::PP -e '
        my ($file, $form, $jinja) = @ARGV;
        my $text = JSON::PP->new->allow_nonref->encode($jinja);
        $form =~ s/\bT\b/$text/;
        open my $out, ">", $file or die;
        print {$out} "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"chat_template\": $form}";' \
        "$scratch/form/tokenizer_config.json" "$form" "$zephyr"
    generate form
    is "chat_template as $form: is read" "$out$err" "$("$LORAC" generate --model "$scratch/zephyr" --prompt Hi --max-new-tokens 4)"
done
for form in 5 '[]' '{"default": 5}'; do
    echo '{"bos_token": "<s>", "eos_token": "</s>", "chat_template": '"$form"'}' >"$scratch/form/tokenizer_config.json"
    generate form
    is "chat_template as $form: exit code" "$status" 1
    like "chat_template as $form: refused" "$err" "*tokenizer_config.json: chat_template: found *, wanted a text, or a list*"
done
done_testing
