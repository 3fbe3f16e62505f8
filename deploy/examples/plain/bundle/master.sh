#!/bin/sh
# Orders REQUESTS requests of every worker, all at once, and writes one file of all their samples.
set -eu

results=/atq/results/samples.csv
parts=$(mktemp -d)

# When the test is stopped, what has been measured is kept.
orders=''
trap 'kill $orders 2>/dev/null' TERM

for address in $(echo "$WORKER_CSV_VIPS" | tr , ' '); do
  echo "order for $address: $REQUESTS requests"
  echo "$REQUESTS" | nc "$address" 7000 >"$parts/$address" &
  orders="$orders $!"
done
wait || true

echo timestamp,elapsed,label,success,code,worker >"$results"
cat "$parts"/* >>"$results"

# The verdict is the Director's business. What it cannot know is whether a worker broke off.
workers=$(echo "$WORKER_CSV_VIPS" | tr , '\n' | wc -l)
samples=$(($(wc -l <"$results") - 1))
echo "$samples samples of $workers workers"
[ "$samples" -eq $((REQUESTS * workers)) ] || exit 1
