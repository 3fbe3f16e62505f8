#!/usr/bin/env bash
# Copies the jars of Gatling and of a compiler from Maven Central to build/jars; ../fetch.lib.sh describes the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

lists=(pom.xml jars.sha256)

pin() { pin_jars; }

assemble() {
  fetch_jars
  # Native libraries for other systems than that of the image.
  rm -f "$jars"/*-{osx,windows}-*.jar "$jars"/*-aarch*.jar
  mv "$jars"/ecj-*.jar "$jars/ecj.jar"
}

fetch "$@"
