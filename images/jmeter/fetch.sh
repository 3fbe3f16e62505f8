#!/usr/bin/env bash
# Assembles the home of Apache JMeter in build/home from jars of Maven Central; ../fetch.lib.sh describes the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

lists=(pom.xml jars.sha256)
home=build/home

pin() { pin_jars; }

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
  local jar file
  fetch_jars
  mkdir -p "$home/bin" "$home/lib/ext" "$home/lib/junit"
  touch "$home/lib/junit/.keep"
  for jar in "$jars"/*.jar; do
    file=${jar##*/}
    case "$file" in
      ApacheJMeter_config-*) unpack_config "$jar" ;;
      # The launcher uses the parent of its folder as the home.
      ApacheJMeter-*) cp "$jar" "$home/bin/ApacheJMeter.jar" ;;
      ApacheJMeter_*) cp "$jar" "$home/lib/ext/" ;;
      *) cp "$jar" "$home/lib/" ;;
    esac
  done
  # Suppresses an irrelevant warning of log4j about this file at each start.
  sed -i 's/<Configuration status="WARN"/<Configuration status="ERROR"/' "$home/bin/log4j2.xml"
  rm -rf "$jars"
}

fetch "$@"
