#!/bin/bash
# make install and uninstall in a directory of their own; the man pages and the completion of bash,
# which must name every command, option and key.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
LORAC=$(realpath "$LORAC")
dest=$scratch/dest build=$scratch/build
mkdir -p "$build"
cp "$LORAC" "$build/lorac"
# -o: the program is there, whatever its sources say
make_it() { run make -s -o "$build/lorac" BUILD="$build" PREFIX=/opt/lorac "$@"; }
files() { (cd "$dest" && find . -type f | sort); }

# ---- install, uninstall --------------------------------------------------------------------------
make_it DESTDIR="$dest" install
is "install: exit code" "$status" 0
for file in bin/lorac share/man/man1/lorac.1 share/man/man5/lorac-config.5 share/bash-completion/completions/lorac \
    share/lorac/configs/demo.yaml share/doc/lorac/README.md share/lorac/modulefiles/lorac/; do
    ok "install: $file" [ -e "$dest/opt/lorac/$file" ]
done
is "install: all is below PREFIX" "$(find "$dest" -mindepth 1 -not -path "$dest/opt*")" ""
is "install: no path of the building machine in what was installed" \
    "$(grep -rlF -e "$scratch" "$dest" --exclude=lorac)" ""
is "install: a recipe is the repository's" "$(<"$dest/opt/lorac/share/lorac/configs/demo.yaml")" "$(<configs/demo.yaml)"
run "$dest/opt/lorac/bin/lorac" --version
is "install: the program runs" "$status" 0
is "install: modes" "$(find "$dest" -type f -not -perm 644 -printf '%m %f\n' | grep -v '\.sh$\|\.sbatch$')" "755 lorac"
is "install: every file is listed" "$(sed 's|^|.|' "$dest/opt/lorac/share/lorac/installed" | sort)" "$(files)"

before=$(files)
make_it DESTDIR="$dest" install
is "install again: the same files" "$(files)" "$before"
echo mine >"$dest/opt/lorac/share/lorac/configs/mine.yaml"
echo mine >"$dest/opt/lorac/share/man/man1/other.1"
make_it DESTDIR="$dest" uninstall
is "uninstall: exit code" "$status" 0
is "uninstall: only foreign files are left" "$(files)" \
    $'./opt/lorac/share/lorac/configs/mine.yaml\n./opt/lorac/share/man/man1/other.1'
like "uninstall: a foreign file is told" "$out" "*left: */share/lorac holds files that make install did not put there*"
rm "$dest/opt/lorac/share/lorac/configs/mine.yaml" "$dest/opt/lorac/share/man/man1/other.1"
make_it DESTDIR="$dest" uninstall
is "uninstall twice: fails" "$((status != 0))" 1
like "uninstall twice: told" "$err" "*lorac is not installed here: there is no $dest/opt/lorac/share/lorac/installed*"
make_it DESTDIR="$dest" install
make_it DESTDIR="$dest" uninstall
is "uninstall: nothing is left" "$(files)" ""
is "uninstall: no directory of lorac's own is left" "$(find "$dest" -path '*/share/*' -name lorac)" ""
make_it DESTDIR="$dest/a b" PREFIX="/c d" MANDIR=/man install
is "paths with blanks, MANDIR: exit code" "$status" 0
ok "paths with blanks, MANDIR: the page" [ -r "$dest/a b/man/man1/lorac-train.1" ]
ok "paths with blanks, MANDIR: the program" [ -x "$dest/a b/c d/bin/lorac" ]
make_it DESTDIR="$dest/a b" PREFIX="/c d" MANDIR=/man uninstall
is "paths with blanks, MANDIR: nothing is left" "$(files)" ""
make_it DESTDIR="$dest" install

# ---- man pages -----------------------------------------------------------------------------------
man=$dest/opt/lorac/share/man
mapfile -t commands < <("$LORAC" --help | sed -n 's/^  \([a-z]\+\)  .*/\1/p')
ok "help lists commands" [ ${#commands[@]} -gt 10 ]
is "a page for each command" "$(cd "$man/man1" && printf '%s\n' lorac-*.1 | sort)" \
    "$(printf 'lorac-%s.1\n' "${commands[@]}" | sort)"
if command -v mandoc >/dev/null; then
    is "mandoc has nothing to say" "$(mandoc -Tlint -W warning "$man"/man?/*)" ""
    shown() { mandoc -Tutf8 -O width=500 "$1" | sed 's/.\x08//g'; }
    page=$(shown "$man/man1/lorac.1")
    for c in "${commands[@]}"; do
        like "lorac(1) names $c" "$page" "*lorac-$c(1)*"
        "$LORAC" "$c" --help | grep -oE '^  (-[a-zA-Z], )?--[a-z-]+' | sed 's/ *//' >"$scratch/options"
        shown "$man/man1/lorac-$c.1" >"$scratch/page"
        is "lorac-$c(1): every option" "$(grep -vxFf <(grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' "$scratch/page" |
            sed 's/^ *//') "$scratch/options")" ""
        is "lorac-$c(1): the examples as they are" \
            "$("$LORAC" "$c" --help | sed '1,/^Examples:/d; s/^ *//' | grep -vxFf <(sed 's/^ *//' "$scratch/page"))" ""
    done
    shown "$man/man5/lorac-config.5" >"$scratch/page"
    is "lorac-config(5): every key" "$("$LORAC" help keys | awk -F'[ `]' '/^## /{s=$2} /^\| `[a-z_]+`.*(default|must|`)/{print s "." $3}' |
        grep -E '^(model|data|adapter|train|output)\.' | grep -vxFf <(grep -oE '^ +[a-z]+\.[a-z_0-9]+$' "$scratch/page" | sed 's/ *//'))" ""
else
    skip "man pages by mandoc" "mandoc is not installed"
fi
if man --version 2>/dev/null | grep -q '^man [0-9]'; then
    is "man has no warnings" "$(for page in "$man"/man?/*; do
        LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null
    done)" ""
else
    skip "man --warnings" "man-db is not installed"
fi

# ---- completion, asked as bash asks it -----------------------------------------------------------
completion=$dest/opt/lorac/share/bash-completion/completions/lorac
complete_line() { # the answers to TAB at the end of this line, with = as bash has it
    bash --norc -c '. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; compopt() { :; }; _lorac; printf "%s\n" "${COMPREPLY[@]}"' \
        - "$completion" "$1"
}
ok "completion: bash reads it" bash -n "$completion"
if command -v shellcheck >/dev/null; then ok "completion: shellcheck" shellcheck "$completion"; fi
is "completion: all commands" "$(complete_line 'lorac ' | grep -vE '^(help|--.*)$')" "$(printf '%s\n' "${commands[@]}")"
for c in "${commands[@]}"; do
    is "completion: every option of $c" "$("$LORAC" "$c" --help | grep -oE '^  (-[a-zA-Z], )?--[a-z-]+' |
        sed 's/.*--/--/' | grep -vxFf <(complete_line "lorac $c --"))" ""
done
is "completion: every key" "$(complete_line 'lorac train run.yaml ' | sed 's/=$//' | sort)" \
    "$(bash -c '. "$1"; printf "%s\n" "${_lorac_keys[@]%=}"' - "$completion" | sort)"
is "completion: as many keys as the table has" "$(complete_line 'lorac train run.yaml ' | wc -l)" \
    "$(grep -c '^KEY(' src/config/keys.def)"
is "completion: words of a key" "$(complete_line 'lorac train run.yaml data.train_on=')" \
    $'responses\nlast_response\neverything'
is "completion: words of a key, begun" "$(complete_line 'lorac plan --json run.yaml data.on_error=s')" $'stop\nskip'
is "completion: a number has no words" "$(complete_line 'lorac train run.yaml adapter.r=')" ""
is "completion: a file before keys" "$(complete_line 'lorac train ')" ""
is "completion: a file after the action" "$(complete_line 'lorac data show ')" ""
is "completion: the actions" "$(complete_line 'lorac data ')" $'show\ncheck\nprepare'
is "completion: keys after action and file" "$(complete_line 'lorac data show -n 2 run.yaml output.d')" "output.dir="
is "completion: words of an option" "$(complete_line 'lorac merge --format ')" $'hf\ngguf'
is "completion: words of an option after =" "$(complete_line 'lorac merge --format=g')" "gguf"
is "completion: an unknown command has none" "$(complete_line 'lorac xyzzy ')" ""

# In a bash that a person types into, the line itself must change.
typed() { # typed KEYS: the arguments that bash has after these keys, one in <> each
    python3 - "$completion" "$1" <<'PYTHON'
import os, pty, re, select, sys
completion, keys = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PS1="$ ", INPUTRC="/dev/null", HISTFILE="/dev/null")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
def until(mark):
    said = b""
    while mark not in said and select.select([fd], [], [], 20)[0]:
        try:
            said += os.read(fd, 65536)
        except OSError:
            break
    return said
os.write(fd, b"bind 'set enable-bracketed-paste off'; . '%s'; echo rea''dy\n" % completion.encode())
until(b"ready\r\n")
os.write(fd, keys.encode().decode("unicode_escape").encode() + b"\x01printf '<%s>' \x05; echo en''d; exit\n")
print(re.search(r"\n(<.*>)end\r", until(b"end\r\n").decode(errors="replace"))[1])
PYTHON
}
cd "$scratch" && touch 'my run.yaml'
is "bash: a command" "$(typed 'lorac trai\t')" "<lorac><train>"
is "bash: an option" "$(typed 'lorac train --max\t11')" "<lorac><train><--max-hours><11>"
is "bash: a key and its word" "$(typed 'lorac train x.yaml data.train_on_e\tf\t')" \
    "<lorac><train><x.yaml><data.train_on_eos=false>"
is "bash: a file with a blank" "$(typed 'lorac plan my\t')" "<lorac><plan><my run.yaml>"
is "bash: a file as a value" "$(typed 'lorac train x.yaml data.train=my\t')" \
    "<lorac><train><x.yaml><data.train=my run.yaml>"
cd - >/dev/null || exit 1

# ---- recipes that are not run here ---------------------------------------------------------------
for part in post environment runscript test; do
    sed -n "/^%$part$/,/^%/{/^%/d;p}" scripts/packaging/apptainer/lorac.def >"$scratch/part"
    ok "Apptainer: %$part is valid shell" sh -n "$scratch/part"
    ok "Apptainer: %$part is there" [ -s "$scratch/part" ]
done
version=$(sed -n 's/^VERSION *= *//p' Makefile)
for file in scripts/packaging/{spack/package.py,easybuild/lorac-*.eb}; do
    ok "${file##*/}: Python reads it" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$file"
    ok "${file##*/}: has the Makefile's version" grep -q "version.*$version" "$file"
done
ok "debian/changelog has the Makefile's version" grep -q "^lorac ($version-" scripts/packaging/debian/changelog
ok "lorac.def has the Makefile's version" grep -q "lorac-$version.tar.gz" scripts/packaging/apptainer/lorac.def

# ---- the modulefile ------------------------------------------------------------------------------
modulecmd=${MODULECMD:-/usr/lib/x86_64-linux-gnu/modulecmd.tcl}
if command -v tclsh >/dev/null && [ -r "$modulecmd" ]; then
    export MODULEPATH=$dest/opt/lorac/share/lorac/modulefiles
    run env PATH="$PATH" tclsh "$modulecmd" bash load lorac
    like "module load: PATH" "$out" "*PATH=/opt/lorac/bin:*"
    like "module load: MANPATH" "$out" "*MANPATH=*/opt/lorac/share/man*"
    like "module load: LORAC_ROOT" "$out" "*LORAC_ROOT=*/opt/lorac*"
else
    skip "module load" "Environment Modules are not installed"
fi
done_testing
