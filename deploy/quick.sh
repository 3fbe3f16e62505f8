#!/usr/bin/env bash
# The tier `make quick`: for each commit. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/stages.sh"

usage() {
  cat <<'HELP'
usage: deploy/quick.sh

Formatting, lints, and the tests that need neither Docker nor root nor a browser: unit tests, properties, the contract of
engines on the models, integration tests, and examples in the documentation. Sweeps and properties run on a fixed sample;
`make unit` runs all cases. Unit and integration tests run in parallel. The output ends with the messages of failed tests and a table of the
stages; the logs are in `stages/quick` of the build directory. Exit codes: 0 all passed, 1 some did not.
HELP
}

case ${1:-} in
  '') ;;
  -h | --help) usage && exit 0 ;;
  *) die "unknown argument \`$1\`" "see --help" ;;
esac

cd "$ROOT"
target() { make --no-print-directory "$@"; }
# Cargo unifies the features of all packages of an invocation. Invocations that name the same packages share their build
# output. The tests of `atq-tests` need a Swarm.
tests() { deploy/static.sh cargo test --locked --workspace --exclude atq-tests "$@"; }

# With the seed, all runs use the same cases.
export ATQ_TEST_SAMPLE=10 PROPTEST_CASES=64 PROPTEST_RNG_SEED=1 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
# Most tests wait, so more run at once than there are CPUs.
export RUST_TEST_THREADS=16
export ATQ_TEST_SWARM=
# The messages of failed tests stay readable; a single test is repeated with backtraces.
export RUST_BACKTRACE=0

unit() {
  stage unit --needs build tests --no-fail-fast --lib --bins
  stage examples --needs build tests --no-fail-fast --doc
}

begin_stages quick
stage fmt target fmt-check
stage lint target lint
stage build tests --no-run
lane unit
# A browser takes longer than all other tests together; `make unit` runs its tests.
stage integration --needs build tests --no-fail-fast --test '*' -- --skip browser::
await_lanes
