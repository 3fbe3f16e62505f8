#!/bin/sh
# Runs a load test with an ATQ Director, for machines that have curl and jq but not `atq`. See --help.
set -eu

usage() {
  cat <<'HELP'
usage: atq-load-test.sh run TASK [OPTION...]
       atq-load-test.sh stop NAME [--url URL]

Needs sh, curl and jq. TASK is a definition in JSON.

  --url URL            the Director (ATQ_URL, else http://127.0.0.1:8080)
  --bundle ZIP         for the services whose `fileid` is missing (a directory needs the program zip)
  --criterion TEXT     adds a criterion, for example 'p95 < 500ms'
  --set FIELD=VALUE    sets a field, for example worker.replicas=5; JSON where no text is expected
  --env NAME=VALUE     sets a variable of the environment of master and workers
  --name NAME          the task's name
  --replace            removes a task of this name that is over, before the start
  --results DIR        where to put report, logs and result files
  --junit FILE         writes the verdict as JUnit XML
  --timeout TIME       ends the test after this time, for example 90s, 30m, 1h30m (24h); the Director sees to it,
                       also when this program has died
  --follow             accepted for the sake of `atq`, and without effect

SIGTERM, SIGINT and SIGHUP stop the task, unless another client has started it with the same definition. Exit codes, as those of `atq`:
  0  passed                                       5  the test took longer than it may
  1  a criterion does not hold                    6  the test was stopped
  2  the command line, or a file, cannot be used  7  the test says nothing
  3  the test tool failed                         8  the Director refuses the request
  4  the test could not be run                    9  no Director answers

environment:
  ATQ_URL          see --url
  ATQ_IDEMPOTENCY_KEY  names this run of the program (a random key); with it, stop ends only what was started with it
  ATQ_CA           certificates (PEM) that are trusted: the Director's own, or its authority's
  ATQ_POLL         seconds between two looks at the task (2)
  ATQ_PATIENCE     seconds without an answer of the Director until it counts as gone (60)
HELP
}

# ---------------------------------------------------------------- messages

# die CODE WHAT [HINT]
die() {
  printf 'error: %s\n' "$2" >&2
  [ $# -lt 3 ] || printf '  %s\n' "$3" >&2
  exit "$1"
}

note() { printf '%s\n' "$*" >&2; }

# ---------------------------------------------------------------- HTTP

# curl, with what the URL asks for. User and password are in a file that no other user can read, since arguments are in
# the list of processes.
request() {
  set -- -K "$DIR/curlrc" "$@"
  curl "$@"
}

# Takes user and password out of URL, so that no message can show them, and writes what curl is to be told.
set_url() {
  URL=${1%/} user=
  case $URL in
    *://*@*)
      user=${URL#*://}
      user=${user%@*}
      # Without a colon, curl would ask for the password.
      case $user in *:*) ;; *) user=$user: ;; esac
      URL=${URL%%://*}://${URL##*@}
      ;;
  esac
  {
    [ -z "$user" ] || printf 'user = "%s"\n' "$(decoded "$user" | sed 's/[\\"]/\\&/g')"
    # A proxy would look for this machine on its own.
    case ${URL#*://} in
      localhost | localhost[:/]* | 127.* | \[::1\]*) echo 'noproxy = "*"' ;;
    esac
    [ -z "${ATQ_CA:-}" ] || printf 'cacert = "%s"\n' "$(printf %s "$ATQ_CA" | sed 's/[\\"]/\\&/g')"
  } >"$DIR/curlrc"
}

# decoded TEXT: `%40` of a URL is `@`.
decoded() {
  # shellcheck disable=SC2016  # awk's own variables
  printf '%s' "$1" | LC_ALL=C awk '{
    out = ""
    while (match($0, /%[0-9A-Fa-f][0-9A-Fa-f]/)) {
      hex = tolower(substr($0, RSTART + 1, 2))
      code = (index("0123456789abcdef", substr(hex, 1, 1)) - 1) * 16 + index("0123456789abcdef", substr(hex, 2, 1)) - 1
      out = out substr($0, 1, RSTART - 1) sprintf("%c", code)
      $0 = substr($0, RSTART + 3)
    }
    printf "%s", out $0
  }'
}

# call SECONDS METHOD PATH CURL-ARGS...: the status is left in $STATUS (000: no answer), the body in $DIR/body.
# A redirect is followed with the same method and body, and all calls after it go to the new place.
call() {
  seconds=$1 method=$2 path=$3 hops=0
  shift 3
  while :; do
    : >"$DIR/body"
    answer=$(request -sS -m "$seconds" -X "$method" -o "$DIR/body" -D "$DIR/headers" -w '%{http_code} %{redirect_url}' \
      "$@" "$URL$path" 2>"$DIR/curl") || answer=000
    STATUS=${answer%% *} TO=${answer#* }
    case $STATUS in 301 | 302 | 307 | 308) moved || return 0 ;; *) return 0 ;; esac
  done
}

# moved: 1 when the redirect to $TO leads to no Director, in a circle, or away from encryption.
moved() {
  hops=$((hops + 1))
  [ "$hops" -le 5 ] || return 1
  case $TO in *"$path") ;; *) return 1 ;; esac
  case $URL:$TO in https:*:http:*) return 1 ;; esac
  new=${TO%"$path"} from=${URL#*://} to=${TO#*://}
  # A password is for the host that it was given for.
  if [ "${from%%/*}" = "${to%%/*}" ]; then URL=$new; else set_url "$new"; fi
}

# call_again SECONDS METHOD PATH CURL-ARGS...: for calls that may be made twice. Who is busy or away (429, 502 to 504,
# no answer) is asked three times.
call_again() {
  for try in 1 2 3; do
    call "$@"
    case $STATUS in 000 | 429 | 502 | 503 | 504) ;; *) return 0 ;; esac
    [ "$try" = 3 ] || pause "$(retry_after)"
  done
}

# The seconds of Retry-After, at most 30; nothing when that was not said.
retry_after() {
  tr -d '\r' <"$DIR/headers" 2>/dev/null |
    awk -F': *' 'tolower($1) == "retry-after" && $2 ~ /^[0-9]+$/ { s = $2 } END { if (s != "") print (s > 30 ? 30 : s) }'
}

# Whether the Director says that something is not there; the 404 of a proxy says nothing of the kind.
absent() {
  [ "$STATUS" = 404 ] &&
    jq -e '.code | IN("task_not_found", "no_results", "no_report", "unknown_path")' "$DIR/body" >/dev/null 2>&1
}

# signed_again SECONDS METHOD PATH CURL-ARGS...: call_again for this invocation: the Director ends nothing of another one.
signed_again() {
  if [ -n "$KEY" ]; then call_again "$@" -H "Idempotency-Key: $KEY"; else call_again "$@"; fi
}

# What the Director says about its refusal, on one line.
reason() {
  jq -r '.error // .detail // empty' "$DIR/body" 2>/dev/null | tr '\n' ' ' | grep . ||
    { head -c 300 "$DIR/body" | tr '\n' ' ' | grep .; } || echo "no reason is given"
}

# check WHAT: ends the program unless the last call succeeded.
check() {
  case $STATUS in
    2??) ;;
    000) die 9 "$1: no Director answers at \`$URL\`: $(cat "$DIR/curl")" "is it running there? See --url" ;;
    3??) die 4 "$1: \`$URL\` redirects to \`$TO\`, which is no place of a Director" "give the Director's own URL with --url" ;;
    404) absent || die 8 "$1: \`$URL\` answers 404, but not as a Director" "is a proxy in between? $(reason)"
      die 8 "$1: the Director refuses it (404): $(reason)" ;;
    4??) die 8 "$1: the Director refuses it ($STATUS): $(reason)" ;;
    *) die 4 "$1: the Director answers $STATUS: $(reason)" ;;
  esac
}

# ---------------------------------------------------------------- definition

# change WHAT FILTER: the definition, changed. Values come in through the environment, which no other user can read.
change() {
  jq "$2" "$DIR/task.json" >"$DIR/changed" 2>"$DIR/jq" || die 2 "$1: $(head -n 1 "$DIR/jq")"
  mv "$DIR/changed" "$DIR/task.json"
}

read_task() {
  [ -n "$TASK" ] || die 2 "no definition is given" "usage: atq-load-test.sh run TASK [OPTION...]"
  if [ "$TASK" = - ]; then cat >"$DIR/task.json"; else
    cat -- "$TASK" >"$DIR/task.json" 2>"$DIR/jq" || die 2 "the definition \`$TASK\` cannot be read" "$(cat "$DIR/jq")"
  fi
  jq -es 'length == 1 and (.[0] | type == "object")' "$DIR/task.json" >/dev/null 2>"$DIR/jq" ||
    die 2 "the definition \`$TASK\` is not a JSON object" "$(head -n 1 "$DIR/jq") (YAML needs \`atq\`)"
}

# The options that change the definition were checked and kept in order, one a file.
apply_changes() {
  export TEXT
  for file in "$DIR"/change.*; do
    [ -e "$file" ] || continue
    kind=${file##*.}
    TEXT=$(cat "$file")
    case $kind in
      criterion) change "--criterion" '.criteria = ((.criteria // []) + [env.TEXT])' ;;
      set)
        # shellcheck disable=SC2016  # variables of jq
        change "--set \`${TEXT%%=*}\`" '
          # What looks like a number stays text where the definition takes text.
          def is_text:
            (length == 1 and (.[0] | IN("name", "onWorkerLoss", "delivery")))
            or (length > 1 and .[0] == "criteria")
            or (.[0] == "waitCommand" and (.[1] | IN("command", "expectedResult")))
            or (length == 2 and (.[1] | IN("alias", "image", "user", "fileid")))
            or (length == 3 and (.[1] | IN("args", "environment", "networks", "labels")));
          (env.TEXT | split("=")) as $parts | ($parts[1:] | join("=")) as $text
          | setpath($parts[0] | split(".") | map(. as $key | try tonumber catch $key);
                    (try ($text | fromjson) catch $text)
                    | if type != "string" and ($parts[0] | split(".") | is_text) then $text else . end)'
        ;;
      env)
        # shellcheck disable=SC2016  # variables of jq
        change "--env" '(env.TEXT | split("=")[0] + "=") as $start
          | (.master, .worker) |= (.environment =
              ((.environment // []) | map(select(startswith($start) | not))) + [env.TEXT])'
        ;;
    esac
  done
  TEXT=$NAME
  [ -z "$NAME" ] || change "--name" '.name = env.TEXT'
  unset TEXT
  NAME=$(jq -r '.name // "" | tostring' "$DIR/task.json")
  valid_name "$NAME" || die 2 "\`$NAME\` cannot be the name of a task" \
    "3 to 45 letters, digits, \`-\` and \`_\`; the first and the last one is a letter or a digit"
}

valid_name() {
  printf '%s' "$1" | LC_ALL=C grep -Eq '^[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]$' && [ "$(printf '%s' "$1" | wc -l)" = 0 ]
}

# seconds TIME: `1h30m` as a number.
seconds() {
  rest=$(printf '%s' "$1" | tr -d ' ') total=0
  while [ -n "$rest" ]; do
    number=${rest%%[!0-9]*}
    rest=${rest#"$number"}
    unit=${rest%%[0-9]*}
    rest=${rest#"$unit"}
    # A leading zero would make the number octal.
    number=$(printf '%s' "$number" | sed 's/^0*\(.\)/\1/')
    case $number:$unit in
      :*) return 1 ;;
      *:s | *:sec | *:second | *:seconds) total=$((total + number)) ;;
      *:m | *:min | *:minute | *:minutes) total=$((total + number * 60)) ;;
      *:h | *:hr | *:hour | *:hours) total=$((total + number * 3600)) ;;
      *:d | *:day | *:days) total=$((total + number * 86400)) ;;
      *) return 1 ;;
    esac
  done
  [ "$total" -gt 0 ] && echo "$total"
}

# ---------------------------------------------------------------- the run

upload() {
  [ -n "$BUNDLE" ] || return 0
  zip=$BUNDLE
  if [ -d "$BUNDLE" ]; then
    command -v zip >/dev/null || die 2 "\`$BUNDLE\` is a directory, and the program zip is missing" "give a .zip instead"
    zip=$DIR/bundle.zip
    (cd -- "$BUNDLE" && zip -q -r "$zip" .) || die 2 "\`$BUNDLE\` cannot be zipped"
  fi
  [ -r "$zip" ] || die 2 "the bundle \`$BUNDLE\` cannot be read"
  # By a name of its own, since curl gives `;`, `,` and quotes in the name of a file a meaning.
  case $zip in /*) ;; *) zip=$PWD/$zip ;; esac
  ln -s -- "$zip" "$DIR/upload.zip"
  call_again 3600 POST /databind/upload -F "file=@\"$DIR/upload.zip\";filename=bundle.zip;type=application/zip"
  check "upload of \`$BUNDLE\`"
  ID=$(jq -r '.id' "$DIR/body")
  export ID
  note "bundle $ID"
  change "--bundle" '(.master, .worker) |= (if (.fileid // "") == "" then .fileid = env.ID else . end)'
}

replace() {
  [ -n "$REPLACE" ] || return 0
  call_again 60 GET "/task/$NAME"
  case $(jq -r '.status? // ""' "$DIR/body" 2>/dev/null) in
    finished | stopped | errored)
      signed_again 120 DELETE "/task/$NAME"
      absent || check "removal of the task \`$NAME\` that is over"
      ;;
  esac
}

# An answer that was lost may hide a task that runs: the same definition again is safe, and tells.
start() {
  STARTED=maybe
  signed_again 60 PUT "/task?timeout=${LIMIT}s" -H 'Content-Type: application/json' --data-binary "@$DIR/task.json"
  case $STATUS in 4??) STARTED= ;; esac
  check "start of \`$NAME\`"
  STARTED=yes BEGUN=$(now)
  printf '{"id": "%s"}' "$NAME" >"$DIR/now.json"
  if jq -e '.startedBy == "other"' "$DIR/body" >/dev/null 2>&1; then
    ATTACHED=yes
    note "task $NAME is already under way, started by another client: it is watched, and not stopped from here"
  else
    note "task $NAME started"
  fi
}

now() { date +%s; }

# pause [SECONDS]. A trap waits for a program in the foreground, but not for `wait`.
pause() {
  sleep "${1:-${ATQ_POLL:-2}}" &
  wait $! || true
}

# look: the task is left in $DIR/now.json. A task that failed before its master ran comes with status 500.
look() {
  call 30 GET "/task/$NAME"
  case $STATUS in
    200 | 500) jq -e '.id and .status' "$DIR/body" >/dev/null 2>&1 && cp "$DIR/body" "$DIR/now.json" ;;
    404) ! absent || die 6 "the task \`$NAME\` was removed while it ran" && return 1 ;;
    *) return 1 ;;
  esac
}

is_over() {
  jq -e '(.status | IN("finished", "stopped", "errored")) and ((.step // "done") == "done")' "$DIR/now.json" >/dev/null
}

say_step() {
  step=$(jq -r '[.step // .status] + (if .queuePosition then ["place \(.queuePosition)"] else [] end) | join(", ")' \
    "$DIR/now.json")
  [ "$step" = "$SAID" ] || note "$(($(now) - BEGUN)) s  $step"
  SAID=$step
}

# follow SECONDS: until the task is over; 1 when the time is up.
follow() {
  end=$(($(now) + $1)) heard=$(now)
  while :; do
    if look; then
      heard=$(now)
      say_step
      ! is_over || return 0
    elif [ $(($(now) - heard)) -ge "${ATQ_PATIENCE:-60}" ]; then
      die 9 "the Director at \`$URL\` answers no more (${STATUS}): $(cat "$DIR/curl")" "the task \`$NAME\` may still run"
    fi
    [ "$(now)" -lt "$end" ] || return 1
    pause
  done
}

stop() { signed_again 30 POST "/task/$NAME/stop"; }

on_signal() {
  trap '' TERM INT HUP
  [ -n "$STARTED" ] || exit 6
  if [ -n "$ATTACHED" ]; then note "the task $NAME goes on" && exit 6; fi
  note "stopping the task $NAME"
  stop
  case $STATUS in 2??) ;; *) note "error: it could not be stopped ($STATUS)" ;; esac
  exit 6
}

# ---------------------------------------------------------------- what is left

# missing WHAT: an output could not be written. That holds up nothing else, and does not hide the verdict.
missing() {
  MISSING=yes
  printf 'error: %s\n' "$1" >&2
}

# probe OPTION FILE: ends the program, before the test, unless the file can be written.
probe() {
  [ -n "$2" ] || return 0
  is_there=
  [ ! -e "$2" ] || is_there=yes
  mkdir -p -- "$(dirname -- "$2")" 2>"$DIR/io" && (: >>"$2") 2>"$DIR/io" ||
    die 2 "\`$1 $2\` cannot be written" "$(tail -n 1 "$DIR/io")"
  [ -n "$is_there" ] || rm -f -- "$2"
}

# Nothing of somebody else in the directory is replaced or removed: .atq-files lists what `atq` or this program wrote
# there, in the form of sha256sum. A file that was changed since is somebody else's.
LIST=.atq-files
FILES='task.json report.json report.html logs.txt results.zip'

sums() { if command -v sha256sum >/dev/null; then sha256sum -- "$@"; else shasum -a 256 -- "$@"; fi; }

# own NAME: whether the file in $RESULTS is as it was written.
own() {
  [ -f "$RESULTS/$1" ] && [ ! -L "$RESULTS/$1" ] || return 1
  sum=$(cd -- "$RESULTS" && sums "$1") && grep -qxF -e "$sum" "$RESULTS/$LIST" 2>/dev/null
}

probe_results() {
  [ -n "$RESULTS" ] || return 0
  mkdir -p -- "$RESULTS" 2>"$DIR/io" || die 2 "\`--results $RESULTS\` cannot be made" "$(tail -n 1 "$DIR/io")"
  probe --results "$RESULTS/.atq-$$.part"
  if [ -e "$RESULTS/results" ] || [ -L "$RESULTS/results" ]; then
    [ -d "$RESULTS/results" ] && [ ! -L "$RESULTS/results" ] ||
      die 2 "\`$RESULTS/results\` is not a directory" "move it away, or name another directory"
    probe --results "$RESULTS/results/.atq-$$.part"
  fi
  for name in $LIST $FILES; do
    [ -e "$RESULTS/$name" ] || [ -L "$RESULTS/$name" ] || continue
    case $name in "$LIST") [ -f "$RESULTS/$name" ] && [ ! -L "$RESULTS/$name" ] ;; *) own "$name" ;; esac ||
      die 2 "\`$RESULTS/$name\` was not written by this program, or was changed since" \
        "nothing of yours is overwritten: move it away, or name another directory"
  done
}

# put FILE NAME
put() { mv -- "$1" "$RESULTS/$2" 2>"$DIR/io" || missing "\`$RESULTS/$2\` cannot be written: $(tail -n 1 "$DIR/io")"; }

# bring PATH FILE CURL-ARGS...: 1 when there is none; says why.
bring() {
  path=$1 file=$2
  shift 2
  call_again 600 GET "/task/$NAME$path" "$@"
  if [ "$STATUS" = 200 ]; then
    put "$DIR/body" "$file"
  elif absent; then
    note "no $file ($STATUS)"
    return 1
  else
    missing "$file cannot be brought ($STATUS): $(reason)"
    return 1
  fi
}

# Removes the result files of an earlier run: replicas that this one does not have must not look like its own.
clear_results() {
  [ -f "$RESULTS/$LIST" ] || return 0
  home=$(cd -- "$RESULTS" && pwd -P)
  while IFS= read -r line; do
    name=${line#*  }
    case $name in results/*) ;; *) continue ;; esac
    # Not through a link, and not by `..`.
    [ "$(cd -- "$RESULTS/${name%/*}" 2>/dev/null && pwd -P)" = "$home/${name%/*}" ] || continue
    if own "$name"; then rm -f -- "$RESULTS/$name" || missing "\`$RESULTS/$name\` cannot be removed"; fi
  done <"$RESULTS/$LIST"
}

# Puts the result files into $RESULTS/results, and their sums into $DIR/sums.
unpack() {
  mkdir "$DIR/unzipped"
  unzip -q -o "$RESULTS/results.zip" -d "$DIR/unzipped/results" >&2 || {
    missing "results.zip is kept, and could not be unpacked"
    return 0
  }
  to=$(cd -- "$RESULTS" && pwd -P)
  # shellcheck disable=SC2016  # variables of the shell that find starts
  (cd "$DIR/unzipped" && find results -type f -exec sh -c '
    to=$1 sum=$2 && shift 2
    for file; do
      if [ -e "$to/$file" ] || [ -L "$to/$file" ]; then
        echo "\`$file\` is there, and stays as it is: that of the test is in results.zip" >&2
      else
        $sum "$file" && mkdir -p "$to/${file%/*}" && mv "$file" "$to/$file" || echo "\`$file\` could not be unpacked" >&2
      fi
    done' sh "$to" "$(command -v sha256sum || echo "shasum -a 256")" {} +) >>"$DIR/sums"
}

# The list, with what is new.
list() {
  (cd -- "$RESULTS" && for name in $FILES; do [ ! -f "$name" ] || sums "$name"; done) >>"$DIR/sums"
  touch "$RESULTS/$LIST" 2>/dev/null
  awk 'NR == FNR { new[substr($0, index($0, "  "))]; next }
    { name = substr($0, index($0, "  ")) } !(name in new) && name !~ /^  results\//' \
    "$DIR/sums" "$RESULTS/$LIST" >"$DIR/list" 2>/dev/null
  cat "$DIR/list" "$DIR/sums" >"$DIR/all" && put "$DIR/all" "$LIST"
}

keep() {
  [ -n "$RESULTS" ] || return 0
  : >"$DIR/sums"
  mkdir -p -- "$RESULTS" 2>/dev/null || true
  clear_results
  cp "$DIR/now.json" "$DIR/kept.json" && put "$DIR/kept.json" task.json
  bring /report report.json -H 'Accept: application/json' || true
  bring /report report.html -H 'Accept: text/html' || true
  bring /logs logs.txt || true
  if bring /results results.zip && command -v unzip >/dev/null; then unpack; fi
  list
}

# For jq: why a task ended as it did. Often a reason of the verdict repeats the failure.
# shellcheck disable=SC2016  # variables of jq
REASONS='(.judgement.reasons // []) as $reasons | (.failure.message // .error // "") as $message
  | [$message | select(. != "" and all($reasons[]; contains($message) | not))] + $reasons'

# One case for the run, and one for each criterion.
junit() {
  [ -n "$JUNIT" ] || return 0
  CODE=$1 MEANING=$(meaning "$1") jq -r '
    def clean: tostring | explode | map(if (. < 32 and . != 9 and . != 10 and . != 13) or . == 65534 or . == 65535
      then 63 else . end) | implode | @html;
    def bad($kind; $text): "<\($kind) message=\"\($text | clean)\"/>";
    def case($name; $inner): "  <testcase classname=\"\(.id | clean)\" name=\"\($name | clean)\">\($inner)</testcase>";
    (.judgement.criteria // []) as $criteria
    | (env.CODE | tonumber) as $code
    | ('"$REASONS"' | join("; ")) as $why
    | [$criteria[] | select(.holds | not)] as $broken
    | "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
      "<testsuite name=\"atq\" tests=\"\(($criteria | length) + 1)\" failures=\"\($broken | length)\" errors=\"\(if $code > 1 then 1 else 0 end)\">",
      case("the test runs"; if $code > 1 then bad("error"; if $why == "" then env.MEANING else "\(env.MEANING): \($why)" end) else "" end),
      (. as $task | $criteria[] | . as $c | $task
        | case($c.criterion; if $c.holds then "" else bad("failure"; "\($c.seen), wanted \($c.wanted)") end)),
      "</testsuite>"' "$DIR/now.json" >"$DIR/junit.xml"
  { mkdir -p -- "$(dirname -- "$JUNIT")" && (cat "$DIR/junit.xml" >"$JUNIT"); } 2>"$DIR/io" ||
    missing "\`$JUNIT\` cannot be written: $(tail -n 1 "$DIR/io")"
}

# ---------------------------------------------------------------- the verdict

# decide TIMED-OUT: the exit code of a task, by the rules of `atq` (cli/src/run/ending.rs).
decide() {
  jq -r --arg late "$1" '
    if .status == "errored" then
      {master_exit: 3, worker_lost: 7, max_duration: 5, timeout: 5, lease_expired: 6, workers_timed_out: 5, master_timed_out: 5}[.failure.code // ""] // 4
    elif .status == "finished" then
      {pass: 0, fail: 1, invalid: 7}[.verdict // ""] //
        (if ((.criteria // []) | length) > 0 or .minSamples != null then 7 else 0 end)
    elif $late != "" then 5
    else 6 end' "$DIR/now.json"
}

meaning() {
  case $1 in
    0) echo "passed" ;;
    1) echo "a criterion of the test does not hold" ;;
    3) echo "the test tool failed" ;;
    4) echo "the test could not be run" ;;
    5) echo "the test took longer than it may" ;;
    6) echo "the test was stopped" ;;
    *) echo "the test says nothing" ;;
  esac
}

verdict() {
  jq -r '(.judgement.criteria // [])[] | "\(if .holds then "holds " else "BROKEN" end)  \(.criterion)  (\(.seen))"' "$DIR/now.json"
  jq -r "($REASONS)[], (.failure.hint // empty)" "$DIR/now.json"
  printf '%s: %s\n' "$NAME" "$(meaning "$1")"
}

# ---------------------------------------------------------------- the command line

# An option that changes the definition is kept until the definition is read.
defer() {
  COUNT=$((COUNT + 1))
  printf '%s' "$2" >"$DIR/change.$(printf %04d "$COUNT").$1"
}

pair() {
  case $2 in
    =* | *.=* | .*) die 2 "\`${2%%=*}\` of $1 is not a name" ;;
    *=*) defer "${1#--}" "$2" ;;
    # The text itself stays unsaid: it may be a password whose name was forgotten.
    *) die 2 "a value of $1 has no \`=\`" "for example $1 name=value" ;;
  esac
}

options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --?*=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        ;;
    esac
    case $1 in
      --url | --bundle | --criterion | --set | --env | -e | --name | --results | --junit | --timeout)
        [ $# -ge 2 ] || die 2 "$1 needs a value"
        ;;
    esac
    case $1 in
      --url) URL=$2 ;;
      --bundle) BUNDLE=$2 ;;
      --criterion) defer criterion "$2" ;;
      --set) pair --set "$2" ;;
      --env | -e) pair --env "$2" ;;
      --name) NAME=$2 ;;
      --results) RESULTS=${2%/} ;;
      --junit) JUNIT=$2 ;;
      --timeout) LIMIT=$(seconds "$2") || die 2 "\`$2\` of --timeout is not a time" "for example 90s, 30m, 1h30m" ;;
      --replace) REPLACE=yes ;;
      --follow | -f) ;;
      -?*) die 2 "unknown option \`$1\`" "see --help" ;;
      *)
        [ -z "$TASK" ] || die 2 "\`$1\` is one argument too many" "see --help"
        TASK=$1 && shift && continue
        ;;
    esac
    case $1 in --replace | --follow | -f) shift ;; *) shift 2 ;; esac
  done
  case $RESULTS in -*) RESULTS=./$RESULTS ;; esac
}

run() {
  [ -n "$KEY" ] || KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  read_task
  apply_changes
  # Now, and not when the test is over.
  probe_results
  probe --junit "$JUNIT"
  upload
  replace
  start
  late=
  if ! follow "$LIMIT"; then
    late=yes
    if [ -n "$ATTACHED" ]; then
      note "not over after $LIMIT s; it goes on, since another client started it"
    else
      note "not over after $LIMIT s: stopping it"
      stop
      follow 120 || note "it is still not over"
    fi
  fi
  code=$(decide "$late")
  keep
  junit "$code"
  verdict "$code"
  [ -z "$MISSING" ] || [ "$code" != 0 ] || code=4
  exit "$code"
}

main() {
  COMMAND=${1:-}
  case $COMMAND in
    -h | --help | '') usage && exit 0 ;;
    run | stop) shift ;;
    *) die 2 "unknown command \`$COMMAND\`" "run or stop; see --help" ;;
  esac
  for program in curl jq; do
    command -v "$program" >/dev/null || die 2 "\`$program\` is missing" "for example: apt-get install curl jq"
  done
  URL=${ATQ_URL:-http://127.0.0.1:8080}
  TASK='' BUNDLE='' NAME='' RESULTS='' JUNIT='' REPLACE='' STARTED='' ATTACHED='' SAID='' MISSING='' LIMIT=86400 COUNT=0
  KEY=${ATQ_IDEMPOTENCY_KEY:-}
  DIR=$(umask 077 && mktemp -d)
  trap 'rm -rf "$DIR"' EXIT
  trap on_signal TERM INT HUP
  options "$@"
  set_url "$URL"
  [ "$COMMAND" = run ] && run
  NAME=$TASK
  valid_name "$NAME" || die 2 "\`$NAME\` is not the name of a task"
  stop
  check "stop of \`$NAME\`"
}

main "$@"
