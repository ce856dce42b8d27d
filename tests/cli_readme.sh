#!/bin/bash
# Every command in README.md works: the blocks marked sh are run one after the other, as a newcomer
# would, in a directory where the model is checkpoints/tiny-base as a .gguf. It has no chat template
# and learns in more epochs, so these two keys differ; with FIRST_HOUR=1 the model is the page's own,
# and nothing differs. Then the adapter is asked. Blocks that install or build are compared with the
# scripts that do it; a job script runs with a stand-in for Slurm.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh

root=$PWD
case $LORAC in /*) ;; *) LORAC=$root/$LORAC ;; esac
home=$scratch/home
mkdir -p "$scratch/bin" "$home/models" "$home/cache"
ln -s "$LORAC" "$scratch/bin/lorac"
ln -s "$root/datasets" "$home/datasets"
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
differ=()
if [ -n "${FIRST_HOUR:-}" ]; then
    ln -s "$(scripts/get-smollm2)" "$home/$model" || exit 1
else
    differ=(-e 's/^\(  template:\) model /\1 alpaca /' -e 's/^\(  num_epochs:\) 8$/\1 16/')
    "$LORAC" convert checkpoints/tiny-base --quantize q8_0 -o "$home/$model" || exit 1
fi
# Other tests may run beside this one: spinning threads would wait for each other.
export PATH=$scratch/bin:$PATH XDG_CACHE_HOME=$home/cache OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

# Write the blocks of README.md of this kind into one file each: $scratch/KIND-1, ...
blocks() {
    awk -v kind="$1" -v out="$scratch/$1-" '
        $0 == "```" kind { n++; on = 1; next }
        /^```/ { on = 0 }
        on { print > (out n) }
        END { print n + 0 }' README.md
}

n=$(blocks sh)
ok "README.md has blocks of commands" [ "$n" -ge 10 ]
for i in $(seq "$n"); do
    sed -i "${differ[@]}" -e '' "$scratch/sh-$i"
    run env -C "$home" bash -euo pipefail "$scratch/sh-$i"
    name=$(sed -n '/^lorac\|^echo/{s/ *#.*//;p;q}' "$scratch/sh-$i")
    [ -n "$name" ] || name=$(head -n 1 "$scratch/sh-$i")
    report "README.md: $name" "$status" "$out
$err"
done
ok "the run left its best adapter" [ -f "$home/checkpoints/runs/handbook/best/adapter_model.safetensors" ]
ok "the merged model is smaller in 8 bits" [ "$(stat -c %s "$home/models/handbook-q8_0.gguf")" -lt \
    "$(stat -c %s "$home/models/handbook.gguf")" ]

# The adapter knows what the page asks it, and the base does not.
ask() { run env -C "$home" "$LORAC" generate "$@" --temperature 0 "Which form is needed for travel?"; }
ask --adapter checkpoints/runs/handbook
is "the adapter answers its question" "$out" "Form R-7, signed by the team lead."
ask --model "$model" --template alpaca
ok "the base does not" [ "$out" != "Form R-7, signed by the team lead." ]
run env -C "$home" "$LORAC" eval --adapter checkpoints/runs/handbook --data datasets/handbook.jsonl --json
right=${out#*'"exact_match": '}
ok "most of its records are answered to the letter" awk -v right="${right%%,*}" 'BEGIN { exit !(right > 0.5) }'

# Every fence has a kind that this test knows.
unknown=$(grep '^```' README.md | grep -vx '```\(sh\|sh-install\|sh-make\|text\|python\)\{0,1\}' || true)
is "README.md: only blocks that are tested" "$unknown" ""
# Commands in running text name things that exist.
while read -r command; do
    ok "README.md mentions lorac $command" grep -q "^COMMAND($command)" src/commands/commands.def
done < <(grep -o '`lorac [a-z][a-z]*' README.md | sed 's/.* //' | sort -u | grep -vx help)
targets=$({ grep -o '`make [a-z]*' README.md; sed -n 's/^\(make [a-z]*\) .*/\1/p' README.md; } |
    sed 's/.*make //' | sort -u)
for target in $targets; do
    ok "README.md mentions make $target" grep -q "^$target:" Makefile
done

# README.md installs by hand the packages that scripts/install-deps installs.
blocks sh-install >/dev/null
while read -r package; do
    case $package in libc6-dev | glibc-devel) continue ;; esac
    ok "README.md: installing $package" grep -qw -- "$package" "$scratch/sh-install-1"
done < <(sed '/^if .*for_what/,$d' scripts/install-deps | grep -o 'need [a-z0-9-]* [a-z0-9-]*' |
    awk '{ print $2; print $3 }')

# The job script for one node, without Slurm: it runs to its end; and when lorac stops early it is
# queued again. On a real Slurm: slurm_jobs.sh.
job=$PWD/scripts/slurm/train.sbatch
cat >"$scratch/bin/srun" <<'END'
#!/bin/bash
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
END
cat >"$scratch/bin/scontrol" <<'END'
#!/bin/bash
echo "$@" >>"$SLURM_LOG"
END
chmod +x "$scratch/bin/srun" "$scratch/bin/scontrol"
job() { SLURM_LOG=$scratch/slurm.log SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=1 run env -C "$home" bash "$job" run.yaml; }
job
is "the Slurm job: a finished run" "$status" 0
ok "the Slurm job: is not queued again" [ ! -e "$scratch/slurm.log" ]
ok "the Slurm job: its syntax is valid" bash -n "$job"
printf '#!/bin/bash\nexit 85\n' >"$scratch/bin/srun"
job
is "the Slurm job: a run that was stopped" "$status" 85
is "the Slurm job: is queued again" "$(cat "$scratch/slurm.log" 2>/dev/null)" "requeue 7"

is "README.md: a measured table" "$(grep -c '^| .*tokens/s' README.md)" 1
done_testing
