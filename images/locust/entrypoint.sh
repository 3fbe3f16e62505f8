#!/bin/sh
# One container of a distributed Locust test; README.md has the variables. The role is MODE, else
# ATQ_ROLE. Arguments go to Locust and win over what is said here.
set -u

refuse() {
  echo "atq: $1" >&2
  exit "$2"
}

case "${MODE:-${ATQ_ROLE:-}}" in
  worker)
    # The name has no address before the master is there: Locust tries again by itself.
    set -- --worker --master-host "${MASTER_HOST:-tasks.master}" "$@"
    ;;
  master)
    # Locust would wait for workers that nobody has started, or begin without some.
    count=$(echo "${WORKER_CSV_VIPS:-}" | tr , '\n' | grep -c .)
    [ "$count" -gt 0 ] || refuse "WORKER_CSV_VIPS is empty: no workers" 65
    mkdir -p /atq/results
    # Failed requests are for the criteria to judge; what Locust itself cannot do still ends with 1.
    set -- --master --headless --only-summary --expect-workers "$count" --expect-workers-max-wait 60 \
      --csv /atq/results/locust --html /atq/results/locust.html --stop-timeout 5 --exit-code-on-error 0 "$@"
    ;;
  *) refuse "MODE is \`${MODE:-}\`; expected \`master\` or \`worker\`" 64 ;;
esac
exec python3 -m locust "$@"
