#!/usr/bin/env bash
# Builds the tests that need no Swarm with one call of Cargo and runs several test programs at once. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/run-tests.sh

Cargo runs one test program after the other, and many of them mostly wait. This script runs two at a time, those that take
longest first; the output of each appears when it ends. All packages and all test programs of the workspace are included,
except those of tests/tests, which need a Swarm. The last lines name the failed programs.

environment:
  ATQ_TEST_JOBS    programs at a time (2)
  ATQ_TEST_SWARM   1: the suites for both run on the real Swarm, too
HELP
}

# Test programs that need a Swarm.
ON_SWARM=(swarm nodes parts)
# Those that take longest, so that none of them is the last to begin.
LONGEST='/(atq_run|api|contract|swarm_port|atq_cli|sidecar|overlap)-[0-9a-f]*$'

# integration_tests: names of the test programs in `tests` directories, without those that need a Swarm.
integration_tests() {
  local path name
  for path in "$ROOT"/*/tests/*.rs "$ROOT"/crates/*/tests/*.rs "$ROOT"/*/tests/*/main.rs "$ROOT"/crates/*/tests/*/main.rs; do
    [ -e "$path" ] || continue
    name=${path%/main.rs}
    name=${name##*/}
    name=${name%.rs}
    case " ${ON_SWARM[*]} " in *" $name "*) ;; *) echo "$name" ;; esac
  done | sort -u
}

# build: prints the directory and the program of each test.
build() {
  local name selected=(--lib --bins)
  for name in $(integration_tests); do selected+=(--test "$name"); done
  cargo test --locked --workspace "${selected[@]}" --no-run --message-format=json-render-diagnostics |
    sed -n 's/.*"reason":"compiler-artifact".*"manifest_path":"\([^"]*\)\/Cargo.toml".*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1 \2/p'
}

# run_one DIRECTORY PROGRAM: like Cargo, in the directory of the package.
run_one() {
  local log=$LOGS/${2##*/} begun=$SECONDS code=0
  (cd "$1" && CARGO_MANIFEST_DIR=$1 "$2") >"$log" 2>&1 </dev/null || code=$?
  [ "$code" -eq 0 ] || echo "${2##*/}" >>"$LOGS/failed"
  {
    flock 8
    printf '\n     Running %s (%d s)\n' "${2##*/}" $((SECONDS - begun))
    cat "$log"
  } 8>"$LOGS/lock"
}

main() {
  case ${1:-} in -h | --help) usage && return ;; esac
  local tests total
  LOGS=$TARGET/run-tests
  rm -rf "$LOGS"
  mkdir -p "$LOGS"
  : >"$LOGS/failed"
  cd "$ROOT"
  tests=$(build)
  total=$(grep -c . <<<"$tests" || true)
  [ "$total" -gt 0 ] || die "Cargo has built no tests"
  export LOGS
  export -f run_one
  { grep -E "$LONGEST" <<<"$tests" || true; grep -vE "$LONGEST" <<<"$tests" || true; } |
    xargs -P "${ATQ_TEST_JOBS:-2}" -L 1 bash -c 'run_one "$@"' run_one
  local passed
  passed=$(cat "$LOGS"/*-* | awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d tests passed, %d failed", passed, failed }')
  say ""
  say "$total test programs: $passed"
  [ ! -s "$LOGS/failed" ] || die "failed: $(sort "$LOGS/failed" | paste -sd ' ')" "their output is above and in $LOGS"
}

main "$@"
