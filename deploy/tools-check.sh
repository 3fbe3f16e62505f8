#!/usr/bin/env bash
# Runs the examples of tools against a server that counts requests, and compares the report with its numbers. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/tools-check.sh [vegeta|wrk|gatling|artillery]...

For each tool, all by default, with a Director of its own and the commands of the example's README:

  1. `atq init` writes the example, `atq run` runs it, and the report must have as many requests as the server has counted
     (wrk: the server may have counted one more for each connection)
  2. it runs again, and a worker is killed: the task must fail, and the log of the master must name the worker

Prints a line for each tool: `TOOL: SAMPLES in the report, REQUESTS counted, ...`. Needs a Swarm with this node as a manager, and
the images of the tools, atq-web, atq-discovery and atq-carrier.
Exit codes: 0 passed, 1 failed.

environment:
  ATQ_TEST_PROGRAMS   directory of atq-director and atq (`programs` of the build directory)
HELP
}

PROGRAMS=${ATQ_TEST_PROGRAMS:-$TARGET/programs}
SERVER=atq-example-web
ID=tools-check-$$
DIR=
DIRECTOR=
SERVER_STARTED=

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# ---------------------------------------------------------------- the Director, and the server

start_director() {
  local port
  port=$((RANDOM % 10000 + 20000))
  printf 'port: %s\ndirectorId: %s\nglusterpath: %s/bundles\ndatadir: %s/data\n' "$port" "$ID" "$DIR" "$DIR" \
    >"$DIR/config.yaml"
  export ATQ_URL=http://127.0.0.1:$port
  "$PROGRAMS/atq-director" --config "$DIR/config.yaml" >"$DIR/director.log" 2>&1 &
  DIRECTOR=$!
  ready() { curl -sf -m 5 -o /dev/null "$ATQ_URL/readyz"; }
  wait_until 60 "waiting for the Director" ready || { cat "$DIR/director.log" >&2 && die "the Director is not ready after 60 s"; }
}

# block TOOL HEADING [NUMBER]: a block of commands in the README of an example.
block() {
  awk -v heading="## $2" -v number="${3:-1}" '
    /^## / { below = ($0 == heading) }
    below && /^```sh$/ { found++; inside = 1; next }
    /^```$/ { inside = 0 }
    inside && found == number' "$ROOT/deploy/examples/$1/README.md"
}

server() { docker container ls -q --filter "label=com.docker.swarm.service.name=$SERVER" | head -n 1; }
counted() { docker exec "$(server)" requests "$@"; }
server_ready() { counted --reset 2>/dev/null; }

start_server() {
  SERVER_STARTED=yes
  bash -euc "$(block "$1" "Something to load")" >/dev/null
  wait_until 60 "waiting for the server" server_ready || die "\`$SERVER\` is not ready after 60 s"
}

# Runs on every exit.
finish() {
  local code=$?
  trap - EXIT
  if [ -n "$DIRECTOR" ]; then
    for task in $("$PROGRAMS/atq" ls --json 2>/dev/null | grep -o '"name": *"[^"]*"' | cut -d'"' -f4); do
      "$PROGRAMS/atq" rm "$task" >/dev/null 2>&1 || true
    done
    kill "$DIRECTOR" 2>/dev/null && wait "$DIRECTOR" 2>/dev/null || true
    # Those of bundles, which a Director keeps for its next task.
    docker volume ls -q --filter "label=com.atq.director=$ID" | xargs -r docker volume rm >/dev/null || true
  fi
  [ -z "$SERVER_STARTED" ] || bash -uc "$(block vegeta "Tidy up" 2)" >/dev/null 2>&1 || true
  rm -rf "$DIR"
  exit "$code"
}

# ---------------------------------------------------------------- the checks

# samples FILE: the number of requests in a report.
samples() { sed -n 's/.*"total":{"samples":\([0-9]*\).*/\1/p' "$1"; }

# compare TOOL SAMPLES REQUESTS
compare() {
  local more=$(($3 - $2)) allowed=0
  # One for each connection of the example.
  [ "$1" != wrk ] || allowed=16
  [ "$2" -gt 0 ] && [ "$more" -ge 0 ] && [ "$more" -le "$allowed" ] ||
    die "$1: $2 requests in the report, $3 counted by the server; expected at most $allowed more"
}

run_example() {
  local tool=$1 found requests
  counted --reset
  (cd "$DIR/$tool" && bash -euc "$(block "$tool" "With atq")") >"$DIR/$tool.log" 2>&1 ||
    { cat "$DIR/$tool.log" >&2 && die "$tool: the example failed"; }
  found=$(samples "$DIR/$tool/results/report.json")
  requests=$(counted | sed -n 's/^total //p')
  compare "$tool" "$found" "$requests"
  EQUAL="$found in the report, $requests counted"
}

worker_of() {
  docker container ls -q --filter "label=com.atq.task=$1" --filter "label=com.atq.role=worker" | tail -n 1
}
tool_started() { docker logs "$(worker_of "$1")" 2>&1 | grep -q 'the tool was started'; }

# lose_worker TOOL: kills a worker whose tool has started.
lose_worker() {
  local tool=$1 task=check-$1 run code=0
  (cd "$DIR/$tool" && exec "$PROGRAMS/atq" run task.json --bundle bundle --name "$task" --results lost) >"$DIR/$task.log" 2>&1 &
  run=$!
  wait_until 120 "$tool: waiting for the start" tool_started "$task" || die "$tool: no tool was started within 120 s"
  docker kill "$(worker_of "$task")" >/dev/null
  wait "$run" || code=$?
  [ "$code" -eq 3 ] || { cat "$DIR/$task.log" >&2 && die "$tool: after the loss of a worker the exit code is $code; expected 3"; }
  grep -q 'worker [0-9]* (.*): lost' "$DIR/$tool/lost/logs/master.1.log" || die "$tool: the log of the master names no lost worker"
}

check() {
  local tool=$1
  "$PROGRAMS/atq" init "$tool" "$DIR/$tool" >/dev/null
  run_example "$tool"
  lose_worker "$tool"
  step "$tool: $EQUAL; a killed worker is named, exit code 3"
}

check_needs() {
  local program image
  has curl || die "\`curl\` is missing" "apt-get install curl"
  [ "$(swarm_state)" = "active true" ] || die "this node is not a manager of an active Swarm" "run: deploy/setup.sh swarm"
  for program in atq-director atq; do
    [ -x "$PROGRAMS/$program" ] || die "no \`$program\` in \`$PROGRAMS\`" "run: deploy/setup.sh programs"
  done
  for image in web "$@"; do
    docker image inspect "atq-$image:$(awk -v name="$image" '$1 == name { print $2 }' "$ROOT/images/versions")" >/dev/null 2>&1 ||
      die "the image of \`$image\` is missing" "run: deploy/setup.sh image-$image"
  done
}

main() {
  case "${1:-}" in -h | --help | help) usage && return ;; esac
  local tools=("$@") tool
  [ ${#tools[@]} -gt 0 ] || tools=(vegeta wrk gatling artillery)
  for tool in "${tools[@]}"; do
    case "$tool" in vegeta | wrk | gatling | artillery) ;; *) usage >&2 && die "unknown tool \`$tool\`" ;; esac
  done
  check_needs "${tools[@]}"
  export PATH=$PROGRAMS:$PATH
  DIR=$(mktemp -d /var/tmp/atq-tools-check.XXXXXX)
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  start_director
  start_server "${tools[0]}"
  for tool in "${tools[@]}"; do check "$tool"; done
}

main "$@"
