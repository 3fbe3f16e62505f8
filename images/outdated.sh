#!/usr/bin/env bash
# usage: images/outdated.sh [NAME...]: compares `versions` with the newest releases, as the package managers report them.
# Prints a line per image: its name, the version here, the newest one, and whether this is current, behind or unknown.
# Exit codes: 0 all were compared, 1 some are unknown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without the numbers that a distribution adds: an epoch, and the revision of the package.
without_revision() { sed 's/^[0-9]*://; s/-[^-]*$//'; }

newest_maven() {
  local group=${1%%:*} artifact=${1#*:} ignored='.*[.-](alpha|beta|rc|cr|m|snapshot)[.-]?[0-9]*'
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>atq</groupId><artifactId>outdated</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>$group</groupId><artifactId>$artifact</artifactId><version>$2</version>
  </dependency></dependencies>
</project>
POM
  mvn --batch-mode -f "$work/pom.xml" -Dmaven.version.ignore="(?i)$ignored" \
    org.codehaus.mojo:versions-maven-plugin:2.18.0:display-dependency-updates >"$work/log" || return
  # Without a line like `5.6.2 -> 5.6.3`, no version is newer.
  sed -n "s/.* -> \([^ ]*\)\$/\1/p" "$work/log" | tail -n 1 | grep . || echo "$2"
}

newest_pypi() {
  python3 -m pip --disable-pip-version-check index versions "$1" --only-binary=:all: --python-version 3.11 |
    sed -n '1s/.*(\(.*\))$/\1/p'
}

newest_npm() { npm view "$1" version; }

newest_go() { (cd "$work" && go list -m -versions "$1" | tr ' ' '\n' | sed -n 's/^v\([0-9.]*\)$/\1/p' | tail -n 1); }

# Of the images' release, so this machine must have the same one.
newest_debian() {
  grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release || return
  apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | without_revision
}

newest() {
  local ecosystem=${1%%:*} coordinates=${1#*:}
  "newest_$ecosystem" "$coordinates" "$2" 2>"$work/error"
}

# compare NAME VERSION SOURCE
compare() {
  local found state=behind
  found=$(newest "$3" "$2" || true)
  case "$found" in
    '') state="unknown: $(tail -n 1 "$work/error" | grep . || echo "${3%%:*} has no answer")" ;;
    "$2") state=current ;;
  esac
  printf '%-12s %-12s %-12s %s\n' "$1" "$2" "${found:--}" "$state"
  [ -n "$found" ]
}

main() {
  local name version source code=0
  while read -r name version source; do
    case "$name $source" in '#'* | *' project') continue ;; esac
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    compare "$name" "$version" "$source" </dev/null || code=1
  done <versions
  return "$code"
}

main "$@"
