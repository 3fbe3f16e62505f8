# Shared by setup.sh and teardown.sh: paths, messages, and the few questions asked of Docker.
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

# die WHAT [HINT]: says what is wrong, then what to do about it, and ends with 1.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  %s\n' "$2" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

has() { command -v "$1" >/dev/null 2>&1; }

# An Engine is there when it answers; a client alone proves nothing.
engine_answers() {
  has docker && [ -n "$(timeout 10 docker info --format '{{.ServerVersion}}' 2>/dev/null)" ]
}

# state and "is this node a manager", for example `active true`.
swarm_state() {
  timeout 10 docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null
}

# is_running NAME PID: guards every use of a pid that was written down earlier. A process that
# ended and was not yet collected by its parent (state Z) does not run.
is_running() {
  [ -n "${2:-}" ] && [ "$(cat "/proc/$2/comm" 2>/dev/null)" = "$1" ] &&
    ! grep -q '^State:[[:space:]]*Z' "/proc/$2/status" 2>/dev/null
}

# wait_until SECONDS TEXT COMMAND...: polls; a progress line every five seconds.
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

# run_long TEXT COMMAND...: output goes to a log, progress lines to the screen; on failure
# the end of the log is shown.
run_long() {
  local text=$1 start=$SECONDS log pid rc=0
  shift
  mkdir -p "$STATE/log"
  log=$STATE/log/$(printf '%s' "$text" | tr -c 'A-Za-z0-9\n' '-').log
  say "$text ..."
  "$@" >"$log" 2>&1 &
  pid=$!
  # Ctrl-C reaches the child too: it is in our process group.
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
    die "\`$text\` failed with exit code $rc after $((SECONDS - start)) s" "the whole output is in $log"
  fi
  say "$text: done in $((SECONDS - start)) s"
}

# Two set-ups side by side would start two Engines. Whoever starts a process that outlives
# the script closes descriptor 9 for it.
one_at_a_time() {
  mkdir -p "$STATE" || die "cannot write the state directory \`$STATE\`" "set ATQ_STATE to a directory of this user"
  exec 9>"$STATE/lock"
  flock -n 9 || { say "waiting for another setup or teardown to end ..." && flock -w 1800 9; } ||
    die "another setup or teardown still runs after 30 minutes"
}
