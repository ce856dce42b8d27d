#!/bin/bash
# lorac tokenize: its forms of input and output, and Llama 2's golden vectors where these are there.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

data=$LORAC_TEST_DATA/llama2-tokenizer
if [ ! -d "$data" ]; then
    echo "1..0 # SKIP no $data"
    exit 0
fi
model=$data/tokenizer.model
tokenize() { run "$LORAC" tokenize --model "$model" "$@"; }
tokenize_input() { printf '%b' "$1" >"$scratch/in" && shift && tokenize "$@" <"$scratch/in"; }

tokenize 'Hello world'
is "a text: its ids" "$out" "15043 3186"
is "a text: exit code" "$status" 0
tokenize --bos 'Hello world'
is "--bos: BOS in front" "$out" "1 15043 3186"
tokenize --bos ''
is "--bos before nothing" "$out" "1"
tokenize '<s>[INST]'
ok "control tokens in a text stay text" [ "${out#1 }" = "$out" ]
tokenize -- --bos
like "a text that begins with --" "$out" "1192 *"

tokenize_input 'Hello\n\nHello world' -
is "lines, an empty one and no last line end" "$out" $'15043\n\n15043 3186'
tokenize_input '' -
is "no lines: nothing is printed" "$out$err$status" "0"
tokenize_input 'a\0000b\n' -
is "a NUL in a line: is tokenised" "$out" "263 3 29890"
tokenize_input '{"text": "Hello"}\n{"text": "", "id": 7}\n' --jsonl -
is "JSON lines: a record of ids for each" "$out" $'{"ids": [15043]}\n{"ids": []}'
tokenize --jsonl '{"text": "Hello\u0021"}'
is "JSON as an argument" "$out" '{"ids": [15043, 29991]}'

for row in '{"text": 3}|found an integer, wanted {"text": "..."}' '{}|found an object' \
    '[]|found an array' '{"text": "a"|' '\xff|' '|'; do
    tokenize_input '{"text": "a"}\n'"${row%%|*}"'\n' --jsonl -
    is "JSON line ${row%%|*}: exit code" "$status" 1
    like "JSON line ${row%%|*}: message" "$err" "lorac: standard input:2: *"
    like "JSON line ${row%%|*}: what" "$err" "*${row#*|}*"
done
tokenize_input 'good\nbad \xff\n' -
is "a line that is not UTF-8: exit code" "$status" 1
like "a line that is not UTF-8: names it" "$err" "lorac: standard input:2: *"
is "a line that is not UTF-8: those before it are out" "$out" "1781"
run bash -c "yes | '$LORAC' tokenize --model '$model' - >/dev/full"
is "a full disk stops an endless input: exit code" "$status" 1
like "a full disk stops an endless input: message" "$err" "lorac: cannot write to standard output*"
echo text >"$scratch/none"
run "$LORAC" tokenize --model "$scratch/none" text
is "a file that is not a model: exit code" "$status" 1

golden() { # golden NAME TOKENIZER: its ids of all vectors
    sed 's/.*"ids": //; s/}$//' "$data/vectors.jsonl" >"$scratch/wanted"
    "$LORAC" tokenize --model "$2" --jsonl - <"$data/vectors.jsonl" 2>&1 |
        sed 's/.*"ids": //; s/}$//' >"$scratch/found"
    report "$1: $(wc -l <"$scratch/wanted") golden vectors" \
        "$(cmp -s "$scratch/wanted" "$scratch/found" && echo 0)" \
        "$(diff "$scratch/wanted" "$scratch/found" | head -n 6)"
}
golden tokenizer.model "$model"
golden "the vocabulary in a GGUF" "$data/ggml-vocab-llama-spm.gguf"

done_testing
