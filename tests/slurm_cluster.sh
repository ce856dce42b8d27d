# A Slurm of two nodes on this machine, for tests: source this file, call cluster_up, end with
# cluster_down. Everything is in one directory and on ports that were free; no file of the system
# is touched, and only the daemons started here are ended.
#   cluster_missing          why it cannot be started, or nothing
#   cluster_up DIR           its clients find it through SLURM_CONF
#   cluster_down             also when cluster_up failed halfway
#   submit ARG...            sbatch; job=its number
#   job_state JOB            PENDING, RUNNING, COMPLETED, FAILED, ...
#   await SECONDS COMMAND... until it holds
#   find_pids NAME [VARIABLE=VALUE]...   pids=(...): processes of this cluster of that name
# shellcheck shell=bash
cluster=
export PATH=$PATH:/usr/sbin:/sbin

cluster_missing() {
    local program
    for program in munged slurmctld slurmd sbatch srun scontrol; do
        command -v "$program" >/dev/null || { echo "$program is not installed"; return; }
    done
    [ "$(id -u)" = 0 ] || echo "needs root"
}

await() {
    local until=$((SECONDS + $1))
    shift
    while ! "$@" 2>/dev/null; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.1
    done
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of three free ports in a row, below those that the kernel gives to clients.
free_ports() {
    local port tries
    for tries in {1..100}; do
        port=$((12000 + (RANDOM + tries) % 8000))
        is_free $port && is_free $((port + 1)) && is_free $((port + 2)) && echo $port && return
    done
    return 1
}

# cred_expire: how long the controller waits before it starts a job again that it has queued again.
# Each node has its own TmpFS: else pmix finds the other's directory in its place.
write_slurm_conf() { # write_slurm_conf PORT
    local node number=1
    cat <<END
ClusterName=lorac
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$cluster/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool-%n
TmpFS=$cluster/tmp-%n
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd-%n.pid
SlurmctldLogFile=$cluster/log/slurmctld.log
SlurmdLogFile=$cluster/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MinJobAge=300
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=15
KillWait=5
END
    for node in n1 n2; do
        echo "NodeName=$node NodeHostname=localhost NodeAddr=127.0.0.1 Port=$(($1 + number))" \
            "Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=100000"
        number=2
    done
    echo "PartitionName=low Nodes=n1,n2 Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10"
    echo "PartitionName=high Nodes=n1,n2 MaxTime=60 PriorityTier=10 PreemptMode=OFF"
}

cluster_idle() { [ "$(sinfo -h -N -p low -t idle | wc -l)" = 2 ]; }

cluster_up() {
    local port
    cluster=$1
    mkdir -p "$cluster"/{state,log,spool-n1,spool-n2,tmp-n1,tmp-n2}
    export SLURM_CONF=$cluster/slurm.conf
    head -c 1024 /dev/urandom >"$cluster/munge.key"
    chmod 400 "$cluster/munge.key"
    port=$(free_ports) || return
    write_slurm_conf "$port" >"$SLURM_CONF"
    munged --force --key-file="$cluster/munge.key" --socket="$cluster/munge.sock" \
        --pid-file="$cluster/munged.pid" --log-file="$cluster/log/munged.log" \
        --seed-file="$cluster/munge.seed" --num-threads=2 &&
        slurmctld -f "$SLURM_CONF" && slurmd -f "$SLURM_CONF" -N n1 &&
        slurmd -f "$SLURM_CONF" -N n2 && await 20 cluster_idle
}

# The logs, where the cluster did not start or a job got lost.
cluster_logs() { tail -n 15 "$cluster"/log/*.log | sed 's/^/# /'; }

is_alive() { # a process that has ended and was not waited for is none
    [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}
all_ended() {
    local pid
    for pid; do ! is_alive "$pid" || return; done
}
no_jobs() { [ -z "$(squeue -h 2>/dev/null)" ]; }

cluster_down() {
    local file pids=()
    [ -n "$cluster" ] || return 0
    timeout 10 scancel -u root 2>/dev/null
    await 15 no_jobs
    for file in "$cluster"/{slurmd-n1,slurmd-n2,slurmctld,munged}.pid; do
        [ -s "$file" ] && pids+=("$(<"$file")")
    done
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
    await 15 all_ended "${pids[@]}"
}

# Another cluster, of another test, may have jobs of the same numbers.
find_pids() {
    local name=$1 process at variable
    shift
    pids=()
    for process in /proc/[0-9]*; do
        # shellcheck disable=SC2053 # a pattern
        [[ $(cat "$process/comm" 2>/dev/null) == $name ]] || continue
        mapfile -d '' -t at 2>/dev/null <"$process/environ"
        for variable in "SLURM_CONF=$SLURM_CONF" "$@"; do
            [[ " ${at[*]} " == *" $variable "* ]] || continue 2
        done
        pids+=("${process#/proc/}")
    done
    [ ${#pids[@]} -gt 0 ]
}

submit() { job=$(timeout 20 sbatch --parsable "$@") && job=${job%%;*}; }
job_state() { scontrol -o show job "$1" 2>/dev/null | grep -o 'JobState=[A-Z_]*' | cut -d= -f2 | sort -u | tr '\n' ' '; }
# shellcheck disable=SC2053 # the second is a pattern
job_is() { [[ $(job_state "$1") == $2* ]]; }
