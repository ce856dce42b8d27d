# Shared by the tests of lorac_mpi (make test-mpi): source it, after it the working directory is
# $scratch and run.yaml a run of 6 steps in $dir.
#   ranks N ARGUMENT...          run() lorac_mpi on N ranks, under timeout(1): a rank that waits for
#                                ever is what these tests are for
#   two COMMAND COMMAND          run() one shell command on each of two ranks
#   state DIR                    digests of adapters, checkpoints (with the moments) and metrics; the
#                                checkpoints name output.dir, so all runs are made in $dir
#   aside NAME                   what the run left is NAME's
# LORAC_MPI=build/lorac_mpi MPIRUN=mpirun; MPI_PART=small: what a sanitizer build or a second MPI
# needs; MPI_KILLS=30: as often a rank dies.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of tap.sh and for the tests
. tests/tap.sh
shopt -s extglob
: "${LORAC_MPI:=build/lorac_mpi}" "${MPIRUN:=mpirun}" "${MPI_PART:=all}" "${MPI_KILLS:=3}"
[ -x "$LORAC_MPI" ] || { echo "1..0 # SKIP $LORAC_MPI is not built (make MPI=1)"; exit 0; }
LORAC=$(realpath "$LORAC") LORAC_MPI=$(realpath "$LORAC_MPI")
export XDG_CACHE_HOME=$scratch/cache OMP_NUM_THREADS=1
# Open MPI refuses root and more ranks than cores, and binds each rank to one core.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
[ "$(id -u)" != 0 ] || export OMPI_MCA_btl_vader_single_copy_mechanism=none

root=$PWD
mkdir "$scratch/tiny"
tests/make-model tiny "$scratch/tiny"
cat >"$scratch/run.yaml" <<YAML
model: { path: $scratch/tiny }
data: { train: $root/datasets/support-desk.jsonl, validation: 0.1, template: alpaca }
adapter: { r: 4, lora_alpha: 8, lora_dropout: 0.1 }
train: { max_steps: 6, batch_size: 16, pass_tokens: 256, eval_steps: 3, save_steps: 2, seed: 3,
         save_total_limit: 10 }
output: { dir: $scratch/run }
YAML
yaml=$scratch/run.yaml dir=$scratch/run
cd "$scratch" || exit 1

ranks() {
    local n=$1
    shift
    run timeout -k 5 100 "$MPIRUN" -np "$n" "$LORAC_MPI" "$@"
}
two() {
    run timeout -k 5 100 "$MPIRUN" -np 1 bash -c "$1" : -np 1 bash -c "$2"
}
lines() { sed 's/, "tokens_per_s": [0-9.]*, "memory_bytes": [0-9]*//' "$1/metrics.jsonl"; }
state() {
    lines "$1" | md5sum
    (cd "$1" && md5sum adapter/adapter_model.safetensors best/adapter_model.safetensors step-*.h5)
}
aside() {
    rm -rf "${scratch:?}/$1"
    mv "$dir" "$scratch/$1"
}
one_error() { grep -c '^lorac: ' <<<"$err"; }
