#!/bin/bash
# lorac_mpi on two emulated hosts (network and UTS namespaces, TCP between them) whose link is cut:
# the watchdog ends both ranks, and the run can be resumed.   make test-mpi
# shellcheck disable=SC2154 # variables of mpi_util.sh
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/mpi_util.sh
"$MPIRUN" --version 2>/dev/null | grep -q 'Open MPI\|OpenRTE' || { echo '1..0 # SKIP mpirun is not Open MPI'; exit; }
h1=lorac$$-1 h2=lorac$$-2
if ! { ip netns add $h1 && ip netns add $h2 && ip link add lv1 netns $h1 type veth peer name lv2 netns $h2; } 2>/dev/null; then
    ip netns del $h1 2>/dev/null
    ip netns del $h2 2>/dev/null
    echo '1..0 # SKIP no network namespaces (needs root and iproute2)'
    exit
fi
end_hosts() { # with what is left on them: mpirun does not notice that a link was cut
    { ip netns pids $h1 && ip netns pids $h2; } | xargs -r kill -KILL 2>/dev/null
}
trap 'end_hosts; ip netns del $h1; ip netns del $h2; rm -rf "$scratch"' EXIT
for h in 1 2; do
    ip -n lorac$$-$h link set lo up
    ip -n lorac$$-$h addr add 10.77.0.$h/24 dev lv$h
    ip -n lorac$$-$h link set lv$h up
done
printf '127.0.0.1 localhost\n10.77.0.1 h1\n10.77.0.2 h2\n' >hosts
mkdir shm-h1 shm-h2

# What mpirun calls in the place of ssh: host, command.
cat >agent <<END
#!/bin/bash
h=\$1; shift
exec ip netns exec lorac$$-\${h#h} unshare -u -m bash -c \\
    'hostname '"\$h"'; mount --bind $scratch/hosts /etc/hosts; mount --bind $scratch/shm-'"\$h"' /dev/shm; exec bash -c "\$*"' _ "\$@"
END
chmod +x agent
net=10.77.0.0/24
two_hosts() {
    unset OMPI_MCA_btl_tcp_if_include OMPI_MCA_oob_tcp_if_include
    exec timeout -k 5 90 "$scratch/agent" h1 "exec $MPIRUN --mca plm rsh --mca plm_rsh_agent $scratch/agent --host h1,h2 -np 2 \
        --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include $net --mca oob_tcp_if_include $net $LORAC_MPI $*"
}
steps() { [ -f "$dir/metrics.jsonl" ] && wc -l <"$dir/metrics.jsonl" || echo 0; }
await() { # await SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    while ! "$@"; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.1
    done
}
trains() { [ "$(steps)" -ge 3 ]; }
pids() { # of the ranks, not of those whose command line has theirs
    for pid in $(pgrep -x "$(basename "$LORAC_MPI" | cut -c1-15)"); do
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "train $yaml " && echo "$pid"
    done
}
both_ended() { [ -z "$(pids)" ]; }

two_hosts train "$yaml" train.watchdog=4s train.max_steps=100000 train.eval_on_start=false >out 2>err &
mpirun=$!
ok "two hosts: train" await 60 trains
like "two hosts: two machines" "$(<err)" "*ranks     2 on 2 machines*"
is "two hosts: two processes" "$(pids | wc -l)" 2
ip -n $h1 link set lv1 down
ok "a link that is cut: both ranks end" await 30 both_ended
like "a link that is cut: said by rank, host and phase" "$(<err)" \
    "*lorac: watchdog: no progress for 4.* s at step * (waiting for other ranks), on rank 0 of 2, process * of h1: it ends with exit code 86*"
end_hosts
{ wait $mpirun; } 2>/dev/null
# on the same host: from another one its lock would be watched for 25 s
run "$scratch/agent" h1 "$LORAC_MPI train $yaml train.max_steps=100000 train.eval_on_start=false --resume auto --max-hours 0.0001"
is "a link that was cut: the run can be resumed" "$status" 85
like "a link that was cut: from its checkpoint" "$err" "*going on from *"

done_testing
