#!/bin/bash
# lorac doctor finds what is wrong in an environment that is made wrong on purpose.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
cpus=$(nproc)

doctor() { run env -u OMP_PROC_BIND -u OMP_PLACES -u GOMP_CPU_AFFINITY -u KMP_AFFINITY -u OMP_NUM_THREADS -u LORAC_ISA -u LORAC_GEMM -u SLURM_JOB_ID -u SLURM_CPUS_PER_TASK "$@" "$LORAC" doctor; }

doctor
is "as it is: nothing to mend" "$status" 0
for what in cpu kernels blas threads memory disk cache; do
    like "looks at: $what" "$out" "*[✓!] $what *"
done
run "$LORAC" doctor --json
ok "doctor --json: is JSON with checks" perl -MJSON::PP -e 'local $/; exit !@{ decode_json(<STDIN>)->{checks} }' <<<"$out"

wrong() { # wrong NAME STATUS PATTERN ENVIRONMENT...
    local name=$1 wanted=$2 pattern=$3
    shift 3
    doctor "$@"
    is "$name: exit code" "$status" "$wanted"
    like "$name: told" "$out" "$pattern"
}
wrong "too many threads" 1 "*✗ threads*$((cpus + 7)) (OMP_NUM_THREADS)*-> export OMP_NUM_THREADS=*" \
    "OMP_NUM_THREADS=$((cpus + 7))"
wrong "Slurm's number of threads" 1 "*✗ threads*$((cpus + 3)) (SLURM_CPUS_PER_TASK)*" \
    SLURM_JOB_ID=5 "SLURM_CPUS_PER_TASK=$((cpus + 3))"
wrong "Slurm without processors" 0 '*! slurm*job "5"*-> #SBATCH --cpus-per-task*' SLURM_JOB_ID=5
wrong "a lower instruction set" 0 "*kernels*base (LORAC_ISA;*" LORAC_ISA=base
wrong "an unknown instruction set" 1 "*✗ kernels*-> unset LORAC_ISA*" LORAC_ISA=avx9
like "a cache that is not there yet is made when needed" \
    "$(XDG_CACHE_HOME="$scratch/not/yet" "$LORAC" doctor)" "*✓ cache*$scratch/not/yet*"
wrong "a cache below a file" 0 "*! cache*cannot be written*" "XDG_CACHE_HOME=$PWD/README.md/cache"
wrong "no cache" 0 "*! cache*set XDG_CACHE_HOME*" XDG_CACHE_HOME= HOME=
run bash -c "ulimit -Sf 1000000 && '$LORAC' doctor"
like "a limit on file sizes" "$out" "*! limit*file size*-> ulimit -f unlimited*"
run bash -c "ulimit -Sn 100 && '$LORAC' doctor"
like "a limit on open files" "$out" "*! limit*open files: 100*"
if [ "$cpus" -gt 1 ]; then
    wrong "too few threads" 0 "*! threads*1 (OMP_NUM_THREADS)*" OMP_NUM_THREADS=1
fi

# ---- threads that are bound ----------------------------------------------------------------------
# Where OpenMP binds its first thread before the program looks, both doctor and the code that
# computes still see all processors.
golden=${LORAC_GOLDEN:-tests/golden}/mha-untied
cat >"$scratch/run.yaml" <<YAML
model: { path: $golden/model }
data: { train: $golden/batch.jsonl, format: tokens }
adapter: { r: 4, target_modules: [q_proj] }
train: { max_steps: 1, batch_size: 3, warmup_ratio: 0 }
output: { dir: $scratch/run }
YAML
train() { run env -u OMP_NUM_THREADS -u SLURM_CPUS_PER_TASK XDG_CACHE_HOME="$scratch/cache" "$@" \
    "$LORAC" train "$scratch/run.yaml" "output.dir=$scratch/run$((runs += 1))"; }
runs=0
advice() { sed -n '/[✓!✗] threads /{n;/->/p}' <<<"$out"; }
doctor
unbound=$(advice)
bound() { # bound WANTED COMMAND-AND-VARIABLES...
    local wanted=$1 name
    shift
    name="bound by $*"
    doctor "$@"
    like "$name: doctor sees $wanted" "$out" "*✓ cpu *, $wanted processor*[✓!] threads *$wanted (*"
    if [ "$wanted" = "$cpus" ]; then is "$name: the advice is as unbound" "$(advice)" "$unbound"; fi
    train "$@"
    like "$name: train runs $wanted" "$err" "*compute   $wanted thread*"
}
list=$(taskset -cp $$ | sed 's/.*: //')
first=${list%%[,-]*}
for how in "OMP_PROC_BIND=close OMP_PLACES=cores" OMP_PROC_BIND=spread OMP_PLACES=threads OMP_PLACES=sockets \
    "OMP_PROC_BIND=false OMP_PLACES=cores" "GOMP_CPU_AFFINITY=$list" KMP_AFFINITY=compact; do
    # shellcheck disable=SC2086 # two variables are two words
    bound "$cpus" $how
done
for how in "OMP_PROC_BIND=close OMP_PLACES=cores" "GOMP_CPU_AFFINITY=$list" KMP_AFFINITY=compact; do
    # shellcheck disable=SC2086
    bound 1 taskset -c "$first" env $how
done
bound 1 "OMP_PLACES={$first}"
bound "$cpus" OMP_PROC_BIND=close "SLURM_CPUS_PER_TASK=$cpus"
wrong "two threads on one place" 1 "*✗ threads*2 (OMP_NUM_THREADS)*-> export OMP_NUM_THREADS=1*" \
    "OMP_PLACES={$first}" OMP_NUM_THREADS=2

# A program that begins again for better OpenBLAS kernels has all processors too.
cat >"$scratch/old.c" <<'C'
char *openblas_get_corename(void);
char *openblas_get_corename(void) { return "Prescott"; }
C
if [ "$cpus" -gt 1 ] && grep -qw avx2 /proc/cpuinfo && ! sanitized &&
    ${CC:-cc} -shared -fPIC -o "$scratch/old.so" "$scratch/old.c" 2>"$scratch/err"; then
    train LD_PRELOAD="$scratch/old.so" OMP_PROC_BIND=close OMP_PLACES=cores
    like "begun again, bound: train runs $cpus" "$err" "*compute   $cpus threads*"
else
    skip "begun again, bound" "one processor, no compiler, or an old one"
fi
done_testing
