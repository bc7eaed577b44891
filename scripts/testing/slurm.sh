#!/usr/bin/env bash
# A SLURM of one machine, for tests: `slurm.sh install` (Debian, as root), then `slurm.sh start FOLDER`, which says what
# SLURM_CONF is to be, and `slurm.sh stop FOLDER`. All its files are in FOLDER: a SLURM that the machine has is not touched.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

start() {
  mkdir -p "$1"/{state,spool}
  chmod go-w "$1"
  local free=($(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'))
  (umask 077; [ -s "$1/munge.key" ] || head -c 1024 /dev/urandom > "$1/munge.key")
  # Jobs that are requeued wait until the credential of their last start has expired, by default two minutes.
  cat > "$1/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${free[0]}
SlurmdPort=${free[1]}
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$1/munge.socket,cred_expire=${CRED_EXPIRE:-5}
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
MinJobAge=10
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=$(hostname -s) Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$1/slurm.conf
  munged --force --socket="$1/munge.socket" --key-file="$1/munge.key" --log-file="$1/munge.log" \
    --pid-file="$1/munged.pid" --seed-file="$1/munge.seed"
  slurmctld
  slurmd
  for _ in $(seq 100); do
    if sinfo --noheader --format=%T 2>/dev/null | grep -qx idle; then
      echo "$SLURM_CONF"
      return
    fi
    sleep 0.1
  done
  tail -n 5 "$1"/*.log >&2
  stop "$1"
  exit 1
}

stop() {
  export SLURM_CONF=$1/slurm.conf
  scancel --user="$(id -un)" --full --signal=KILL || true
  for daemon in slurmd slurmctld munged; do
    [ ! -s "$1/$daemon.pid" ] || kill "$(cat "$1/$daemon.pid")" || true
  done
}

case "$1" in
  install)
    command -v slurmd slurmctld munged > /dev/null && exit
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge
    ;;
  start) start "$(realpath -m "$2")" ;;
  stop) stop "$(realpath "$2")" ;;
esac
