#!/bin/bash
# The fuzz targets, driven by tests/fuzz/replay.c, over the inputs that are kept: those that once
# broke something, the corpora, and the tables of malformed files.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
: "${FUZZ:=build/fuzz}"

command -v python3 >/dev/null && scripts/make-malformed.py seeds "$scratch/seeds" >/dev/null
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    name=${target#fuzz_}
    mkdir -p "$scratch/corpus/$name"
    if [ -f "tests/fuzz/corpus/$name.tar.gz" ]; then
        tar -xzf "tests/fuzz/corpus/$name.tar.gz" -C "$scratch/corpus/$name"
    fi
    inputs=()
    for dir in "tests/fuzz/crashes/$name" "$scratch/corpus/$name" "$scratch/seeds/$name"; do
        [ -d "$dir" ] && inputs+=("$dir")
    done
    run timeout 300 "$FUZZ/$target" "${inputs[@]}"
    report "$name: ${out:-no inputs}" "$status" "exit code $status; $(tail -n 20 "$scratch/err")"
done
done_testing
