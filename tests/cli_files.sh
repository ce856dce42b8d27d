#!/bin/bash
# Files and disks at the command line: full and read-only disks, shared files, outputs that would
# overwrite the base, licences that are copied, modes; and nothing is lost.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1

golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cp -r "$golden" "$scratch/golden" && chmod -R u+w "$scratch/golden"
model=$scratch/golden/model
cat >"$scratch/run.yaml" <<YAML
model: { path: $model }
data: { train: $scratch/golden/batch.jsonl, format: tokens, validation: 0.3 }
adapter: { r: 4, target_modules: [q_proj, v_proj] }
train: { max_steps: 4, batch_size: 3, save_steps: 2, eval_steps: 2, learning_rate: 1.0e-3 }
output: { dir: $scratch/run }
YAML
dir=$scratch/run
train() { run "$LORAC" train "$scratch/run.yaml" "$@"; }
one_line() { [ "$(grep -c '^lorac: ' <<<"$err")" = 1 ]; }
digests() { find "$1" -type f | sort | xargs sha256sum; }
base=$(digests "$model")

# ---- who may write where -------------------------------------------------------------------------
train output.dir="$model"
is "output is the base: exit code" "$status" 2
like "output is the base: message" "$err" "*output.dir*lies inside the base model*"
train output.dir="$model/sub/dir"
is "output inside the base: exit code" "$status" 2
ln -s "$model" "$scratch/link"
train output.dir="$scratch/link/sub"
is "output inside the base through a link: exit code" "$status" 2
run "$LORAC" merge --model "$model" --adapter "$golden/adapter" -o "$model/merged"
is "merge into the base: exit code" "$status" 2
run "$LORAC" merge --model "$model" --adapter "$scratch/golden/adapter" -o "$scratch/golden/adapter"
is "merge into the adapter: exit code" "$status" 2
is "the base is untouched" "$(digests "$model")" "$base"

echo text >"$scratch/file"
train output.dir="$scratch/file/below"
is "output below a file: exit code" "$status" 1
ok "output below a file: one line" one_line

train
is "a run: exit code" "$status" 0
before=$(digests "$dir")
train
is "a second run in its directory: exit code" "$status" 2
like "a second run in its directory: remedy" "$err" "*holds a run already*--resume auto*"
is "a second run in its directory: nothing changed" "$(digests "$dir" | grep -v '\.lock')" "$(grep -v '\.lock' <<<"$before")"
train --resume auto
is "a finished run: exit code" "$status" 0
like "a finished run: says so" "$err" "*the run is finished*nothing to do*"

"$LORAC" train "$scratch/run.yaml" output.dir="$scratch/busy" train.max_steps=300000 \
    train.save_steps=1h train.eval_steps=100000 2>/dev/null &
pid=$!
for _ in {1..200}; do [ -s "$scratch/busy/metrics.jsonl" ] && break; sleep 0.05; done
train output.dir="$scratch/busy" --resume auto
is "two runs in one directory: exit code" "$status" 1
like "two runs in one directory: names process and host" "$err" "*another run is writing here (process $pid on $(hostname))*"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
train output.dir="$scratch/busy" --resume auto train.max_steps=300000 train.save_steps=1h \
    train.eval_steps=100000 --max-hours 0.0001
is "a lock ends with its process" "$status" 85

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    mkdir "$scratch/closed" && chmod 755 "$scratch" "$scratch/closed"
    chmod -R a+rX "$scratch/golden" "$scratch/run.yaml"
    if "${as[@]}" "$LORAC" --version >/dev/null 2>&1; then
        run "${as[@]}" "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/closed/run"
        is "a directory that may not be written: exit code" "$status" 1
        like "a directory that may not be written: message" "$err" "*lorac: override output.dir: $scratch/closed/run: Permission denied*"
        run "${as[@]}" "$LORAC" merge --model "$model" --adapter "$golden/adapter" -o "$scratch/closed/m"
        is "merge where nothing may be written: exit code" "$status" 1
    else
        skip "a directory that may not be written" "the program cannot be run by another user here"
    fi
else
    skip "a directory that may not be written" "needs root and setpriv"
fi

# ---- full disks ----------------------------------------------------------------------------------
if [ "$(id -u)" = 0 ] && mkdir "$scratch/small" && mount -t tmpfs -o size=640k tmpfs "$scratch/small" 2>/dev/null; then
    trap 'umount "$scratch/small"; rm -rf "$scratch"' EXIT
    train output.dir="$scratch/small/run"
    is "no room for the run: exit code" "$status" 1
    like "no room for the run: said before the first step" "$err" \
        "*$scratch/small/run: * are free, this run writes *; free some, *"
    ok "no room for the run: no step" [ ! -s "$scratch/small/run/metrics.jsonl" ]
    rm -rf "$scratch/small/run"
    run "$LORAC" merge --model "$model" --adapter "$golden/adapter" -o "$scratch/small/m" --dtype f32
    is "room for a small merge: exit code" "$status" 0
    rm -rf "$scratch/small/m"
    head -c 560k /dev/zero >"$scratch/small/fill"
    run "$LORAC" merge --model "$model" --adapter "$golden/adapter" -o "$scratch/small/m" --dtype f32
    is "no room for a merge: exit code" "$status" 1
    like "no room for a merge: message" "$err" "*are free, the model takes *"
    ok "no room for a merge: nothing is left" [ -z "$(find "$scratch/small" -name '*.safetensors*')" ]
    rm "$scratch/small/fill"
    # it fills up while the run goes on
    mount -o remount,size=16m "$scratch/small"
    "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/small/run" train.max_steps=300000 \
        train.save_steps=5 train.eval_steps=100000 2>"$scratch/err" &
    pid=$!
    for _ in {1..400}; do [ "$(find "$scratch/small/run" -name 'step-*.h5' 2>/dev/null | wc -l)" -ge 2 ] && break; sleep 0.05; done
    cat /dev/zero >"$scratch/small/fill" 2>/dev/null
    status=0
    wait "$pid" || status=$?
    err=$(<"$scratch/err")
    is "the disk fills: exit code" "$status" 1
    like "the disk fills: message" "$err" \
        "*No space left on device; make room there (a checkpoint takes *), then go on with the same command and --resume auto"
    rm "$scratch/small/fill"
    run "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/small/run" train.max_steps=300000 \
        train.save_steps=5 train.eval_steps=100000 --resume auto --max-hours 0.0001
    is "the disk fills: the earlier checkpoint goes on" "$status" 85
    like "the disk fills: from a checkpoint" "$err" "*going on from *"
else
    skip "full disks" "needs root and a tmpfs"
fi

run bash -c "ulimit -f 8; '$LORAC' train '$scratch/run.yaml' output.dir='$scratch/limited'"
is "a limit on file sizes: an error, not a signal" "$status" 1
like "a limit on file sizes: message" "$err" "*File too large; make room there*--resume auto"
run "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/limited" --resume auto
is "a limit on file sizes, lifted: goes on" "$status" 0

# ---- results that cannot be written --------------------------------------------------------------
eval_args=(eval --model "$model" --data "$golden/batch.jsonl" --format tokens)
run "$LORAC" "${eval_args[@]}" --json
is "eval: exit code" "$status" 0
if [ -w /dev/full ]; then
    run bash -c "'$LORAC' ${eval_args[*]} --json >/dev/full"
    is "eval to a full disk: exit code" "$status" 1
    like "eval to a full disk: message" "$err" "*cannot write to standard output*No space left*"
fi
run bash -c "'$LORAC' ${eval_args[*]} >&-"
is "eval to a closed stdout: exit code" "$status" 1
run bash -c "'$LORAC' ${eval_args[*]} 2>/dev/null | true; exit \${PIPESTATUS[0]}"
like "eval to a reader that left: in time, or as by SIGPIPE" "$status" "@(0|141)"

# ---- modes ---------------------------------------------------------------------------------------
mode() { stat -c %a "$1"; }
rm -rf "$dir" "$scratch/up"
(umask 022; "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/up/run" 2>/dev/null)
dir=$scratch/up/run
is "private: the directory" "$(mode "$dir")" 700
is "private: the one above it" "$(mode "$scratch/up")" 755
for f in metrics.jsonl config.yaml run.json step-000004.h5 .lock; do
    is "a private run: $f is for its owner alone" "$(mode "$dir/$f")" 600
done
is "adapters follow the umask" "$(mode "$dir/adapter/adapter_model.safetensors") $(mode "$dir/adapter")" "644 755"
(umask 022; "$LORAC" train "$scratch/run.yaml" output.dir="$scratch/open" output.private=false 2>/dev/null)
is "not private: follow the umask" \
    "$(mode "$scratch/open") $(mode "$scratch/open/metrics.jsonl") $(mode "$scratch/open/step-000004.h5")" "755 644 644"
is "the cache of hashes is private" "$(mode "$XDG_CACHE_HOME/lorac") $(mode "$XDG_CACHE_HOME/lorac/sha256")" "700 600"

# ---- licences ------------------------------------------------------------------------------------
notice='Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) Meta Platforms, Inc. All Rights Reserved.'
cp -r "$model" "$scratch/Llama-2-tiny"
l2=$scratch/Llama-2-tiny
run "$LORAC" merge --model "$l2" --adapter "$golden/adapter" -o "$scratch/m1"
is "Llama 2 without its agreement: exit code" "$status" 0
like "Llama 2 without its agreement: a warning" "$err" "*warning: $l2: *LICENSE*"
is "Llama 2 without its agreement: the Notice" "$(<"$scratch/m1/Notice")" "$notice"
echo "LLAMA 2 COMMUNITY LICENSE AGREEMENT ..." >"$l2/LICENSE.txt"
echo "Use policy" >"$l2/USE_POLICY.md"
mv "$l2" "$scratch/renamed"
run "$LORAC" merge --model "$scratch/renamed" --adapter "$golden/adapter" -o "$scratch/m2"
is "by its agreement: no warning" "$(grep -c warning <<<"$err")" 0
is "by its agreement: the files travel" "$(cd "$scratch/m2" && cat LICENSE.txt USE_POLICY.md Notice)" \
    "$(cat "$scratch/renamed/LICENSE.txt" "$scratch/renamed/USE_POLICY.md")
$notice"
train output.dir="$scratch/licensed" model.path="$scratch/renamed"
is "an adapter carries them too" "$(cat "$scratch/licensed/adapter/Notice")" "$notice"
echo "Apache License" >"$scratch/renamed/LICENSE.txt"
mkdir "$scratch/llama-2-named" && cp "$scratch/renamed/"* "$scratch/llama-2-named/"
run "$LORAC" merge --model "$scratch/llama-2-named" --adapter "$golden/adapter" -o "$scratch/m3"
ok "another licence: no Notice of Llama 2's" [ ! -e "$scratch/m3/Notice" ]
mkdir "$scratch/files" && echo mine >"$scratch/files/LICENSE.txt"
run "$LORAC" merge --model "$scratch/llama-2-named" --adapter "$golden/adapter" -o "$scratch/files/m.gguf"
is "beside a GGUF file: what is there stays" "$(cd "$scratch/files" && cat LICENSE.txt USE_POLICY.md)" "mine
Use policy"

done_testing
