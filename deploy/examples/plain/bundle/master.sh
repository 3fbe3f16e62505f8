#!/bin/sh
# Commands REQUESTS requests from all workers concurrently and writes all samples to one file.
set -eu

results=/atq/results/samples.csv
parts=$(mktemp -d)

# On SIGTERM, the samples so far are kept.
commands=''
trap 'kill $commands 2>/dev/null' TERM

for address in $(echo "$WORKER_CSV_VIPS" | tr , ' '); do
  echo "commanding $REQUESTS requests from $address"
  echo "$REQUESTS" | nc "$address" 7000 >"$parts/$address" &
  commands="$commands $!"
done
wait || true

echo timestamp,elapsed,label,success,code,worker >"$results"
cat "$parts"/* >>"$results"

# The Director computes the verdict, but cannot detect a worker that sent too few samples.
workers=$(echo "$WORKER_CSV_VIPS" | tr , '\n' | wc -l)
samples=$(($(wc -l <"$results") - 1))
echo "$samples samples from $workers workers"
[ "$samples" -eq $((REQUESTS * workers)) ] || exit 1
