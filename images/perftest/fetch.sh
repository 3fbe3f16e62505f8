#!/usr/bin/env bash
# Copies RabbitMQ PerfTest from Maven Central to build/lib, and compiles src/ into build/classes; ../fetch.lib.sh describes the
# arguments.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

lists=(pom.xml jars.sha256 src/*.java test/*.java)

pin() { pin_jars; }

# compile FOLDER CLASSES
compile() {
  java -jar build/ecj-*.jar -source 17 -target 17 -encoding UTF-8 -nowarn \
    -cp "build/classes:$(printf '%s:' build/lib/*.jar)" -d "$2" "$1"
}

assemble() {
  need java default-jre-headless
  fetch_jars
  mv "$jars"/ecj-*.jar build/
  mv "$jars" build/lib
  # Only used to form clusters of PerfTest's own, and to send figures to other systems.
  rm -f build/lib/jgroups-*.jar build/lib/micrometer-registry-*.jar build/lib/prometheus-*.jar build/lib/metrics-jmx-*.jar
  mkdir build/classes
  compile src build/classes
  compile test build/tests
  java -cp "build/tests:build/classes:build/lib/*" com.rabbitmq.perf.SpecTest >&2
}

fetch "$@"
