#!/bin/bash
# A model and a tokenizer of different sizes; tokenizer files under other names; GGUF files of
# models with spare rows.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache

tests/make-model tiny "$scratch/fits"
tests/make-model tiny "$scratch/padded" 300
cat >"$scratch/data.jsonl" <<'END'
{"prompt": "Name a colour.", "completion": "Blue."}
{"prompt": "Name a town.", "completion": "Ulm, on the Danube."}
END
of() { sed -n "s/.*\"$1\": \([-0-9.e]*\).*/\1/p" <<<"$out"; }

# ---- rows without an id: their logits are the largest, and they are never picked -----------------
for how in "--temperature 0" "--temperature 1" "--temperature 5 --top-p 0.5" "--temperature 2 --top-k 3"; do
    # shellcheck disable=SC2086 # words
    run "$LORAC" generate --model "$scratch/padded" --prompt Hi --max-new-tokens 40 --seed 3 $how
    is "a padded model generates: $how" "$status" 0
    # shellcheck disable=SC2086
    fits=$("$LORAC" generate --model "$scratch/fits" --prompt Hi --max-new-tokens 40 --seed 3 $how | od -c)
    is "a padded model says what it says without padding: $how" "$(od -c <"$scratch/out")" "$fits"
done
printf 'Hi\n' >"$scratch/says"
run "$LORAC" chat --model "$scratch/padded" --max-new-tokens 20 <"$scratch/says"
is "a padded model chats" "$status" 0
run "$LORAC" eval --model "$scratch/fits" --data datasets/sample-alpaca.jsonl --template alpaca --train-on everything --json
accuracy=$(of token_accuracy)
like "the model without padding has some hits" "$accuracy" "0.0*[1-9]*"
run "$LORAC" eval --model "$scratch/padded" --data datasets/sample-alpaca.jsonl --template alpaca --train-on everything --json
is "eval counts a hit among the ids that can be picked" "$(of token_accuracy)" "$accuracy"
echo '{"input_ids": [0, 80, 270, 299, 81], "labels": [0, 80, 270, 299, 81]}' >"$scratch/ids.jsonl"
cat >"$scratch/ids.yaml" <<END
model: {path: $scratch/padded}
data:
  train:
    - {path: $scratch/ids.jsonl, format: tokens}
    - {path: $scratch/data.jsonl}
output: {dir: $scratch/ids-run}
END
run "$LORAC" data show "$scratch/ids.yaml"
is "data show of ids without a piece" "$status" 0
like "data show of ids without a piece: spelt" "$out" "*PAD270*PAD299*"

# ---- tokens without a row ------------------------------------------------------------------------
token() { # token DIR ID TEXT SPECIAL: one more added token
    sed -i 's#"added_tokens":\[#&{"id":'"$2"',"content":"'"$3"'","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":'"$4"'},#' \
        "$1/tokenizer.json"
}
cp -r "$scratch/fits" "$scratch/pad1"
token "$scratch/pad1" 260 '<pad>' true
cp -r "$scratch/pad1" "$scratch/pad3"
token "$scratch/pad3" 261 '<mask>' true
token "$scratch/pad3" 262 '[TOOL]' false
for name in pad1 pad3; do
    cat >"$scratch/$name.yaml" <<END
model: {path: $scratch/$name}
data: {train: $scratch/data.jsonl, template: chatml}
train: {max_steps: 1, batch_size: 1}
output: {dir: $scratch/$name-run}
END
    for command in "plan" "data check" "train"; do
        # shellcheck disable=SC2086
        run "$LORAC" $command "$scratch/$name.yaml"
        is "$name: tokens too many that no record needs: $command" "$status" 0
    done
    run "$LORAC" generate --model "$scratch/$name" --prompt Hi --max-new-tokens 5
    is "$name: generate" "$status" 0
    run "$LORAC" eval --model "$scratch/$name" --data "$scratch/data.jsonl"
    is "$name: eval: exit code" "$status" 0
done
echo '{"segments": [{"text": "<s>a<pad>", "label": true}]}' >"$scratch/needs.jsonl"
run "$LORAC" data check "$scratch/pad1.yaml" data.train="$scratch/needs.jsonl"
is "a record that needs the token: refused" "$status" 1
like "a record that needs the token: named" "$out$err" '*needs.jsonl:1*the token "<pad>" has the id 260, the model has 260 rows*'
echo '{"prompt": "a[TOOL]b", "completion": "c"}' >"$scratch/tool.jsonl"
run "$LORAC" data check "$scratch/pad3.yaml" data.train="$scratch/tool.jsonl"
is "a text that spells an added token without a row: refused" "$status" 1
like "a text that spells an added token without a row: named" "$out$err" '*tool.jsonl:1*the token "?TOOL?" has the id 262*'
run "$LORAC" generate --model "$scratch/pad3" --prompt 'a[TOOL]b' --max-new-tokens 5
is "a prompt that spells it: refused" "$status" 1
like "a prompt that spells it: named" "$err" '*"?TOOL?" has the id 262, the model has 260 rows*'
run "$LORAC" plan "$scratch/pad1.yaml" data.template='{user: "{<pad>}{user}", assistant: "{answer}{eos}"}'
is "a template that needs it: refused" "$status" 2
like "a template that needs it: named" "$err" '*data.template*"<pad>" has the id 260*'
tests/make-model tiny "$scratch/small" 200
run "$LORAC" generate --model "$scratch/small" --prompt Hi
is "ordinary pieces without a row: refused" "$status" 1
like "ordinary pieces without a row: told" "$err" "*260 ids, the model's vocabulary 200*do not belong together*"

# ---- GGUF ----------------------------------------------------------------------------------------
run "$LORAC" convert "$scratch/padded" -o "$scratch/padded.gguf"
is "a padded model becomes GGUF" "$status" 0
is "each spare row has a name of its own" \
    "$(grep -a -o '\[PAD[0-9_]*\]' "$scratch/padded.gguf" | sort -u | wc -l)" 40
run "$LORAC" tokenize --model "$scratch/padded.gguf" 'Hi there'
is "lorac reads what it wrote" "$status" 0
is "with the same ids" "$out" "$("$LORAC" tokenize --model "$scratch/padded" 'Hi there')"
run "$LORAC" generate --model "$scratch/padded.gguf" --prompt Hi --max-new-tokens 40
is "and generates from it" "$(od -c <"$scratch/out")" \
    "$("$LORAC" generate --model "$scratch/padded" --prompt Hi --max-new-tokens 40 | od -c)"
run "$LORAC" convert "$scratch/padded.gguf" -o "$scratch/back"
is "and back to a directory" "$status" 0
run "$LORAC" generate --model "$scratch/back" --prompt Hi --max-new-tokens 5
is "and generates there, too" "$status" 0
cp -r "$scratch/padded" "$scratch/collides"
token "$scratch/collides" 260 '[PAD270]' false
run "$LORAC" convert "$scratch/collides" -o "$scratch/collides.gguf"
is "a piece that has a spare row's name" "$status" 0
is "the row gets another one" "$(grep -a -c '\[PAD270_1\]' "$scratch/collides.gguf")" 1
run "$LORAC" tokenize --model "$scratch/collides.gguf" 'a[PAD270]b'
is "the piece keeps its id" "$out" "$("$LORAC" tokenize --model "$scratch/collides" 'a[PAD270]b')"
for name in pad1:'*note: 1 token that the model has no row for is left out*"<pad>"*260*' \
    pad3:'*note: 3 tokens that the model has no row for are left out*'; do
    run "$LORAC" convert "$scratch/${name%%:*}" -o "$scratch/${name%%:*}.gguf"
    is "${name%%:*}: unused tokens without a row are left out" "$status" 0
    like "${name%%:*}: and that is said" "$err" "${name#*:}"
    run "$LORAC" tokenize --model "$scratch/${name%%:*}.gguf" 'Hi there'
    is "${name%%:*}: the file is read" "$status" 0
done
run "$LORAC" convert "$scratch/small" -o "$scratch/small.gguf"
is "ordinary pieces are never cut" "$status" 1
like "ordinary pieces are never cut: told" "$err" "*260 ids, the model's vocabulary 200*is in use*"
ok "and nothing is left" [ ! -e "$scratch/small.gguf" ]
cp -r "$scratch/pad1" "$scratch/eos"
sed -i 's#"eos_token":"</s>"#"eos_token":"<pad>"#' "$scratch/eos/tokenizer_config.json"
run "$LORAC" convert "$scratch/eos" -o "$scratch/eos.gguf"
is "an eos without a row is never written" "$status" 1
like "an eos without a row: named" "$err" '*"<pad>" with the id 260 is in use*'
ok "an eos without a row: nothing is left" [ -z "$(compgen -G "$scratch/eos.gguf*")" ]

# ---- a tokenizer's file is what it holds ---------------------------------------------------------
cp "$scratch/fits/tokenizer.json" "$scratch/vocabulary"
run "$LORAC" tokenize --tokenizer "$scratch/vocabulary" Hi
is "a tokenizer.json of another name" "$out" "$("$LORAC" tokenize --model "$scratch/fits" Hi)"
run "$LORAC" tokenize --model "$scratch/vocabulary" Hi
is "the same with --model" "$out" "$("$LORAC" tokenize --model "$scratch/fits" Hi)"
run "$LORAC" generate --model "$scratch/fits" --tokenizer "$scratch/vocabulary" --prompt Hi --max-new-tokens 3
is "the same with a model" "$status" 0
cp "$scratch/padded.gguf" "$scratch/weights.bin"
run "$LORAC" tokenize --tokenizer "$scratch/weights.bin" Hi
is "a GGUF of another name" "$out" "$("$LORAC" tokenize --model "$scratch/fits" Hi)"
run "$LORAC" tokenize --model "$scratch/fits/model.safetensors" Hi
is "beside a model's weights" "$out" "$("$LORAC" tokenize --model "$scratch/fits" Hi)"
printf 'IQ== 0\nIg== 1\nIw== 2\n' >"$scratch/tokenizer.model"
cp "$scratch/tokenizer.model" "$scratch/ranks.json"
for file in tokenizer.model ranks.json; do
    run "$LORAC" tokenize --tokenizer "$scratch/$file" Hi
    is "tiktoken's ranks as $file: refused" "$status" 1
    like "tiktoken's ranks as $file: named" "$err" "*tiktoken's format (Llama 3*tokenizer.json of the Hugging Face*"
done
mkdir "$scratch/tekken"
echo '{"config": {"pattern": "x", "default_vocab_size": 131072}, "vocab": [{"rank": 0, "token_bytes": "AA=="}]}' \
    >"$scratch/tekken/tekken.json"
run "$LORAC" inspect "$scratch/tekken/tekken.json"
like "inspect names a tekken.json" "$out" "*tekken.json*tokenizer.json of the Hugging Face*"
for path in tekken/tekken.json tekken; do
    run "$LORAC" tokenize --tokenizer "$scratch/$path" Hi
    is "$path: refused" "$status" 1
    like "$path: named" "$err" "*found Mistral's tekken.json, which is not supported*"
done
spm=$LORAC_TEST_DATA/llama2-tokenizer/tokenizer.model
if [ -e "$spm" ]; then
    mkdir "$scratch/mistral"
    for name in tokenizer.model.v1 tokenizer.model.v3 spm.json spm.gguf spm; do
        cp "$spm" "$scratch/mistral/$name"
        for option in --tokenizer --model; do
            run "$LORAC" tokenize $option "$scratch/mistral/$name" 'Hello world'
            is "SentencePiece as $name, $option" "$out" "15043 3186"
        done
    done
    run "$LORAC" tokenize --tokenizer "$scratch/mistral" Hi
    like "a directory with two versions: which" "$err" "*found tokenizer.model.v1 and tokenizer.model.v3, wanted one tokenizer; name it with --tokenizer*"
    rm "$scratch/mistral/tokenizer.model.v1"
    run "$LORAC" tokenize --tokenizer "$scratch/mistral" 'Hello world'
    is "a directory with one" "$out" "15043 3186"
else
    skip "SentencePiece under other names" "no $spm"
fi
done_testing
