# Shared by the fetch.sh of the images, which must define
#   lists      files with hashes, and others that determine what is fetched
#   pin        regenerates the hashes after a change of `versions`
#   assemble   downloads into build/, verifies the hashes, and removes what the image does not need
# and end with: fetch "$@"
#   fetch.sh           assembles build/ if it is missing or outdated
#   fetch.sh --check   exits with 0 if it is up to date
#   fetch.sh --pin     regenerates the hashes; review the diff
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[1]}")"

name=${PWD##*/}
version=$(awk -v name="$name" '$1 == name { print $2 }' ../versions)
jars=build/jars

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

[ -n "$version" ] || fail "\`images/versions\` has no row for \`$name\`"

# need PROGRAM PACKAGE
need() {
  command -v "$1" >/dev/null || fail "\`$1\` is missing; install it: apt-get install --no-install-recommends $2"
}

# Identifies what is fetched, and how.
stamp() { cat "${lists[@]}" fetch.sh ../fetch.lib.sh <(echo "$version") | sha256sum; }
is_done() { [ -f build/stamp ] && [ "$(cat build/stamp)" = "$(stamp)" ]; }

fetch() {
  case "${1:-}" in
    --check) is_done ;;
    --pin)
      rm -rf build
      pin
      ;;
    "")
      if is_done; then exit 0; fi
      rm -rf build
      mkdir build
      assemble
      stamp >build/stamp
      ;;
    *) fail "unknown argument \`$1\`; expected --check, --pin or none" ;;
  esac
}

# ---------------------------------------------------------------- Maven: pom.xml, whose property `tool.version` is set here, and jars.sha256

copy_jars() {
  need mvn maven
  mvn --batch-mode --quiet -f pom.xml dependency:copy-dependencies \
    -DincludeScope=runtime -Dtool.version="$version" -DoutputDirectory="$PWD/$jars"
}

pin_jars() {
  copy_jars
  (cd "$jars" && sha256sum -- *.jar) >jars.sha256
}

# Fails if a jar is missing, changed, or not in the list.
fetch_jars() {
  copy_jars
  (cd "$jars" && sha256sum --quiet --strict -c ../../jars.sha256) || fail "a jar differs from \`images/$name/jars.sha256\`"
  local unknown
  unknown=$(comm -13 <(awk '{print $2}' jars.sha256 | LC_ALL=C sort) <(cd "$jars" && printf '%s\n' * | LC_ALL=C sort))
  [ -z "$unknown" ] || fail "jars that are not in \`images/$name/jars.sha256\`: $unknown"
}
