#!/bin/bash
# One container of a distributed JMeter test: MODE=master|node. README.md documents variables, exit codes and output. A
# failure must never look like success, but JMeter itself exits with 0 when engines were busy, when none started, and when
# there is no sample.
set -uo pipefail

readonly HOME_DIR=/opt/jmeter OUTPUT=/tmp/jmeter.out
readonly RESULTS=${RESULTS_DIR:-/atq/results}
readonly JTL=$RESULTS/results.jtl

readonly E_USAGE=64 E_REMOTES=65 E_PLAN=66 E_ADDRESS=67 E_REMOTE_DOWN=69 E_NO_SAMPLES=70
readonly E_NOT_STARTED=71 E_IDLE=72 E_RESULTS=73 E_TOOL=74 E_LOST=75 E_ERRORS=76 E_TERM=143

say() { printf 'atq: %s\n' "$*"; }

# finish CODE WORD TEXT: prints the result as the last line and exits.
finish() {
  local code=$1 word=$2
  shift 2
  say "result $word exit=$code${*:+ $*}"
  exit "$code"
}

# whole NAME: checks that the variable's value is a whole number.
whole() { [[ ${!1} =~ ^[0-9]+$ ]] || finish $E_USAGE usage "\`$1\` is \`${!1}\`; expected a whole number"; }

# ---------------------------------------------------------------- own address

to_number() {
  local a b c d
  IFS=. read -r a b c d <<<"$1"
  echo $(((a << 24) + (b << 16) + (c << 8) + d))
}

# in_subnet ADDRESS CIDR
in_subnet() {
  local shift=$((32 - ${2#*/}))
  (($(to_number "$1") >> shift == $(to_number "${2%/*}") >> shift))
}

# The address at which the other containers reach this one. RMI passes it on, so an address of the wrong network would break
# the test; therefore it is never guessed.
own_address() {
  local address found=()
  if [ -n "${SELF_IP:-}" ]; then
    echo "$SELF_IP"
    return
  fi
  for address in $(hostname -I); do
    [[ $address == *:* ]] && continue
    if [ -n "${ATQ_SUBNET:-}" ] && in_subnet "$address" "$ATQ_SUBNET"; then
      echo "$address"
      return
    fi
  done
  [ -z "${ATQ_SUBNET:-}" ] || return 1
  # /etc/hosts has the addresses in the service's networks, but not in the gateway bridge of Docker.
  mapfile -t found < <(awk -v me="$(hostname)" '$1 !~ /:/ { for (i = 2; i <= NF; i++) if ($i == me) print $1 }' /etc/hosts)
  [ "${#found[@]}" -eq 1 ] && echo "${found[0]}"
}

# ---------------------------------------------------------------- the tool

# java_command ARGS...: sets COMMAND. Options required by the distributed run come last and take precedence.
java_command() {
  local extra=() heap=()
  read -ra extra <<<"${JMETER_ARGS:-}"
  read -ra heap <<<"${HEAP:--Xms128m -Xmx512m -XX:MaxMetaspaceSize=192m} ${JVM_ARGS:-}"
  # Not every JVM uses the locale's encoding for files.
  COMMAND=(java -Dfile.encoding=UTF-8 "${heap[@]}" -Djava.awt.headless=true
    --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.lang.invoke=ALL-UNNAMED
    --add-opens=java.base/java.lang.reflect=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED
    --add-opens=java.base/java.text=ALL-UNNAMED
    "-Djava.rmi.server.hostname=$SELF" -jar "$HOME_DIR/bin/ApacheJMeter.jar"
    "${extra[@]}" "$@" -Jserver.rmi.ssl.disable=true)
}

node() {
  java_command "$@" -s "-Dserver_port=1099" -j /tmp/jmeter.log
  say "node address=$SELF"
  exec "${COMMAND[@]}"
}

# ---------------------------------------------------------------- master: before the test

check_plan() {
  [ -n "${TEST_PATH:-}" ] || finish $E_PLAN no-plan "TEST_PATH is not set; expected the path of a .jmx file"
  [ -f "$TEST_PATH" ] && [ -r "$TEST_PATH" ] && [ -s "$TEST_PATH" ] ||
    finish $E_PLAN no-plan "TEST_PATH \`$TEST_PATH\` is not a readable file with content"
}

# With an empty list, JMeter silently runs the plan on the master alone.
check_remotes() {
  local remote
  IFS=', ' read -ra REMOTE_LIST <<<"${REMOTES:-${WORKER_CSV_VIPS:-}}"
  [ "${#REMOTE_LIST[@]}" -gt 0 ] || finish $E_REMOTES no-remotes "REMOTES and WORKER_CSV_VIPS are empty"
  for remote in "${REMOTE_LIST[@]}"; do
    [[ $remote =~ ^[A-Za-z0-9._-]+$ ]] || finish $E_REMOTES no-remotes "\`$remote\` in REMOTES is not a host or an address"
  done
}

# JMeter appends to an existing file, so results of an earlier run must be removed.
prepare_results() {
  mkdir -p "$RESULTS" 2>/dev/null && rm -f "$JTL" && : >"$JTL" 2>/dev/null ||
    finish $E_RESULTS no-results "cannot write \`$JTL\`"
  rm -f "$JTL"
}

is_up() { timeout 1 bash -c ": </dev/tcp/$1/1099" 2>/dev/null; }

# A running container does not listen immediately: the JVM needs some seconds.
await_remotes() {
  local remote deadline=$((SECONDS + REMOTE_WAIT))
  for remote in "${REMOTE_LIST[@]}"; do
    until is_up "$remote"; do
      [ "$SECONDS" -lt "$deadline" ] ||
        finish $E_REMOTE_DOWN remote-down "\`$remote\` does not accept connections on port 1099 after $REMOTE_WAIT s"
      nap 0.2
    done
  done
  say "remotes up=${#REMOTE_LIST[@]}"
}

# ---------------------------------------------------------------- master: during the test

# Sleeps in the background, so that traps run immediately.
nap() {
  sleep "$1" &
  wait $!
}

told_to_stop() {
  STOPPED=yes
  say "told to stop"
  # Before JMeter runs, there is nothing to wait for.
  [ -n "${JAVA:-}" ] || finish $E_TERM stopped
}

# JMeter listens for this message on the loopback; it stops all engines and completes the results.
ask_to_stop() { printf StopTestNow >/dev/udp/127.0.0.1/4445 2>/dev/null || true; }

start_tool() {
  mkfifo /tmp/jmeter.pipe
  tee "$OUTPUT" </tmp/jmeter.pipe &
  TEE=$!
  java_command "$@" -n -X -t "$TEST_PATH" -l "$JTL" -j "$RESULTS/jmeter.log" -R "$(IFS=,; echo "${REMOTE_LIST[*]}")" \
    -Jsummariser.interval=5 -Jclient.tries=3 -Jclient.retries_delay=1000 \
    -Jnum_sample_threshold=50 -Jtime_threshold=1000 \
    -Jjmeter.save.saveservice.output_format=csv -Jjmeter.save.saveservice.print_field_names=true \
    -Jjmeter.save.saveservice.default_delimiter=, -Jjmeter.save.saveservice.timestamp_format=ms \
    -Jjmeter.save.saveservice.hostname=true -Jjmeter.save.saveservice.thread_name=true \
    -Jjmeter.save.saveservice.autoflush=true -Jjmeterengine.force.system.exit=true
  "${COMMAND[@]}" >/tmp/jmeter.pipe 2>&1 &
  JAVA=$!
}

is_over() { ! kill -0 "$JAVA" 2>/dev/null; }
is_tidying() { grep -q '^Tidying up remote' "$OUTPUT" 2>/dev/null; }

# Detects lost workers while the test runs, after three failed probes.
probe_remotes() {
  local remote
  for remote in "${REMOTE_LIST[@]}"; do
    [ -n "${LOST[$remote]:-}" ] && continue
    if is_up "$remote"; then
      MISSED[$remote]=0
    elif MISSED[$remote]=$((${MISSED[$remote]:-0} + 1)) && [ "${MISSED[$remote]}" -ge 3 ] && ! is_tidying && ! is_over; then
      LOST[$remote]=yes
      say "worker lost $remote"
    fi
  done
}

# With a lost worker JMeter would wait forever. The test ends when the other workers send no more samples.
end_without_samples() {
  local size
  [ "${#LOST[@]}" -gt 0 ] || return 0
  size=$(stat -c %s "$JTL" 2>/dev/null || echo 0)
  if [ "$size" != "${LAST_SIZE:-}" ]; then
    LAST_SIZE=$size QUIET_SINCE=$SECONDS
  elif ((SECONDS - QUIET_SINCE >= LOST_WAIT)); then
    ENDING=${ENDING:-$SECONDS}
  fi
}

# JMeter also waits for lost workers, which send no more samples, so the timeout is shorter then.
stop_timeout() {
  if [ "${#LOST[@]}" -gt 0 ]; then echo $((STOP_WAIT < 5 ? STOP_WAIT : 5)); else echo "$STOP_WAIT"; fi
}

kill_tool() {
  say "jmeter did not stop within $(stop_timeout) s: killed"
  kill -KILL "$JAVA" 2>/dev/null
}

follow_tool() {
  local next_probe=$((SECONDS + 2))
  while ! is_over; do
    [ -z "$STOPPED" ] || ENDING=${ENDING:-$SECONDS}
    if [ -n "$ENDING" ]; then
      ask_to_stop
      ((SECONDS - ENDING < $(stop_timeout))) || kill_tool
    elif ((SECONDS >= next_probe)); then
      probe_remotes
      end_without_samples
      next_probe=$((SECONDS + 2))
    fi
    nap 0.5
  done
  wait "$JAVA"
  TOOL_CODE=$?
  wait "$TEE"
}

# ---------------------------------------------------------------- master: after the test

percentile() { sed -n "$((($1 * $2 + 99) / 100))p" /tmp/sorted; }

print_figures() {
  local remotes p50 p90 p95 p99 max
  remotes=$(IFS=,; echo "${REMOTE_LIST[*]}")
  [ -f "$JTL" ] || : >"$JTL"
  awk -v remotes="$remotes" -v times=/tmp/times -v sums=/tmp/sums -f /figures.awk "$JTL"
  read -r TOTAL ERRORS RATE MEAN IDLE </tmp/sums
  sort -n /tmp/times >/tmp/sorted
  if [ "$TOTAL" -gt 0 ]; then
    p50=$(percentile "$TOTAL" 50) p90=$(percentile "$TOTAL" 90) p95=$(percentile "$TOTAL" 95)
    p99=$(percentile "$TOTAL" 99) max=$(tail -n 1 /tmp/sorted)
  fi
  say "total samples=$TOTAL errors=$ERRORS throughput=$RATE/s mean=$MEAN p50=${p50:-0} p90=${p90:-0} p95=${p95:-0} p99=${p99:-0} max=${max:-0}"
  say "$TOTAL samples from $((${#REMOTE_LIST[@]} - IDLE)) of ${#REMOTE_LIST[@]} workers, $ERRORS errors, $RATE a second, 95 % within ${p95:-0} ms"
}

# Selects the exit code; causes come before their consequences.
exit_with_result() {
  [ -z "$STOPPED" ] || finish $E_TERM stopped
  [ "${#LOST[@]}" -eq 0 ] || finish $E_LOST worker-lost "${!LOST[*]}"
  if grep -q 'have not started' "$OUTPUT"; then
    finish $E_NOT_STARTED not-started "some engines were busy or rejected the test: see above"
  fi
  [ "$TOOL_CODE" -eq 0 ] || finish $E_TOOL tool-failed "jmeter ended with $TOOL_CODE"
  [ "$TOTAL" -gt 0 ] || finish $E_NO_SAMPLES no-samples "the test ran and left no sample"
  [ "$IDLE" -eq 0 ] || finish $E_IDLE idle-workers "$IDLE of ${#REMOTE_LIST[@]} workers sent no sample"
  if [ -n "${MAX_ERRORS:-}" ] && [ "$ERRORS" -gt "$MAX_ERRORS" ]; then
    finish $E_ERRORS too-many-errors "$ERRORS errors, at most $MAX_ERRORS allowed"
  fi
  finish 0 ok
}

master() {
  STOPPED='' ENDING='' JAVA=''
  declare -gA LOST=() MISSED=()
  trap told_to_stop TERM INT
  check_plan
  check_remotes
  prepare_results
  say "master address=$SELF remotes=${#REMOTE_LIST[@]} plan=$TEST_PATH"
  await_remotes
  start_tool "$@"
  follow_tool
  print_figures
  exit_with_result
}

# ---------------------------------------------------------------- start

REMOTE_WAIT=${REMOTE_WAIT:-60} STOP_WAIT=${STOP_WAIT:-25} LOST_WAIT=${LOST_WAIT:-10}
whole REMOTE_WAIT
whole STOP_WAIT
whole LOST_WAIT
[ -z "${MAX_ERRORS:-}" ] || whole MAX_ERRORS

case "${MODE:-${ATQ_ROLE:-}}" in
  master) role=master ;;
  node | worker) role=node ;;
  *) finish $E_USAGE usage "MODE is \`${MODE:-}\`; expected \`master\` or \`node\`" ;;
esac
SELF=$(own_address) ||
  finish $E_ADDRESS no-address "none of \`$(hostname -I)\` is the one address in ATQ_SUBNET=\`${ATQ_SUBNET:-}\`; set ATQ_SUBNET or SELF_IP"
"$role" "$@"
