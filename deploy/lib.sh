# Shared by the scripts in this directory: paths, messages, and queries of Docker's state.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ "$(id -u)" -eq 0 ]; then
  STATE=${ATQ_STATE:-/var/lib/atq-setup}
else
  STATE=${ATQ_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/atq-setup}
fi
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

BASE_TAG=atq-base:bookworm
PUBLIC_BASE=debian:bookworm-slim

say() { printf '%s\n' "$*"; }

# die MESSAGE [HINT]: prints an error and an optional hint, and exits with 1.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  %s\n' "$2" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

has() { command -v "$1" >/dev/null 2>&1; }

# Whether an Engine responds; an installed client is not enough.
engine_answers() {
  has docker && [ -n "$(timeout 10 docker info --format '{{.ServerVersion}}' 2>/dev/null)" ]
}

# State of the Swarm, and whether this node is a manager, for example `active true`.
swarm_state() {
  timeout 10 docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null
}

# is_running NAME PID: must be checked before every use of a stored pid, which may have been reused. Zombies (state Z)
# do not count as running.
is_running() {
  [ -n "${2:-}" ] && [ "$(cat "/proc/$2/comm" 2>/dev/null)" = "$1" ] &&
    ! grep -q '^State:[[:space:]]*Z' "/proc/$2/status" 2>/dev/null
}

# parent_of PID: the process id of its parent; empty when the process has ended.
parent_of() { awk '/^PPid:/ { print $2 }' "/proc/$1/status" 2>/dev/null || true; }

# wait_until SECONDS TEXT COMMAND...: polls until COMMAND succeeds; prints a progress line every five seconds.
wait_until() {
  local limit=$1 text=$2 start=$SECONDS shown=0
  shift 2
  until "$@"; do
    local spent=$((SECONDS - start))
    [ "$spent" -lt "$limit" ] || return 1
    if [ $((spent - shown)) -ge 5 ]; then
      shown=$spent
      say "$text ... $spent s"
    fi
    sleep 0.2
  done
}

# run_long TEXT COMMAND...: writes the output to a log and progress lines to the terminal. On failure it prints the end
# of the log.
run_long() {
  local text=$1 start=$SECONDS log pid rc=0
  shift
  mkdir -p "$STATE/log"
  log=$STATE/log/$(printf '%s' "$text" | tr -c 'A-Za-z0-9\n' '-').log
  say "$text ..."
  "$@" >"$log" 2>&1 &
  pid=$!
  # Ctrl-C also reaches the child, which is in the same process group.
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.3
    local spent=$((SECONDS - start))
    if [ "$spent" -ge $((${shown:-0} + 5)) ]; then
      local shown=$spent
      say "$text ... $spent s"
    fi
  done
  wait "$pid" || rc=$?
  if [ "$rc" -ne 0 ]; then
    tail -n 25 "$log" >&2
    die "\`$text\` failed with exit code $rc after $((SECONDS - start)) s" "the full output is in $log"
  fi
  say "$text: done in $((SECONDS - start)) s"
}

# Two concurrent set-ups would start two Engines. A process that outlives the script must be started with descriptor 9
# closed.
one_at_a_time() {
  mkdir -p "$STATE" || die "cannot write the state directory \`$STATE\`" "set ATQ_STATE to a directory of this user"
  exec 9>"$STATE/lock"
  flock -n 9 || { say "waiting for another setup or teardown to finish ..." && flock -w 1800 9; } ||
    die "another setup or teardown is still running after 30 minutes"
}

# ---------------------------------------------------------------- Engines in a network namespace, whose name is in NETNS

netns_exists() { [ -e "/run/netns/$NETNS" ]; }

# Finds processes by their namespace, so that no other process can be affected.
end_processes() {
  local pid
  netns_exists || return 0
  for pid in $(ip netns pids "$NETNS"); do kill -KILL "$pid" 2>/dev/null || true; done
  [ -z "$(ip netns pids "$NETNS")" ]
}

cgroups_removed() {
  find /sys/fs/cgroup -depth -type d -path "*/$NETNS*" -exec rmdir {} + 2>/dev/null || true
  [ -z "$(find /sys/fs/cgroup -type d -path "*/$NETNS*" 2>/dev/null)" ]
}
