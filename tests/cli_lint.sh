#!/bin/bash
# Each check of scripts/lint passes on a small clean tree and fails on the same tree broken once.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

tree=$scratch/tree
clean_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/{kernels,src/{base,config,data},scripts,tests,configs}
    cp scripts/{lint,check-code,check-layers,check-circles,check-readmes,check-path,write-docs} "$tree/scripts"
    cp scripts/{command-line.sh,CommandLine.pm} "$tree/scripts"
    # shellcheck disable=SC2016 # backticks of Markdown
    printf '| `%s` | x |\n' lint check-{code,layers,circles,readmes,path} write-docs command-line.sh CommandLine.pm \
        >"$tree/scripts/README.md"
    echo "# none" >"$tree/tests/README.md"
    cp layers.txt "$tree/layers.txt"
    cp .clang-format "$tree"
    printf '#!/bin/bash\necho "# keys"\n' >"$tree/lorac"
    chmod +x "$tree/lorac"
    echo '# keys' >"$tree/configs/README.md"
    # shellcheck disable=SC2016
    printf '## The path of one %s\n| `a` | src/config/b.c | x |\n' step record >"$tree/CONTRIBUTING.md"
    echo '## Next' >>"$tree/CONTRIBUTING.md"
    cat >"$tree/src/base/a.h" <<'C'
#ifndef LORAC_BASE_A_H
#define LORAC_BASE_A_H

int a(int x);

#endif
C
    cat >"$tree/src/config/b.c" <<'C'
#include "src/base/a.h"

/* Not calls: strcpy(a, b), free(x). */
int a(int x)
{
    return x;
}
C
}
lint() { run env -u STRICT LORAC="$tree/lorac" "$tree/scripts/lint" "$@"; }

# breaks CHECK NAME PATTERN: the tree as it stands must fail that check, with that message.
breaks() {
    lint "$1"
    is "$1: $2: fails" "$status" 1
    like "$1: $2: says why" "$out" "✗ $1*$3*"
    clean_tree
}
have() { command -v "$1" >/dev/null; }

clean_tree
lint
is "a clean tree passes" "$status" 0
like "a line for each check" "$out" "*layers*circles*banned*length*text*unfinished*shell*perl*python*documents*readmes*commits*"
ok "no ✗ on a clean tree" [ "${out/✗/}" = "$out" ]

if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    echo 'int  b;' >>"$tree/src/config/b.c"
    breaks format "two spaces" "should be clang-formatted"
fi

echo '#include "src/config/b.h"' >>"$tree/src/base/a.h"
touch "$tree/src/config/b.h"
breaks layers "a header of a higher floor" "src/base/a.h:7: includes src/config/b.h*2 floor(s) up"
echo '#include "src/base/none.h"' >>"$tree/src/config/b.c"
breaks layers "a header that is not there" "src/config/b.c:8: *is not a file"
echo '#include <yaml.h>' >>"$tree/src/config/b.c"
breaks layers "a library outside its file" "includes <yaml.h>; only src/config/yaml.c may"
echo '#include <openssl/evp.h>' >>"$tree/src/config/b.c"
breaks layers "a library's folder" "includes <openssl/evp.h>; only src/base/hash.c may"
mkdir "$tree/src/other" && touch "$tree/src/other/x.c"
breaks layers "a folder without a floor" "src/other/x.c: its folder is not in layers.txt"

circle() { # a -> c -> d -> a, by way of a .c file, two headers and another .c file
    echo '#include "src/base/c.h"' >"$tree/src/base/a.c"
    echo '#include "src/base/d.h"' >"$tree/src/base/c.h"
    echo '#include "src/base/a.h"' >"$tree/src/base/d.c"
    touch "$tree/src/base/d.h"
}
circle
breaks circles "files that include each other" "a circle of 3 files: src/base/a src/base/c src/base/d
*src/base/a.c:1 includes src/base/c.h
*src/base/c.h:1 includes src/base/d.h
*src/base/d.c:1 includes src/base/a.h"
sed -i 's/^int a/int b/' "$tree/src/config/b.c"
breaks path "a function that is gone" "CONTRIBUTING.md:2: a is not defined in src/config/b.c*:4: a is not defined"
sed -i '4s/a/b/' "$tree/CONTRIBUTING.md"
breaks path "a function of a record's path" "CONTRIBUTING.md:4: b is not defined in src/config/b.c"
for i in {1..7}; do
    printf 'int a%d(void)\n{\n    return 0;\n}\n' "$i" >"$tree/src/data/a$i.c"
    sed -i "2a| \`a$i\` | src/data/a$i.c | x |" "$tree/CONTRIBUTING.md"
done
breaks path "a step through too many files" "a step passes 8 functions in 8 files, wanted 1 to 45 in at most 7"
sed -i 2d "$tree/CONTRIBUTING.md"
breaks path "a path without a table" "a step passes 0 functions in 0 files, wanted"
{
    echo 'int a(int x)'
    echo '{'
    for i in {1..89}; do echo "    x += $i;"; done
    echo '}'
} >"$tree/src/config/b.c"
breaks path "a function that is too long" "CONTRIBUTING.md:2: a has 92 lines, at most 90"

for f in strcpy sprintf gets strtok atoi rand alloca; do
    echo "int z = $f(0);" >>"$tree/src/base/a.h"
    breaks banned "$f" "src/base/a.h:7: $f() is banned"
done
echo 'void *z = malloc(1);' >>"$tree/src/config/b.c"
breaks banned "malloc" "src/config/b.c:8: malloc() outside src/base"
{ echo 'void *malloc_free(void);' && echo 'int my_free(int x);'; } >>"$tree/src/config/b.c"
lint banned
is "banned: names that only contain one" "$status" 0
clean_tree
printf 'T tests[] = { cmocka_unit_test(f) };\n' >"$tree/tests/t.c"
breaks banned "a test without a sentence" "tests/t.c:1: cmocka_unit_test() prints a name"

{ echo 'int c(void)' && echo '{' && printf '    ;\n%.0s' {1..131} && echo '}'; } >>"$tree/src/config/b.c"
breaks length "a function of 131 lines" "a function of 131 lines, at most 130"
printf '/**/\n%.0s' {1..1201} >"$tree/src/data/c.c"
breaks length "a file of 1201 lines" "1201 lines, at most 1200"

printf '\tint t;\n' >>"$tree/src/config/b.c"
breaks text "a tab" "src/config/b.c:8: a tab"
printf 'int t; \n' >>"$tree/src/config/b.c"
breaks text "a space at the end" "src/config/b.c:8: a space at the end"
printf 'int t;' >>"$tree/src/config/b.c"
breaks text "no last line end" "no line end at the end"
printf '/* %097d */\n' 0 >>"$tree/src/config/b.c"
breaks text "a line of 103 columns" "src/config/b.c:8: 103 columns, at most 100"
{ printf '/* é%093d */\n' 0 && printf '/* ---- a %s */\n' "$(printf '%.0s-' {1..87})"; } >>"$tree/src/config/b.c"
lint text
is "text: 100 columns, one of them of two bytes, and a ruler as wide" "$status" 0
clean_tree
printf '/* ---- a %s */\n' "$(printf '%.0s-' {1..86})" >>"$tree/src/config/b.c"
breaks text "a ruler of 99 columns" "src/config/b.c:8: a ruler of 99 columns, wanted 100"
printf '/* ---- a %s\n * More. */\n' "$(printf '%.0s-' {1..89})" >>"$tree/src/config/b.c"
breaks text "a ruler that begins a comment" "src/config/b.c:8: a ruler of 99 columns, wanted 100"
sed -i 's/_A_H/_B_H/' "$tree/src/base/a.h"
breaks text "a wrong guard" "the guard is not LORAC_BASE_A_H"

echo "/* TO""DO: more */" >>"$tree/src/config/b.c"
breaks unfinished "a reminder" "src/config/b.c:8"

if have shellcheck; then
    # shellcheck disable=SC2016 # the text is a script
    printf '#!/bin/bash\necho $1\n' >"$tree/scripts/x"
    breaks shell "a missing quote" "Double quote"
fi
# shellcheck disable=SC2016 # the text is a script
printf '#!/usr/bin/perl\nuse strict;\n$x = 1;\n' >"$tree/scripts/x"
breaks perl "an undeclared variable" "Global symbol"
if have ruff; then
    echo 'import os' >"$tree/scripts/x.py"
    breaks python "an unused import" "F401"
fi
echo '# other keys' >"$tree/configs/README.md"
breaks documents "an old key reference" "configs/README.md is out of date"

touch "$tree/tests/new.c"
breaks readmes "a file without a row" "tests/README.md: new.c: found no row"
# shellcheck disable=SC2016 # backticks of Markdown
echo '| `lint`, `gone` | x |' >>"$tree/scripts/README.md"
lint readmes
like "readmes: a file in two rows" "$out" "*scripts/README.md: lint: found in lines 1 and 10, wanted once*"
breaks readmes "a row without a file" "scripts/README.md:10: gone: not a file of scripts/"

# A missing tool is reported, and is a failure only with STRICT.
mkdir "$scratch/bin"
for tool in bash env find sort sed grep head tail dirname cat; do
    ln -s "$(command -v "$tool")" "$scratch/bin/$tool"
done
PATH=$scratch/bin lint format
is "a missing tool: no failure" "$status" 0
is "a missing tool: said" "$out" "- format: skipped, clang-format 14 is not installed"
run env STRICT=1 PATH="$scratch/bin" "$tree/scripts/lint" format
is "a missing tool with STRICT=1: a failure" "$status" 1

done_testing
