#!/usr/bin/env bash
# Tests the Jenkins step and the script for agents without `atq`. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/jenkins/test.sh

Runs the tests of the step (JenkinsPipelineUnit; needs Maven and a JDK) and of atq-load-test.sh (needs curl, jq,
BusyBox and Python 3). What is missing is installed from Debian's packages when this runs as root. The first run fetches what
Maven needs; later ones work without a network.
HELP
}

HERE=$ROOT/deploy/jenkins

# package PROGRAM: Debian's package that has it.
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

# Without a network first: then no registry has to answer for a run whose needs are all there.
maven() {
  local log=$HERE/target/maven.log
  cd "$HERE"
  mvn -B -q -o test >"$log" 2>&1 && return
  if grep -q 'offline mode' "$log"; then
    say "fetching what the tests of the step need"
    mvn -B -q test >"$log" 2>&1 && return
  fi
  cat "$log" >&2
  die "the tests of the step failed" "the whole of it: $log"
}

# counted: how many tests there were; none would be a failure in disguise.
counted() {
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
  # Of tests that were removed since.
  rm -rf "$HERE/target/surefire-reports" "$HERE/target/classes" "$HERE/target/test-classes"
  mkdir -p "$HERE/target"
  # Both at once: one waits for answers most of its time.
  local client log=$HERE/target/client.log
  python3 "$HERE/test/client_test.py" >"$log" 2>&1 &
  client=$!
  maven
  counted
  wait "$client" || { cat "$log" >&2 && die "the tests of atq-load-test.sh failed"; }
  say "atq-load-test.sh: $(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' "$log") tests passed"
}

main "$@"
