#!/bin/sh
# One container of a distributed Locust test; README.md documents the variables. The role is MODE, else ATQ_ROLE. Arguments
# are passed to Locust and override the options below.
set -u

fail() {
  echo "atq: $1" >&2
  exit "$2"
}

processes=${LOCUST_PROCESSES:-1}

case "${MODE:-${ATQ_ROLE:-}}" in
  worker)
    # The name does not resolve before the master runs; Locust retries.
    set -- --worker --master-host "${MASTER_HOST:-tasks.master}" "$@"
    ;;
  master)
    # Without the expected number, Locust would wait forever or start without some workers.
    count=$(echo "${WORKER_CSV_VIPS:-}" | tr , '\n' | grep -c .)
    [ "$count" -gt 0 ] || fail "WORKER_CSV_VIPS is empty: no workers" 65
    # Every process of a container is a worker for Locust. The master itself must not start several.
    case "$processes" in
      0* | *[!0-9]*) fail "LOCUST_PROCESSES is \`$processes\`; expected a number from 1, because the master must know it" 64 ;;
    esac
    unset LOCUST_PROCESSES
    mkdir -p /atq/results
    # Failed requests do not affect the exit code, because criteria cover them; other failures of Locust still exit with 1.
    set -- --master --headless --only-summary --expect-workers $((count * processes)) --expect-workers-max-wait 60 \
      --csv /atq/results/locust --html /atq/results/locust.html --stop-timeout 5 --exit-code-on-error 0 "$@"
    ;;
  *) fail "MODE is \`${MODE:-}\`; expected \`master\` or \`worker\`" 64 ;;
esac
exec python3 /opt/atq_locust.py "$@"
