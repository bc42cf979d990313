#!/usr/bin/env bash
# Start a SLURM of this machine alone, as the user who calls, with all its files in a folder:
#   tests/start_slurm.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf
#   tests/start_slurm.sh --stop FOLDER    which cancels the jobs
# It needs slurmctld, slurmd, slurm-client and munge of Debian or Ubuntu. Jobs of the partition `urgent` preempt those of
# `main`, which are requeued and start again after seconds, where SLURM's own wait is two minutes.
set -euo pipefail

if [ "$1" = --stop ]; then
    export SLURM_CONF=$2/slurm.conf
    scancel --user="$(id -un)"
    for _ in $(seq 600); do
        if [ -z "$(squeue --noheader)" ]; then break; fi
        sleep 0.1
    done
    for name in slurmd slurmctld munged; do
        if [ -e "$2/$name.pid" ]; then kill "$(cat "$2/$name.pid")"; fi
    done
    exit
fi

mkdir -p "$1"
folder=$(realpath "$1")
cd "$folder"
mkdir -p state spool
chmod 755 .  # munged refuses folders that others may write in
[ -e munge.key ] || (umask 077 && head -c 1024 /dev/urandom > munge.key)
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --seed-file="$folder/munge.seed" --log-file="$folder/munged.log"
read -r control_port node_port < <(python3 -c '
from socket import socket
sockets = [socket(), socket()]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))')
export SLURM_CONF=$folder/slurm.conf
host=$(hostname -s)
cat > "$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
SlurmctldPort=$control_port
SlurmdPort=$node_port
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(free --mebi | awk '/Mem:/ {print $2}')
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=$host Default=YES PriorityTier=1
PartitionName=urgent Nodes=$host PriorityTier=2
END
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 100); do
    if sinfo --noheader --format=%T | grep -qx idle; then exit; fi
    sleep 0.1
done 2> sinfo.log
tail slurmctld.log slurmd.log >&2
exit 1
