#!/usr/bin/env bash
# Runs the tests of the Jenkins step and of the script for agents without `atq`. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/jenkins/test.sh

Runs the tests of the step (JenkinsPipelineUnit; needs Maven and a JDK) and of atq-load-test.sh (needs curl, jq,
BusyBox and Python 3). As root, missing programs are installed from Debian's packages. The first run downloads Maven
dependencies; later runs work offline.
HELP
}

HERE=$ROOT/deploy/jenkins

# package PROGRAM: its Debian package.
package() {
  case $1 in
    mvn) echo maven ;;
    javac) echo default-jdk-headless ;;
    *) echo "$1" ;;
  esac
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

install_missing() {
  local program packages=()
  for program in mvn javac curl jq python3 busybox; do
    has "$program" || packages+=("$(package "$program")")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if ! is_root || ! has apt-get; then
    die "missing: ${packages[*]}" "run as root: apt-get install --no-install-recommends ${packages[*]}"
  fi
  say "installing ${packages[*]}"
  apt_install "${packages[@]}" || { apt-get update -q >/dev/null && apt_install "${packages[@]}"; } ||
    die "\`apt-get install ${packages[*]}\` failed"
}

# Tries offline first, so that no network is needed when all dependencies are cached.
maven() {
  local log=$HERE/target/maven.log
  cd "$HERE"
  mvn -B -q -o test >"$log" 2>&1 && return
  if grep -q 'offline mode' "$log"; then
    say "downloading dependencies of the tests"
    mvn -B -q test >"$log" 2>&1 && return
  fi
  cat "$log" >&2
  die "the tests of the step failed" "the full output is in $log"
}

# check_count: prints the number of tests and fails if there were none.
check_count() {
  local sum
  sum=$(cat "$HERE"/target/surefire-reports/TEST-*.xml | sed -n 's/.*<testcase .*/x/p' | wc -l)
  [ "$sum" -gt 0 ] || die "Maven ran no tests"
  say "the step: $sum tests passed"
}

main() {
  case ${1:-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) die "unknown argument \`$1\`" "see --help" ;;
  esac
  install_missing
  # Removes output of tests that no longer exist.
  rm -rf "$HERE/target/surefire-reports" "$HERE/target/classes" "$HERE/target/test-classes"
  mkdir -p "$HERE/target"
  # Runs both concurrently.
  local client log=$HERE/target/client.log
  python3 "$HERE/test/client_test.py" >"$log" 2>&1 &
  client=$!
  maven
  check_count
  wait "$client" || { cat "$log" >&2 && die "the tests of atq-load-test.sh failed"; }
  say "atq-load-test.sh: $(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' "$log") tests passed"
}

main "$@"
