# Runs the user's command for every worker concurrently, and retries until it succeeds or the time is up. Prints a
# line for each worker: `ready ADDRESS`, or `not-ready ADDRESS CODE LAST-LINE`.
newline='
'
end=$(($(date +%s) + ATQ_READINESS_SECONDS))

probe() {
  while :; do
    output=$(ATQ_WORKER_ADDRESS=$1 /bin/sh -c "$ATQ_READINESS_COMMAND" 2>&1 </dev/null)
    code=$?
    if [ "$code" -eq 0 ]; then
      printf 'ready %s\n' "$1"
      return 0
    fi
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.5 2>/dev/null || sleep 1
  done
  # Not by `echo`: in some shells it interprets `\n` and `\c` in the output.
  printf 'not-ready %s %s %s\n' "$1" "$code" "${output##*"$newline"}"
  return 1
}

pids=
rest=$WORKER_CSV_VIPS,
while [ -n "$rest" ]; do
  probe "${rest%%,*}" &
  pids="$pids $!"
  rest=${rest#*,}
done
worst=0
for pid in $pids; do
  wait "$pid" || worst=1
done
exit "$worst"
