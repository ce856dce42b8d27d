#!/bin/bash
# What a run may do to its output.dir: where it may begin, what a refusal leaves, what others can
# read; and runs of few steps, parts of an epoch.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
umask 022

tiny=$PWD/checkpoints/tiny-base
for i in {1..12}; do
    printf '{"prompt": "Category: %s", "completion": " number %s"}\n' "$i" "$i"
done >"$scratch/data.jsonl"
config() { # config DIR [LINE]...: a configuration on stdout
    printf 'model: {path: %s}\ndata: {train: %s, template: plain}\n' "$tiny" "$scratch/data.jsonl"
    printf 'adapter: {r: 2}\noutput: {dir: %s}\n' "$1"
    shift
    printf '%s\n' "$@"
}
tree() { find "$1" -mindepth 1 -printf '%P %y %m %s\n' | LC_ALL=C sort; }

train() { run "$LORAC" train "$@"; }

# ---- where a run may not begin: exit code 2, and nothing there changes ---------------------------

refused() { # refused NAME DIR PATTERN [OVERRIDE]...
    local name=$1 dir=$2 pattern=$3 before
    shift 3
    config "$dir" >"$scratch/run.yaml"
    before=$(tree "$scratch/place")
    train "$scratch/run.yaml" "$@"
    is "$name: refused" "$status" 2
    like "$name: message" "$err" "$pattern"
    is "$name: nothing is new" "$(tree "$scratch/place")" "$before"
}
place() { rm -rf "$scratch/place" && mkdir -p "$scratch/place"; }

place
mkdir "$scratch/place/models"
touch "$scratch/place/models/other.gguf"
refused "a directory of models" "$scratch/place/models" \
    "*output.dir*place/models is not empty and not the directory of a run: it holds \"other.gguf\"; choose*"
refused "the same, going on" "$scratch/place/models" "*is not empty*" --resume auto
run "$LORAC" plan "$scratch/run.yaml"
is "plan beside others' files: exit code" "$status" 0
like "plan beside others' files: says what train will say" "$err" "*note: train will refuse output.dir: *is not empty*"
model=$(sed -n 's/^model: {path: \(.*\)}$/\1/p; s/^  path: //p' "$scratch/run.yaml" | head -n 1)
run "$LORAC" plan "$scratch/run.yaml" "output.dir=$model/run"
like "plan inside the base model: says what train will say" "$err" "*note: train will refuse output.dir: lies inside the base model*"
place
mkdir "$scratch/place/adapter"
refused "a directory of another adapter" "$scratch/place" "*it holds \"adapter\"*"
place
echo 'a: b' >"$scratch/place/config.yaml"
refused "somebody's config.yaml" "$scratch/place" "*it holds \"config.yaml\"*"
place
touch "$scratch/place/.hidden"
refused "a hidden file" "$scratch/place" "*it holds \".hidden\"*"
place
mkdir "$scratch/place/job.log"
refused "a directory that is called a log" "$scratch/place" "*it holds \"job.log\"*"
place
touch "$scratch/place/file"
refused "a file" "$scratch/place/file" "*place/file: is a file, wanted a directory*"
config "$scratch/place/file/run" >"$scratch/run.yaml"
train "$scratch/run.yaml"
is "below a file: exit code" "$status" 1
like "below a file: message" "$err" "*place/file: is a file, wanted a directory*"
is "below a file: nothing is new" "$(tree "$scratch/place")" "file f 644 0"
place
ln -s nowhere "$scratch/place/link"
refused "a link to nothing" "$scratch/place/link" "*is a symbolic link to nothing*"
place
config "$scratch/place" >"$scratch/place/config.yaml"
before=$(tree "$scratch/place")
train "$scratch/place/config.yaml"
is "its own configuration under the run's name: refused" "$status" 2
like "its own configuration under the run's name: message" "$err" \
    "*config.yaml is the configuration given*another name*"
is "its own configuration under the run's name: nothing is new" "$(tree "$scratch/place")" "$before"

# ---- whatever else is wrong: no directory, no lock -----------------------------------------------

place
dir=$scratch/place/a/b/run
config "$dir" >"$scratch/run.yaml"
echo '{"prompt": 1' >"$scratch/bad.jsonl"
while IFS='|' read -r name code arguments; do
    # shellcheck disable=SC2086 # words
    train "$scratch/run.yaml" $arguments
    is "$name: exit code" "$status" "$code"
    is "$name: leaves nothing" "$(tree "$scratch/place")" ""
    mkdir -p "$dir"
    # shellcheck disable=SC2086 # words
    train "$scratch/run.yaml" $arguments
    is "$name, in an empty directory: leaves nothing" "$(tree "$dir")" ""
    rm -rf "$scratch/place/a"
done <<END
bad data|1|data.train=$scratch/bad.jsonl
missing data|1|data.train=$scratch/none.jsonl
a misspelt key|2|train.sed=1
a missing model|1|model.path=$scratch/none
a wrong template|2|data.template=alpca
a missing checkpoint|1|--resume $scratch/none.h5
a directory as a checkpoint|1|--resume $scratch
no step above rate 0|2|train.warmup_steps=1 train.max_steps=1
the same, going on|2|train.warmup_steps=1 train.max_steps=1 --resume auto
a wrong adapter to start from|1|adapter.init_from=$scratch/none
too little memory|1|train.memory_budget=1MiB
END
for command in plan "data check" "data show"; do
    # shellcheck disable=SC2086 # words
    run $LORAC $command "$scratch/run.yaml"
    is "$command: exit code" "$status" 0
    is "$command: makes no directory" "$(tree "$scratch/place")" ""
done
run env XDG_CACHE_HOME="$scratch/cache" "$LORAC" data prepare "$scratch/run.yaml"
is "data prepare: makes no directory" "$status$(tree "$scratch/place")" 0

# ---- checkpoints that leave nothing to do elsewhere ----------------------------------------------

place
config "$scratch/place/done" "train: {max_steps: 2}" >"$scratch/run.yaml"
train "$scratch/run.yaml"
is "a run that is finished" "$status" 0
mkdir "$scratch/other"
train "$scratch/run.yaml" output.dir="$scratch/other/run" --resume "$scratch/place/done/step-000002.h5"
is "the last step, in another directory: exit code" "$status" 2
like "the last step, in another directory: says why" "$err" "*step-000002.h5*is of the last step: nothing is left to train*"
is "the last step, in another directory: leaves nothing" "$(tree "$scratch/other")" ""
train "$scratch/run.yaml" --resume "$scratch/place/done"
like "a directory in the place of a checkpoint: what to write" "$err" "*is a directory, wanted auto*step-....h5*"
train "$scratch/run.yaml" --resume yes
like "a word in the place of a checkpoint: what to write" "$err" "*--resume \"yes\": no such file, wanted auto*"

# ---- where it may --------------------------------------------------------------------------------

begins() { # begins NAME DIR
    config "$2" "train: {max_steps: 1}" >"$scratch/run.yaml"
    train "${3:-$scratch/run.yaml}"
    is "$1: exit code" "$status" 0
    ok "$1: is a run" [ -f "$2/run.json" ]
}
place
begins "a new directory below new ones" "$scratch/place/x/y"
is "a new directory is its owner's" "$(stat -c %a "$scratch/place/x/y")" 700
is "the ones above follow the umask" "$(stat -c %a "$scratch/place/x")" 755
ok "a new directory: no note on its mode" [ -z "$(grep 'was there already' <<<"$err")" ]
place
touch "$scratch/place/"{slurm-12.out,slurm-12.err,train.log,.DS_Store,.gitkeep}
config "$scratch/place" "train: {max_steps: 1}" >"$scratch/place/my.yaml"
begins "beside its configuration and logs" "$scratch/place" "$scratch/place/my.yaml"
like "a directory that others can enter is told" "$err" "*note: output.dir*mode 755*adapters*chmod 700*"
place
chmod 700 "$scratch/place"
begins "an empty directory" "$scratch/place"
ok "a directory of the user's own: no note on its mode" [ -z "$(grep 'was there already' <<<"$err")" ]
train "$scratch/run.yaml"
is "a run is there already: refused" "$status" 2
like "a run is there already: how to continue" "$err" "*holds a run already*--resume auto*"
train "$scratch/run.yaml" --resume auto
is "a finished run: nothing to do" "$status" 0
place
mkdir "$scratch/place/there"
ln -s there "$scratch/place/link"
begins "through a link" "$scratch/place/link"

# ---- few steps, parts of an epoch ----------------------------------------------------------------

steps() { grep -c '"loss"' "$1/metrics.jsonl"; }
place
dir=$scratch/place/run
config "$dir" "train: {batch_size: 12, num_epochs: 1, learning_rate: 2.0e-4}" >"$scratch/run.yaml"
run "$LORAC" plan "$scratch/run.yaml"
like "plan tells few steps" "$err" "*1 optimiser step in all*batch_size*"
run "$LORAC" data check "$scratch/run.yaml"
like "data check tells few steps" "$err" "*1 optimiser step in all*"
train "$scratch/run.yaml"
is "one step: trained" "$status" 0
like "train tells few steps" "$err" "*note: 12 examples in batches of 12 are 1 optimiser step in all*"
like "one step: at the full rate" "$(cat "$dir/metrics.jsonl")" '*"learning_rate": 0.0002,*'
run "$LORAC" plan "$scratch/run.yaml" train.warmup_steps=1
is "no step above rate 0: refused by plan" "$status" 2
like "no step above rate 0: which key" "$err" "*override train.warmup_steps: found a warm-up of 1 step in a run of 1*"
run "$LORAC" data check "$scratch/run.yaml" train.warmup_steps=1
is "no step above rate 0: refused by data check" "$status" 2
place
config "$dir" "train: {batch_size: 2, num_epochs: 1.5}" >"$scratch/run.yaml"
train "$scratch/run.yaml" --max-hours 0.000001
is "one epoch and a half, stopped" "$status" 85
train "$scratch/run.yaml" --resume auto
is "one epoch and a half: goes on" "$status" 0
is "one epoch and a half: steps" "$(steps "$dir")" 9
like "one epoch and a half: the last one's epoch" "$(grep '"step": 9,' "$dir/metrics.jsonl")" '*"epoch": 1.5,*'
like "one epoch and a half: as it was written" "$(cat "$dir/config.yaml")" "*num_epochs: 1.5*"
place
config "$dir" "train: {batch_size: 2, num_epochs: 0.5}" >"$scratch/run.yaml"
run "$LORAC" plan "$scratch/run.yaml" --json
like "half an epoch: planned" "$out" '*"steps": 3, "steps_per_epoch": 6,*'
train "$scratch/run.yaml"
is "half an epoch: steps" "$(steps "$dir")" 3

done_testing
