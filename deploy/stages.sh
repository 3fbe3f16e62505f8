# Sourced by the scripts that run the stages of a tier of tests: times, results, and a table at the end.
# shellcheck shell=bash

# begin_stages TIER: must be called once, first. The table is the end of the output on every exit.
begin_stages() {
  TIER=$1
  STAGES=$TARGET/stages/$TIER
  LANES=()
  rm -rf "$STAGES"
  mkdir -p "$STAGES"
  BEGUN=$SECONDS
  CPU_BEGUN=$(cpu_times)
  IS_BACKGROUND=
  trap 'end_stages $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# The busy and the total time of all CPUs since boot, in ticks.
cpu_times() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat; }

# cpu_usage BUSY TOTAL: the usage in percent of all CPUs since these readings.
cpu_usage() {
  # shellcheck disable=SC2046 # two numbers
  set -- "$@" $(cpu_times)
  echo $((($3 - $1) * 100 / ($4 - $2 > 0 ? $4 - $2 : 1)))
}

# record NAME RESULT SECONDS CPU: renamed into place, because other lanes wait for the file.
record() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$3" "$2" "$4" >"$STAGES/$1.part"
  mv "$STAGES/$1.part" "$STAGES/$1.result"
}

passed() { [ "$(cut -f 3 "$STAGES/$1.result" 2>/dev/null)" = passed ]; }

# await STAGE...: waits until these stages have ended; fails if one has not passed.
await() {
  local name
  for name in "$@"; do
    until [ -e "$STAGES/$name.result" ]; do sleep 0.2; done
  done
  for name in "$@"; do
    if ! passed "$name"; then
      echo "$name"
      return 1
    fi
  done
}

# stage NAME [--needs STAGE,...] COMMAND...: runs a stage and records its result. A failure does not end the lane. The
# output of a stage in the background appears when the stage ends.
stage() {
  local name=$1 needs=() failed begun cpu code=0 log
  shift
  if [ "$1" = --needs ]; then
    IFS=, read -ra needs <<<"$2"
    shift 2
  fi
  if ! failed=$(await "${needs[@]}"); then
    say "---- $name: not run, because $failed has not passed"
    record "$name" "not run" 0 0
    return 0
  fi
  begun=$SECONDS
  log=$STAGES/$name.log
  read -ra cpu < <(cpu_times)
  if [ -n "$IS_BACKGROUND" ]; then
    say "---- $name begins, in parallel with others; its output follows at its end"
    "$@" >"$log" 2>&1 </dev/null || code=$?
    say "---- output of $name"
    cat "$log"
  else
    say "---- $name"
    "$@" 2>&1 </dev/null | tee "$log" || code=$?
  fi
  local seconds=$((SECONDS - begun)) result=passed
  [ "$code" -eq 0 ] || result="FAILED ($code)"
  say "---- $name: $result after $seconds s"
  record "$name" "$result" "$seconds" "$(cpu_usage "${cpu[@]}")"
}

# lane COMMAND: runs a function of stages in the background.
lane() {
  (
    trap - EXIT INT TERM HUP
    IS_BACKGROUND=yes
    "$@"
  ) &
  LANES+=($!)
}

await_lanes() {
  local pid
  for pid in "${LANES[@]}"; do wait "$pid" || true; done
  LANES=()
}

# end_tree PID: ends a process and its descendants, which ignore Ctrl-C in the background.
end_tree() {
  local child
  for child in $(ps -o pid= --ppid "$1" 2>/dev/null); do end_tree "$child"; done
  kill -TERM "$1" 2>/dev/null || true
}

# failed_tests STAGE: the failed tests of a stage with their messages, at most 80 lines.
failed_tests() {
  awk '/^failures:$/ { inside = 1 } inside' "$STAGES/$1.log" | grep -v '^$' | head -n 80
}

# end_stages CODE: prints the failed tests, then the stages in the order of their ends, with a line of totals. Exits with
# 1 if a stage has not passed.
end_stages() {
  local code=$1 pid name seconds result cpu good=0 bad=0
  trap - EXIT INT TERM HUP
  for pid in "${LANES[@]}"; do end_tree "$pid"; done
  for name in $(grep -l "	FAILED " "$STAGES"/*.result 2>/dev/null); do
    name=$(basename "$name" .result)
    printf '\n---- failed in %s\n%s\n' "$name" "$(failed_tests "$name")"
  done
  printf '\n%-18s %8s %5s  %s\n' "$TIER: stage" seconds CPU result
  while IFS=$'\t' read -r name seconds result cpu; do
    printf '%-18s %8s %4s%%  %s\n' "$name" "$seconds" "$cpu" "$result"
    if [ "$result" = passed ]; then good=$((good + 1)); else bad=$((bad + 1)); fi
  done < <(ls -tr "$STAGES"/*.result 2>/dev/null | xargs -r cat)
  # shellcheck disable=SC2086 # two numbers
  printf '%-18s %8s %4s%%  %s\n' "all, by the clock" $((SECONDS - BEGUN)) "$(cpu_usage $CPU_BEGUN)" "logs are in $STAGES"
  [ "$code" -eq 0 ] || say "$TIER: ended early with exit code $code"
  say "stages: $good passed, $bad failed"
  if [ "$code" -eq 0 ] && [ "$bad" -gt 0 ]; then code=1; fi
  exit "$code"
}
