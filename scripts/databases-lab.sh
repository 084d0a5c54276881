# Settings, paths and questions that databases-up and databases-down share; sourced by both, never run.
#
# Settings (environment), the same for both:
#   DATABASES_DIR   data, logs, sockets, PID files           (/var/lib/jobmon-databases)
#   MARIADB_PORT    loopback port of the MariaDB server      (33306)
#   POSTGRES_PORT   loopback port of the PostgreSQL server   (35432)
# and, for databases-up, MARIADB_OPTIONS and POSTGRES_OPTIONS: words that follow the servers' own options, and override them.
# shellcheck shell=bash disable=SC2034

LAB=${DATABASES_DIR:-/var/lib/jobmon-databases}
MARIADB_PORT=${MARIADB_PORT:-33306}
POSTGRES_PORT=${POSTGRES_PORT:-35432}
RUN=$LAB/run
LOG=$LAB/log
ENGINES="mariadb postgres"

ME=$(basename "$0")
say() { [ -n "${QUIET:-}" ] || printf '%s: %s\n' "$ME" "$*"; }
die() { printf '%s: %s\n' "$ME" "$*" >&2; exit 1; }
usage() { printf 'Usage: %s\n' "$1" >&2; exit 2; }

# one_at_a_time ARGUMENT...: start this script again under the directory's lock, which the servers do not inherit.
one_at_a_time() {
    [ "$(id -u)" = 0 ] || die "must run as root: the servers run as users of their own"
    if [ -z "${DATABASES_LOCKED:-}" ]; then
        mkdir -p "$LAB"
        DATABASES_LOCKED=1 exec flock --close --wait 180 "$LAB/lock" "$0" "$@"
    fi
    unset DATABASES_LOCKED
}

is_engine() { case " $ENGINES " in *" $1 "*) ;; *) false ;; esac; }

# pid_of ENGINE: the process of its server, if it lives
pid_of() {
    local file=$RUN/mariadb.pid program=mariadbd pid
    [ "$1" = mariadb ] || { file=$LAB/postgres/postmaster.pid program=postgres; }
    pid=$(head -n 1 "$file" 2> /dev/null)
    [ -n "$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -q -- "$program" && echo "$pid"
}

alive() { [ -n "$(pid_of "$1")" ]; }

# postgres_bin: where Debian keeps the newest PostgreSQL's programs
postgres_bin() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2> /dev/null | sort -V | tail -n 1; }

# answers ENGINE: does its server take connections?
answers() {
    case $1 in
        mariadb) mariadb-admin --socket="$RUN/mariadb.sock" --user=root --connect-timeout=2 ping ;;
        postgres) "$(postgres_bin)/pg_isready" -q -t 2 -h 127.0.0.1 -p "$POSTGRES_PORT" ;;
    esac > /dev/null 2>&1
}
