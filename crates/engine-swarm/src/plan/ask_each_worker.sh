# Runs the user's command for every worker at once, again and again until it succeeds or the time is
# up. Prints a line for each worker: `ready ADDRESS`, or `not-ready ADDRESS CODE LAST-LINE`.
newline='
'
end=$(($(date +%s) + ATQ_READINESS_SECONDS))

ask() {
  while :; do
    said=$(ATQ_WORKER_ADDRESS=$1 /bin/sh -c "$ATQ_READINESS_COMMAND" 2>&1 </dev/null)
    code=$?
    if [ "$code" -eq 0 ]; then
      printf 'ready %s\n' "$1"
      return 0
    fi
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.5 2>/dev/null || sleep 1
  done
  # Not by `echo`: some shells' one takes `\n` and `\c` in what was said for more than letters.
  printf 'not-ready %s %s %s\n' "$1" "$code" "${said##*"$newline"}"
  return 1
}

asking=
rest=$WORKER_CSV_VIPS,
while [ -n "$rest" ]; do
  ask "${rest%%,*}" &
  asking="$asking $!"
  rest=${rest#*,}
done
worst=0
for one in $asking; do
  wait "$one" || worst=1
done
exit "$worst"
