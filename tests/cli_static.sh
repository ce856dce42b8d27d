#!/bin/bash
# The statically linked program (make static): it needs no shared library, and in an empty chroot
# without /proc, /sys and /dev it does what the usual one does, with the same bits.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
: "${LORAC_STATIC:=$(dirname "$LORAC")/static/lorac}"
if [ ! -x "$LORAC_STATIC" ]; then
    echo "1..0 # SKIP no $LORAC_STATIC: 'make static' builds it"
    exit 0
fi

# ---- the file ------------------------------------------------------------------------------------
like "ldd: not a dynamic executable" "$(ldd "$LORAC_STATIC" 2>&1)" "*not a dynamic executable*"
is "no interpreter" "$(readelf -l "$LORAC_STATIC" | grep -c INTERP)" 0
is "no name service, which would load libraries" \
    "$(nm "$LORAC_STATIC" | grep -cwE '__nss_lookup|__nss_module_get_function|getpwnam_r|getpwuid_r')" 0
is "--version: the libraries of the usual program" "$("$LORAC_STATIC" --version | sed '1,3d')" \
    "$("$LORAC" --version | sed '1,3d')"

# Settings for libgomp stand in the environment for a moment, in the places of other variables.
run env -i PATH=/a HOME="$scratch" PWD=/b SHELL=/c USER=d "$LORAC_STATIC" doctor
like "variables that libgomp's settings replaced are back" "$out" "*cache *$scratch*"
run env -i PATH=/a HOME="$scratch" OMP_DISPLAY_ENV=verbose "$LORAC_STATIC" help
like "libgomp has read its settings" "$err" "*GOMP_SPINCOUNT = '30000'*"

# ---- a chroot ------------------------------------------------------------------------------------
root=$scratch/root chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
mkdir -p "$root/data" "$root/out"
tests/make-model tiny "$root/model"
cp "$LORAC_STATIC" "$root/lorac"
cp datasets/sample-alpaca.jsonl datasets/sample-csv.csv "$root/data"
gzip -c datasets/sample-alpaca.jsonl >"$root/data/packed.jsonl.gz"
cat >"$root/run.yaml" <<'YAML'
model: { path: model }
data: { train: data/sample-alpaca.jsonl, validation: data/sample-alpaca.jsonl, template: alpaca }
adapter: { r: 4 }
train: { max_steps: 6, batch_size: 2, save_steps: 3 }
output: { dir: out/run }
YAML
export OMP_NUM_THREADS=2 LORAC_ISA
LORAC_ISA=$("$LORAC" --version | sed -n 's/^  kernels \([a-z0-9]*\),.*/\1/p')

# inside COMMAND...: as an own process in the chroot; nothing of this environment comes along
inside() { run env -i OMP_NUM_THREADS="$OMP_NUM_THREADS" LORAC_ISA="$LORAC_ISA" "$chroot" "$root" /lorac "$@"; }
if [ "$(id -u)" != 0 ] || ! "$chroot" "$root" /lorac --version >/dev/null 2>&1; then
    skip "in a chroot" "needs root"
    done_testing
    exit 0
fi
is "in a chroot: nothing of the system is there" "$(ls -A "$root")" $'data\nlorac\nmodel\nout\nrun.yaml'
inside train run.yaml
is "in a chroot: train: exit code" "$status" 0
like "in a chroot: train says what it cannot know" "$err" \
    "*system    neither /proc nor /sys here: the limits of control groups, *are unknown*"
like "in a chroot: train knows its memory all the same" "$err" "*peak *[1-9]*MiB of memory*"
run env -C "$root" "$(realpath "$LORAC")" train run.yaml output.dir=usual
is "the usual program: exit code" "$status" 0
ok "in a chroot: the bits of the usual program" \
    cmp "$root/out/run/adapter/adapter_model.safetensors" "$root/usual/adapter/adapter_model.safetensors"
rm -r "$root/out/run/adapter" "$root/out/run/step-000006.h5"
inside train run.yaml --resume auto
is "in a chroot: resumed: exit code" "$status" 0
ok "in a chroot: resumed: the bits of the usual program" \
    cmp "$root/out/run/adapter/adapter_model.safetensors" "$root/usual/adapter/adapter_model.safetensors"

works() { # works NAME PATTERN COMMAND...: exit code 0 and that on stdout
    local name="in a chroot: $1" pattern=$2
    shift 2
    inside "$@"
    is "$name: exit code" "$status" 0
    like "$name: result" "$out" "$pattern"
}
works "plan" "*memory*" plan run.yaml output.dir=new
works "eval" "*loss*" eval run.yaml
works "inspect" "*" inspect out/run --verify
works "generate" "*" generate --adapter out/run --max-new-tokens 4 --temperature 0 hello
works "merge" "*" merge --adapter out/run -o merged --verify
works "convert" "*" convert out/run -o adapter.gguf
works "data check, CSV" "*sample-csv*" data check run.yaml data.train=data/sample-csv.csv data.template=null
works "doctor" "*! system *neither /proc nor /sys*-> mount them*✓ cpu *✓ threads *2 (OMP_NUM_THREADS)*memory *" doctor
inside data check run.yaml data.train=data/packed.jsonl.gz
is "in a chroot: a packed file without a place to unpack it: exit code" "$status" 1
like "in a chroot: a packed file without a place to unpack it: the remedy" "$err" "*TMPDIR*"

# Without stdin, stdout and stderr, of which /dev/null would take the place elsewhere.
"$chroot" "$root" /lorac train run.yaml output.dir=closed 0<&- 1>&- 2>&-
is "in a chroot: all descriptors closed: exit code" "$?" 0
"$chroot" "$root" /lorac --version 0<&- 1>&- 2>&-
is "in a chroot: results that cannot be written: exit code" "$?" 1

# OpenBLAS gets the kernels of this CPU: the program starts itself again, without /proc/self/exe.
inside train run.yaml output.dir=again
first=$(sed -n 's/.*OpenBLAS for \([A-Za-z]*\).*/\1/p' <<<"$err")
run env -i OPENBLAS_CORETYPE=Prescott "$chroot" "$root" /lorac train run.yaml output.dir=forced
if [ -n "$first" ]; then
    like "in a chroot: OPENBLAS_CORETYPE is heard" "$err" "*OpenBLAS for Prescott*"
fi
done_testing
