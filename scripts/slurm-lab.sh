# Settings, paths and questions that slurm-up and slurm-down share; sourced by both, never run.
#
# Settings (environment), the same for slurm-up and slurm-down:
#   SLURM_LAB_DIR       state, logs, keys, PID files  (/var/lib/slurm-lab)
#   SLURM_LAB_NODES     number of virtual nodes       (4)
#   SLURM_LAB_CPUS      CPUs each node pretends to have (16)
#   SLURM_LAB_MEM       MiB each node pretends to have  (4096)
#   SLURM_LAB_CGROUP    auto | yes | no: track and limit jobs by cgroups (auto)
#   SLURM_LAB_REST_PORT loopback TCP port of slurmrestd, 0 = unix socket only (6820)
#   SLURM_LAB_EXTRA     extra lines for slurm.conf
# shellcheck shell=bash disable=SC2034

LAB=${SLURM_LAB_DIR:-/var/lib/slurm-lab}
NODES=${SLURM_LAB_NODES:-4}
CPUS=${SLURM_LAB_CPUS:-16}
MEM=${SLURM_LAB_MEM:-4096}
CGROUP=${SLURM_LAB_CGROUP:-auto}
REST_PORT=${SLURM_LAB_REST_PORT:-6820}
EXTRA=${SLURM_LAB_EXTRA:-}
RUN=$LAB/run
LOG=$LAB/log

ME=$(basename "$0")
say() { [ -n "${QUIET:-}" ] || printf '%s: %s\n' "$ME" "$*"; }
die() { printf '%s: %s\n' "$ME" "$*" >&2; exit 1; }
usage() { printf 'Usage: %s\n' "$1" >&2; exit 2; }

# one_at_a_time ARGUMENT...: start this script again under the cluster's lock. The lock is not
# inherited by the daemons, or the first slurmd would hold it for ever.
one_at_a_time() {
    [ "$(id -u)" = 0 ] || die "must run as root: it starts daemons of several users"
    if [ -z "${SLURM_LAB_LOCKED:-}" ]; then
        mkdir -p "$LAB"
        SLURM_LAB_LOCKED=1 exec flock --close --wait 180 "$LAB/lock" "$0" "$@"
    fi
    unset SLURM_LAB_LOCKED
}

# program_of DAEMON, pid_file_of DAEMON: a daemon is slurmctld, slurmdbd, slurmrestd, mariadbd,
# munged or the name of a node (n1), which means its slurmd.
program_of() { case $1 in n[0-9]*) echo slurmd ;; *) echo "$1" ;; esac; }
pid_file_of() { case $1 in n[0-9]*) echo "$RUN/slurmd-$1.pid" ;; *) echo "$RUN/$1.pid" ;; esac; }

is_daemon() {
    case $1 in
        slurmctld | slurmdbd | slurmrestd | mariadbd | munged) ;;
        n[0-9]*) [ "${1#n}" -ge 1 ] 2> /dev/null && [ "${1#n}" -le "$NODES" ] ;;
        *) false ;;
    esac
}

# is_program PID NAME: is that process alive and does it run that program?
is_program() {
    [ -n "$1" ] && [ "$(tr '\0' ' ' < "/proc/$1/cmdline" 2> /dev/null | grep -c -- "$2")" != 0 ]
}

# alive DAEMON: does its PID file name a live process of its program?
alive() { is_program "$(cat "$(pid_file_of "$1")" 2> /dev/null)" "$(program_of "$1")"; }
