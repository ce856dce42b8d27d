#!/bin/bash
# scripts/hooks/commit-msg: what it takes and what it refuses, `make hooks`, and how lint reports
# the commits that were made without it.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
hook=$PWD/scripts/hooks/commit-msg
if ! command -v git >/dev/null; then
    skip "the hook" "git is not installed"
    done_testing
    exit 0
fi
repo=$scratch/repo
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b \
    GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
git init -q "$repo"
cd "$repo" || exit 1
mkdir -p scripts/hooks tests/golden
cp "$hook" scripts/hooks/
cp "$OLDPWD"/scripts/{lint,command-line.sh} scripts/
git add . && git commit -q -m 'hooks: hold messages to the rules'

takes() {
    printf '%s\n' "$1" >"$scratch/message"
    run "$hook" "$scratch/message"
    is "takes: ${1%%$'\n'*}" "$status$err" 0
}
refuses() { # refuses MESSAGE PATTERN
    printf '%s\n' "$1" >"$scratch/message"
    run "$hook" "$scratch/message"
    is "refuses: ${1%%$'\n'*}: exit code" "$status" 1
    like "refuses: ${1%%$'\n'*}: says why" "$err" "commit-msg: *$2*"
}

# ---- subjects ------------------------------------------------------------------------------------
takes 'gguf: read Q6_K'
takes 'train, plan: hold an adapter against its base'
takes 'tests/fuzz: keep texts that normalise'
takes 'README: pass words on'
takes 'base: need less memory'
takes 'data: bring columns into order'
takes 'kernels: Q6_K takes one row'
takes "data: say $(printf 'ä%.0s' {1..62})"
takes $'data: say it\n\n# Please enter the commit message for your changes.'
takes 'Merge branch "x"; and more'
takes 'Revert "gguf: the row"'
takes 'fixup! gguf: read Q6_K'
refuses 'read Q6_K' 'wanted "area: summary"'
refuses 'gguf:read Q6_K' 'wanted "area: summary"'
refuses 'gguf: read Q6_K; write it too' 'joins two things'
refuses 'gguf: wip' 'unfinished'
refuses 'WIP: read Q6_K' 'unfinished'
refuses "gguf: read$(printf ' %.0s.' {1..40})" 'columns, wanted at most 72'
for word in reads reading added the a what every no fixes made; do
    refuses "gguf: $word Q6_K" "begins with \"$word\""
done
refuses $'gguf: read Q6_K\nand more' 'empty line after the subject'

# ---- bodies --------------------------------------------------------------------------------------
seq 101 >a.c
git add a.c
refuses 'gguf: read Q6_K' '101 lines of code change'
refuses $'gguf: read Q6_K\n\nSigned-off-by: a\n# a comment' '101 lines of code change'
takes $'gguf: read Q6_K\n\nIts blocks have 256 values.'
refuses $'gguf: read Q6_K\n\n# ------------------------ >8 ------------------------\nIts diff' '101 lines'
seq 100 >a.c
git add a.c
takes 'gguf: read Q6_K'
git mv a.c tests/golden/a
seq 5000 >tests/golden/b
seq 5000 >README.md
git add .
takes 'tests: make the goldens anew'

# ---- installed -----------------------------------------------------------------------------------
cp "$OLDPWD/Makefile" .
run make -s hooks
is "make hooks: exit code" "$status" 0
run git commit -q -m 'gguf: reading Q6_K'
is "git commit refuses" "$status" 1
like "git commit says why" "$err" '*begins with "reading"*'
run git commit -q -m 'gguf: read Q6_K'
is "git commit takes a good message: exit code" "$status" 0

# ---- lint ----------------------------------------------------------------------------------------
run scripts/lint commits
is "lint: no commit breaks the rules" "$status$out" "0✓ commits: 1 since the rules"
git commit -q --no-verify --allow-empty -m 'gguf: reading; and more'
run env STRICT=1 scripts/lint commits
is "lint: does not fail" "$status" 0
like "lint: names the commit and what is wrong" "$out" \
    "- commits: *$(git rev-parse --short HEAD) gguf: reading; and more*joins two*begins with*1 of 2*"
git checkout -q -b other HEAD~1
git commit -q --allow-empty -m 'gguf: write Q6_K'
git merge -q --no-ff --no-verify -m 'the two; merged' master 2>/dev/null ||
    git merge -q --no-ff --no-verify -m 'the two; merged' main 2>/dev/null
run "$hook" --commit HEAD
is "a merge by any name is exempt" "$status$err" 0
done_testing
