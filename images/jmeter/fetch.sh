#!/usr/bin/env bash
# Assembles the home of Apache JMeter in build/home from jars of Maven Central and verifies their hashes in jars.sha256.
#   fetch.sh           assembles it if it is missing or outdated
#   fetch.sh --check   exits with 0 if it is up to date
#   fetch.sh --pin     regenerates jars.sha256 after a change of pom.xml; review the diff
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

jars=build/jars
home=build/home

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Identifies the list of jars and this script.
stamp() { cat jars.sha256 fetch.sh | sha256sum; }
is_done() { [ -f build/stamp ] && [ "$(cat build/stamp)" = "$(stamp)" ]; }

download() {
  command -v mvn >/dev/null || fail "\`mvn\` is missing; install it: apt-get install --no-install-recommends maven"
  rm -rf "$jars"
  mvn --batch-mode --quiet -f pom.xml dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/$jars"
}

# Fails if a jar is missing, changed, or not in the list.
verify() {
  (cd "$jars" && sha256sum --quiet --strict -c ../../jars.sha256) || fail "a jar differs from \`images/jmeter/jars.sha256\`"
  local unknown
  unknown=$(comm -13 <(awk '{print $2}' jars.sha256 | LC_ALL=C sort) <(cd "$jars" && printf '%s\n' * | LC_ALL=C sort))
  [ -z "$unknown" ] || fail "jars that are not in \`images/jmeter/jars.sha256\`: $unknown"
}

# unpack_config JAR: unpacks the folder bin/ of the configuration jar next to the launcher.
unpack_config() {
  if command -v unzip >/dev/null; then
    unzip -q -o "$1" 'bin/*' -d "$home"
  elif command -v python3 >/dev/null; then
    python3 -c 'import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith("bin/")])' "$1" "$home"
  else
    fail "neither \`unzip\` nor \`python3\` is installed; install one: apt-get install --no-install-recommends unzip"
  fi
}

assemble() {
  local jar name
  rm -rf "$home"
  mkdir -p "$home/bin" "$home/lib/ext" "$home/lib/junit"
  touch "$home/lib/junit/.keep"
  for jar in "$jars"/*.jar; do
    name=${jar##*/}
    case "$name" in
      ApacheJMeter_config-*) unpack_config "$jar" ;;
      # The launcher uses the parent of its folder as the home.
      ApacheJMeter-*) cp "$jar" "$home/bin/ApacheJMeter.jar" ;;
      ApacheJMeter_*) cp "$jar" "$home/lib/ext/" ;;
      *) cp "$jar" "$home/lib/" ;;
    esac
  done
  # Suppresses an irrelevant warning of log4j about this file at each start.
  sed -i 's/<Configuration status="WARN"/<Configuration status="ERROR"/' "$home/bin/log4j2.xml"
}

case "${1:-}" in
  --check) is_done ;;
  --pin)
    download
    (cd "$jars" && sha256sum -- *.jar) >jars.sha256
    ;;
  "")
    if is_done; then exit 0; fi
    rm -rf build
    download
    verify
    assemble
    rm -rf "$jars"
    stamp >build/stamp
    ;;
  *) fail "unknown argument \`$1\`; expected --check, --pin or none" ;;
esac
