#!/bin/sh
# Orders REQUESTS requests of every worker, all at once, and writes one file of all their samples.
set -eu

results=/atq/results/samples.csv
parts=$(mktemp -d)

for address in $(echo "$WORKER_CSV_VIPS" | tr , ' '); do
  echo "order for $address: $REQUESTS requests"
  echo "$REQUESTS" | nc "$address" 7000 >"$parts/$address" &
done
wait

echo timestamp,elapsed,label,success,code,worker >"$results"
cat "$parts"/* >>"$results"

# The verdict is the Director's business. What it cannot know is whether a worker broke off.
workers=$(echo "$WORKER_CSV_VIPS" | tr , '\n' | wc -l)
samples=$(($(wc -l <"$results") - 1))
echo "$samples samples of $workers workers"
[ "$samples" -eq $((REQUESTS * workers)) ] || exit 1
