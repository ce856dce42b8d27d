#!/bin/bash
# Data stay on the machine and out of logs: no socket is opened, no text of a record is in a file
# that is not made for it, no core is written.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1

golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens, validation: 0.3 }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 4, batch_size: 3, save_steps: 2, eval_steps: 2 }
output: { dir: $scratch/run }
YAML

# ---- no network ----------------------------------------------------------------------------------
do_all() { # everything that reads or writes a model
    rm -rf "$scratch/run" "$scratch/merged"
    "$@" "$LORAC" train "$scratch/run.yaml" &&
        "$@" "$LORAC" eval "$scratch/run.yaml" &&
        "$@" "$LORAC" merge --model "$golden/model" --adapter "$scratch/run/best" -o "$scratch/merged" --verify &&
        "$@" "$LORAC" inspect "$scratch/run" --verify
}
if unshare -n true 2>/dev/null; then
    run do_all unshare -n
    is "without a network: train, eval, merge, inspect" "$status" 0
elif unshare -rn true 2>/dev/null; then
    run do_all unshare -rn
    is "without a network: train, eval, merge, inspect" "$status" 0
else
    skip "without a network" "namespaces cannot be made here"
fi
if command -v strace >/dev/null && strace -f -o "$scratch/trace" -e trace=network true 2>/dev/null; then
    # LeakSanitizer cannot look for leaks in a process that is traced, and ends it with an error
    traced() { ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 strace -f -A -o "$scratch/trace" -e trace=network "$@"; }
    : >"$scratch/trace"
    run do_all traced
    is "traced: exit code" "$status" 0
    is "traced: no socket is opened" "$(grep -E '(socket|connect|bind|sendto)\(' "$scratch/trace")" ""
    run traced python3 -c 'import socket; socket.socket()'
    [ "$status" != 0 ] || like "traced: and one would be seen" "$(<"$scratch/trace")" "*socket(*"
else
    skip "no socket is opened" "strace is missing or not allowed here"
fi
# libhdf5 may need such a library (Debian's does, for files in the cloud); we link none
if command -v readelf >/dev/null; then
    is "no network library is linked" \
        "$(readelf -d "$LORAC" | grep NEEDED | grep -iE 'curl|libssl|nghttp|libsoup|resolv')" ""
fi

# ---- nothing of the data in logs and errors ------------------------------------------------------
marker=Zyxomma7Quetzal
data=${LORAC_TEST_DATA}/stories260K-hf
records() { # records of every kind that is refused, cut or dropped, the marker wherever text may be
    cat <<JSON
{"instruction": "$marker one", "output": "$marker two"}
{"instruction": "$marker one", "output": "$marker two"}
{"instruction": "three $marker", "output": "four $marker"}
{"instruction": "five", "output": "$(printf "$marker %.0s" {1..600})"}
{"instruction": "six $marker", "output": 7}
{"instruction": "$marker", "output": "$marker\ud800"}
{"instruction": "$marker", "output": "$marker", "instruction": "$marker"}
{"instruction": "$marker", "output": "$marker"
{"output": "$marker"}
"$marker"
{"instruction": "eight $marker", "output": "$marker nine"}
{"instruction": "ten", "output": "eleven $marker"}
JSON
}
check_quiet() { # check_quiet NAME: stderr and what the run wrote besides checkpoints
    is "$1: no text of a record on stderr" "$(grep -c "$marker" <<<"$err")" 0
    is "$1: no text of a record in files" "$(grep -rl "$marker" "$scratch/text" 2>/dev/null)" ""
}
if [ -r "$data/tokenizer.model" ]; then
    cat >"$scratch/text.yaml" <<YAML
model: { path: $data }
data: { train: $scratch/records.jsonl, format: alpaca, template: alpaca, on_error: skip, max_skipped_frac: 1, validation: 0.3 }
adapter: { r: 4 }
train: { max_steps: 3, batch_size: 2, eval_steps: 1 }
output: { dir: $scratch/text }
YAML
    records >"$scratch/records.jsonl"
    run "$LORAC" train "$scratch/text.yaml"
    is "a run on marked text: exit code" "$status" 0
    like "a run on marked text: what was dropped is said before the first step" "$err" \
        "*malformed and skipped*longer than data.max_length*exact cop*step 1/3*"
    check_quiet "a run on marked text"
    like "a run on marked text: counted in run.json" "$(<"$scratch/text/run.json")" \
        '*"training": {*"malformed": *"overlong": *"duplicates": *'
    rm -rf "$scratch/text"
    run "$LORAC" eval --model "$data" --data "$scratch/records.jsonl" --template alpaca
    is "eval stops at a malformed record: exit code" "$status" 1
    check_quiet "eval stops at a malformed record"

    # each bad record by itself, as the error that ends a run
    n=0
    while IFS= read -r line; do
        n=$((n + 1))
        printf '%s\n' "$line" >"$scratch/records.jsonl"
        rm -rf "$scratch/text"
        run "$LORAC" train "$scratch/text.yaml" data.on_error=stop
        [ "$status" = 1 ] || [ "$n" -lt 4 ] || [ "$n" -gt 10 ] || is "record $n: refused" "$status" 1
        check_quiet "record $n"
    done < <(records)

    # messages, whose roles and parts are named in errors
    for line in "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"$marker\"}]}]}" \
        "{\"messages\": [{\"role\": \"user\", \"content\": \"$marker\"}, {\"role\": \"user\", \"content\": \"$marker\"}]}" \
        "{\"messages\": [{\"role\": \"user\", \"content\": \"$marker\"}]}"; do
        printf '%s\n' "$line" >"$scratch/records.jsonl"
        rm -rf "$scratch/text"
        run "$LORAC" train "$scratch/text.yaml" data.on_error=stop data.format=messages
        check_quiet "messages"
    done

    # none left: the setting is named
    records | sed -n 4p >"$scratch/records.jsonl"
    run "$LORAC" train "$scratch/text.yaml" data.validation=0
    is "every record too long: exit code" "$status" 1
    like "every record too long: names the setting" "$err" "*none of 1 record is left*data.max_length*"
else
    skip "nothing of the data in logs" "the fixture stories260K-hf is missing"
fi

# ---- no cores ------------------------------------------------------------------------------------
if [ -r /proc/self/limits ]; then
    "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/cores" train.max_steps=300000 train.save_steps=1h \
        train.eval_steps=100000 2>/dev/null &
    pid=$!
    for _ in {1..200}; do [ -s "$scratch/cores/metrics.jsonl" ] && break; sleep 0.05; done
    limit=$(awk '/Max core file size/ { print $5 + $6 }' "/proc/$pid/limits")
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    ok "a run writes no core" [ "$limit" -le 2 ]
fi

done_testing
