#!/usr/bin/env bash
# The tier `make parts`: other Docker Engines, twenty thousand connections, examples of tools, and attacks. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/stages.sh"

usage() {
  cat <<'HELP'
usage: deploy/parts.sh [PART...]

Parts, all by default:

  debian-trixie, moby-29   another Engine, started by deploy/engines.sh beside the one of this machine. On it run the
                           contract of engines, the suite of the port to Docker, the tests of the carrier, whole runs with
                           their failures, stops and deletes, and a distributed JMeter test by `atq`. Then everything is
                           removed
  connections              twenty thousand connections to a Director
  tools                    the examples of tools that atq-sync starts: the report must have the requests that the server has counted,
                           and a killed worker must be named
  brokers                  RabbitMQ PerfTest with whole spec files, and 20,000 MQTT connections: the report must have the messages that
                           the brokers have counted, and a killed worker must be named
  attack                   response times of a Director, built with optimisation, under attack while a task runs

Each part writes its result to docs/reference/engines.md: date, versions, what ran. Needs root. The output ends with a table
of the stages; the logs are in `stages/parts` of the build directory. Exit codes: 0 all passed, 1 some did not.
HELP
}

DOC=$ROOT/docs/reference/engines.md
# Modules of tests/tests/swarm that need no other images and no tools.
RUNS=(runs:: readiness:: results::results delivery:: verdict:: failures:: stop_and_delete:: restarts::)
# Features depend on the packages of a call, so each call names all of them: nothing is built twice.
TESTS=("$ROOT/deploy/static.sh" cargo test --locked --offline --no-fail-fast --workspace)

on_engine() {
  local name=$1
  shift
  "$ROOT/deploy/engines.sh" exec "$name" env ATQ_TEST_SWARM=1 "$@"
}

# counts STAGE: passed and failed tests in the log of a stage.
counts() {
  awk '/^test result: / { passed += $4; failed += $6 }
    END { if (failed) printf "%d passed, %d failed", passed, failed; else printf "%d passed", passed }' "$STAGES/$1.log" 2>/dev/null
}

# failures STAGE...: names of failed tests.
failures() {
  local name
  for name in "$@"; do
    [ ! -e "$STAGES/$name.log" ] || sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$STAGES/$name.log"
  done | sort -u | sed 's/.*/`&`/' | paste -sd, | sed 's/,/, /g'
}

# result STAGE: the counts of a stage, or the reason for missing ones.
result() {
  local counted state
  state=$(cut -f 3 "$STAGES/$1.result" 2>/dev/null || true)
  counted=$(counts "$1")
  case "$state" in
    '') echo "not run" ;;
    "not run") echo "not run" ;;
    *) echo "${counted:-$state}" ;;
  esac
}

# write_row PART ROW: replaces the row of a part in its table of results, which begins with the name of the part.
write_row() {
  local part=$1 row=$2
  awk -v part="$part" -v row="$row" '
    index($0, "| " part " |") == 1 { print row; done = 1; next }
    { print }
    END { if (!done) exit 1 }' "$DOC" >"$STAGES/doc" || die "\`$DOC\` has no row \`$part\`"
  cat "$STAGES/doc" >"$DOC"
}

engine_part() {
  local name=$1 up=$1-up versions=$STAGES/$1.versions failed
  stage "$up" --needs build "$ROOT/deploy/engines.sh" up "$name"
  if passed "$up"; then "$ROOT/deploy/engines.sh" versions "$name" | tr -d '\n' >"$versions" || true; fi
  stage "$name-contract" --needs "$up" on_engine "$name" "${TESTS[@]}" --test contract
  stage "$name-port" --needs "$up" on_engine "$name" "${TESTS[@]}" --test swarm_port --test engine -- --test-threads=2
  stage "$name-runs" --needs "$up" on_engine "$name" "${TESTS[@]}" --test swarm -- --test-threads=2 "${RUNS[@]}"
  stage "$name-jmeter" --needs "$up" on_engine "$name" "${TESTS[@]}" --test parts -- --nocapture jmeter::
  stage "$name-down" "$ROOT/deploy/engines.sh" down "$name"
  failed=$(failures "$name"-{contract,port,runs,jmeter})
  write_row "$name" "| $name | $(date +%Y-%m-%d) | $(cat "$versions" 2>/dev/null || echo "did not start") | $(result "$name-contract") | $(result "$name-port") | $(result "$name-runs") | $(result "$name-jmeter") | ${failed:-none} |"
}

connections_part() {
  local line
  stage connections --needs build env -u DOCKER_HOST "${TESTS[@]}" --test parts -- --nocapture connections::
  line=$(sed -n 's/.*\(20000 connections answered.*\)/\1/p' "$STAGES/connections.log" | head -n 1)
  write_row connections "| connections | $(date +%Y-%m-%d) | ${line:-$(result connections)} |"
}

tools_part() {
  local tool images=()
  for tool in web vegeta wrk gatling artillery; do images+=("image-$tool"); done
  stage tools-images --needs programs each_setup "${images[@]}"
  stage tools --needs tools-images env -u DOCKER_HOST "$ROOT/deploy/tools-check.sh"
  sed -n 's/^ *[0-9]* s  \([a-z]*\): \([0-9]*\) in the report, \([0-9]*\) counted; \(.*\)/\1 \2 \3 \4/p' "$STAGES/tools.log" |
    while read -r tool samples requests lost; do
      write_row "$tool" "| $tool | $(date +%Y-%m-%d) | $samples | $requests | $lost |"
    done
}

brokers_part() {
  local key text
  stage brokers-images --needs programs "$ROOT/deploy/setup.sh" example-images
  # With optimisation, as for users: 20,000 devices on one machine.
  stage brokers-mqtt --needs brokers-images env -u ATQ_MQTT_BIN "$ROOT/deploy/setup.sh" image-mqtt
  stage brokers --needs build,brokers-mqtt env -u DOCKER_HOST "${TESTS[@]}" --test parts -- --nocapture --test-threads=1 examples::
  sed -n 's/^\(perftest [a-z]*\|perftest\|mqtt\|20000 connections\): \(.*\)/\1\t\2/p' "$STAGES/brokers.log" |
    while IFS=$'\t' read -r key text; do write_row "$key" "| $key | $(date +%Y-%m-%d) | $text |"; done
}

# each_setup COMMAND...: calls setup.sh for each.
each_setup() {
  local command
  for command in "$@"; do "$ROOT/deploy/setup.sh" "$command"; done
}

attack_part() {
  local name figures
  stage attack-build --needs build cargo build --locked --offline --release -p atq-director
  stage attack --needs attack-build env -u DOCKER_HOST ATQ_TEST_PROGRAMS="$TARGET/release" "${TESTS[@]}" --test parts -- \
    --nocapture attack::
  passed attack || return 0
  sed -n 's/^| \([a-zA-Z -]*\) | \([0-9].*\)/\1\t\2/p' "$STAGES/attack.log" | while IFS=$'\t' read -r name figures; do
    write_row "$name" "| $name | $(date +%Y-%m-%d) | $figures"
  done
}

main() {
  case ${1:-} in -h | --help) usage && return ;; esac
  local parts=("$@") part
  [ ${#parts[@]} -gt 0 ] || parts=(connections tools brokers attack debian-trixie moby-29)
  is_root || die "the parts need namespaces and this user is not root" "run as root"
  cd "$ROOT"
  export ATQ_TEST_PROGRAMS=$TARGET/programs
  export ATQ_DISCOVERY_BIN=$TARGET/programs/atq-discovery ATQ_CARRIER_BIN=$TARGET/programs/atq-carrier
  export ATQ_SYNC_BIN=$TARGET/programs/atq-sync
  # The messages of failed tests stay readable.
  export RUST_BACKTRACE=0
  begin_stages parts
  stage programs "$ROOT/deploy/setup.sh" programs
  stage images --needs programs "$ROOT/deploy/setup.sh" all
  stage build --needs images make --no-print-directory build-tests
  for part in "${parts[@]}"; do
    case "$part" in
      debian-trixie | moby-29) engine_part "$part" ;;
      connections) connections_part ;;
      tools) tools_part ;;
      brokers) brokers_part ;;
      attack) attack_part ;;
      *) die "no part \`$part\`" "see --help" ;;
    esac
  done
}

main "$@"
