#!/bin/sh
# usage: testload.sh master|worker|target  (default: MODE, else ATQ_ROLE); see README.md
set -u

mode=${1:-${MODE:-${ATQ_ROLE:-}}}
port=7000
results=/atq/results/results.csv

# on_term ACTION: sets the handler of SIGTERM. With DEAF there is none, and the kernel does not deliver signals without a
# handler to process 1.
on_term() {
  [ -n "${DEAF:-}" ] || trap "$1" TERM INT
}

# serve COMMAND...: runs the command in the background until SIGTERM, or for HOLD seconds.
serve() {
  "$@" &
  child=$!
  on_term 'kill "$child" 2>/dev/null; keep told; exit 0'
  # A connection has sent QUIT: exits with EXIT.
  trap 'kill "$child" 2>/dev/null; exit "${EXIT:-0}"' USR1
  echo "$mode ready on $(hostname)"
  if [ -n "${HOLD:-}${EXIT:-}" ]; then
    sleep "${HOLD:-0}" &
    wait $!
    kill "$child" 2>/dev/null
    exit "${EXIT:-0}"
  fi
  wait "$child"
  echo "$mode: its server ended" >&2
  exit 1
}

# keep TEXT: appends a line to the results. Results are optional: the directory may be read-only.
keep() {
  [ "$mode" != worker ] || { echo "$1" >>/atq/results/worker.csv; } 2>/dev/null
}

# sample: appends samples to a result file of JMeter, ten times a second.
sample() {
  file=/atq/results/samples.jtl
  echo timeStamp,elapsed,label,responseCode,threadName,success,bytes,grpThreads,allThreads,Latency,Connect >"$file"
  turn=0
  while [ "$turn" -lt "$TURNS" ]; do
    turn=$((turn + 1))
    awk -v now="$(date +%s)000" -v rows="${BATCH:-1}" -v success="${SUCCESS:-true}" 'BEGIN {
      for (row = 1; row <= rows; row++)
        print now "," row % 100 ",GET " row % 5 ",200,threads 1-1," success ",500,1,1," row % 50 ",1"
    }' >>"$file"
    sleep 0.1
  done
}

worker() {
  [ -z "${TURNS:-}" ] || sample &
  keep "replica,host"
  keep "${ATQ_REPLICA:-0},$(hostname)"
  export TESTLOAD_PID=$$
  serve nc -ll -p "$port" -e /bin/sh /testload.sh answer
}

# Handles one connection to a worker: stdin and stdout are the socket.
answer() {
  word=
  read -r -t 2 word
  echo "${ATQ_REPLICA:-0}/$(hostname)"
  [ "$word" != QUIT ] || kill -USR1 "$TESTLOAD_PID"
}

# ask ADDRESS WORD: prints the worker's response. Retries, because a container runs before it listens.
ask() {
  deadline=$(($(date +%s) + 5))
  while [ "$(date +%s)" -lt "$deadline" ]; do
    # A worker that is lost meanwhile leaves the connection open, so `timeout` limits it.
    text=$(echo "$2" | timeout 2 nc -w 1 "$1" "$port" 2>/dev/null)
    # Rejects responses of other servers.
    case "$text" in [0-9]*/*) echo "$text" && return 0 ;; esac
    sleep 0.2
  done
  return 1
}

master() {
  on_term 'echo "master: told to stop"; exit 143'
  missing=0
  rows=worker,answer
  for address in $(echo "${WORKER_CSV_VIPS:-}" | tr , ' '); do
    if text=$(ask "$address" "${SAY:-HELLO}"); then
      echo "worker $address answered $text"
    else
      text=
      missing=$((missing + 1))
      echo "worker $address did not answer" >&2
    fi
    rows="$rows
$address,$text"
  done
  if [ "$rows" = worker,answer ]; then
    echo "master: WORKER_CSV_VIPS is empty" >&2
    exit 65
  fi
  # Results are optional: the directory may be read-only.
  { mkdir -p /atq/results && echo "$rows" >"$results"; } 2>/dev/null
  [ -z "${BYTES:-}" ] || head -c "$BYTES" /dev/zero >/atq/results/large
  [ -z "${LINES:-}" ] || seq 1 "$LINES" | sed 's/^/line /'
  # In the background, so that SIGTERM is handled immediately.
  sleep "${HOLD:-0}" &
  wait $!
  if [ "$missing" -gt 0 ]; then
    echo "master: $missing workers did not answer" >&2
    exit 69
  fi
  echo "master done"
  exit "${EXIT:-0}"
}

case "$mode" in
  worker | master | answer) "$mode" ;;
  target) serve httpd -f -p 8080 -h /www ;;
  *)
    echo "testload: unknown mode \`$mode\`; expected master, worker or target" >&2
    exit 64
    ;;
esac
