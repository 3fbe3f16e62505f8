#!/bin/sh
# Executes one command, a line with the number of requests, and responds with a CSV line for each request.
set -eu

# A readiness probe connects without sending a line.
read -r requests || exit 0

done=0
while [ "$done" -lt "$requests" ]; do
  begun=$(date +%s%3N)
  # Seconds, and the status code, which is 000 without a response.
  seen=$(curl -s -o /dev/null -m 10 -w '%{time_total} %{http_code}' "$TARGET_URL") || true
  echo "$begun $seen" | awk -v worker="worker.$ATQ_REPLICA" '{
    ok = $3 >= 200 && $3 < 400
    printf "%s,%.3f,GET,%s,%s,%s\n", $1, $2 * 1000, ok ? "true" : "false", $3, worker
  }'
  done=$((done + 1))
done
