#!/usr/bin/env bash
# The tier `make test`: everything except `make parts`. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/stages.sh"

usage() {
  cat <<'HELP'
usage: deploy/test.sh

Sets up what is missing, then runs formatting and lints, unit, property and contract tests, the tests of the Jenkins step,
and the tests on the real Swarm of this machine and on one of three nodes. Stages that mostly wait run beside others. A
failed stage does not end the others. The output ends with a table of the stages: seconds, usage of all CPUs, result. The
logs are in `stages/test` of the build directory. Exit codes: 0 all passed, 1 some did not.
HELP
}

case ${1:-} in
  '') ;;
  -h | --help) usage && exit 0 ;;
  *) die "unknown argument \`$1\`" "see --help" ;;
esac

cd "$ROOT"
setup() { "$ROOT/deploy/setup.sh" "$@"; }
target() { make --no-print-directory "$@"; }
# each COMMAND...: calls setup.sh for each, also after a failure.
each() {
  local command code=0
  for command in "$@"; do setup "$command" || code=1; done
  return "$code"
}

# Everything that installs Debian's packages is in one lane, because only one process may install at a time.
tools() {
  stage tools --needs engine each image-testload image-jmeter image-locust image-shell registry mosquitto browser \
    openapi-clients gitlab-ci-local nodes
  stage jenkins target jenkins
  stage layers --needs engine setup example-layers
}

nodes() { stage nodes --needs images,tools target swarm-nodes; }

# The images contain the programs that the tests start, so nothing is built twice.
export ATQ_TEST_PROGRAMS=$TARGET/programs
export ATQ_DIRECTOR_BIN=$TARGET/programs/atq-director ATQ_DISCOVERY_BIN=$TARGET/programs/atq-discovery
export ATQ_CARRIER_BIN=$TARGET/programs/atq-carrier ATQ_SYNC_BIN=$TARGET/programs/atq-sync
export ATQ_MQTT_BIN=$TARGET/programs/atq-mqtt
# The stage `tools` installs Chromium, so its tests are not skipped.
export ATQ_TEST_BROWSER=1

# The messages of failed tests stay readable; a single test is repeated with backtraces.
export RUST_BACKTRACE=0

begin_stages test
stage engine setup swarm
lane tools
stage check target check
stage build target build-tests
stage programs setup programs
stage images --needs engine,programs each image-discovery image-carrier image-director
stage example-images --needs programs,layers setup example-images
lane nodes
stage unit --needs build,images,tools target unit
stage swarm-together --needs build,images,tools,example-images target swarm-together
await_lanes
stage swarm-alone --needs build,images,tools target swarm-alone
