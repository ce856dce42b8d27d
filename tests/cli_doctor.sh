#!/bin/bash
# lorac doctor: finds what is wrong with surroundings that are made wrong on purpose.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
cpus=$(nproc)

doctor() { run env -u OMP_NUM_THREADS -u LORAC_ISA -u LORAC_GEMM -u SLURM_JOB_ID -u SLURM_CPUS_PER_TASK "$@" "$LORAC" doctor; }

doctor
is "as it is: nothing to mend" "$status" 0
for what in cpu kernels blas threads memory disk cache; do
    like "looks at: $what" "$out" "*[✓!] $what *"
done
run "$LORAC" doctor --json
ok "--json" perl -MJSON::PP -e 'local $/; exit !@{ decode_json(<STDIN>)->{checks} }' <<<"$out"

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
wrong "an instruction set that is none" 1 "*✗ kernels*-> unset LORAC_ISA*" LORAC_ISA=avx9
wrong "no cache" 0 "*! cache*set XDG_CACHE_HOME*" XDG_CACHE_HOME= HOME=
run bash -c "ulimit -Sf 1000000 && '$LORAC' doctor"
like "a limit on file sizes" "$out" "*! limit*file size*-> ulimit -f unlimited*"
run bash -c "ulimit -Sn 100 && '$LORAC' doctor"
like "a limit on open files" "$out" "*! limit*open files: 100*"
if [ "$cpus" -gt 1 ]; then
    wrong "too few threads" 0 "*! threads*1 (OMP_NUM_THREADS)*" OMP_NUM_THREADS=1
fi
done_testing
