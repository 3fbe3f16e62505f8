#!/bin/sh
# Runs a load test with an ATQ Director, for machines with curl and jq but without `atq`. See --help.
set -eu

usage() {
  cat <<'HELP'
usage: atq-load-test.sh run TASK [OPTION...]
       atq-load-test.sh stop NAME [--url URL]

Needs sh, curl and jq. TASK is a definition in JSON.

  --url URL            URL of the Director, or unix:///PATH of its socket (default: ATQ_URL, else the socket
                       /run/atq/atq.sock if it can be written, else http://127.0.0.1:8080)
  --bundle ZIP         bundle for the services without `fileid` (a directory requires the program zip)
  --criterion TEXT     adds a criterion, for example 'p95 < 500ms'
  --set FIELD=VALUE    sets a field, for example worker.replicas=5; VALUE is parsed as JSON unless the field is text
  --env NAME=VALUE     sets an environment variable of master and workers
  --name NAME          sets the task's name
  --replace            deletes an ended task of this name before the start
  --results DIR        directory for report, logs and result files
  --junit FILE         writes the verdict as JUnit XML
  --timeout TIME       stops the test after this time, for example 90s, 30m, 1h30m (default: 24h); enforced by the
                       Director, also when this program was killed
  --follow             accepted for compatibility with `atq`, without effect

SIGTERM, SIGINT and SIGHUP stop the task, unless another client started it with the same definition. Exit codes, as for `atq`:
  0  passed                                       5  the test exceeded a time limit
  1  a criterion does not hold                    6  the test was stopped
  2  the command line, or a file, cannot be used  7  the test is inconclusive
  3  the test tool failed                         8  the Director rejected the request
  4  the test could not be run                    9  the Director does not respond
                                                 10  access denied: no valid token, or its role is not sufficient

environment:
  ATQ_URL          see --url
  ATQ_TOKEN        token of the Director (`atq_<id>_<secret>`); no option takes it, because arguments are visible in the
                   list of processes
  ATQ_TOKEN_FILE   file with the token, if ATQ_TOKEN is not set
  ATQ_IDEMPOTENCY_KEY  key of this run (default: random); with a key, stop only affects a task started with the same key
  ATQ_CA           trusted certificates (PEM): the Director's own, or its CA's
  ATQ_POLL         seconds between two polls of the task (2)
  ATQ_PATIENCE     seconds without a response until the Director counts as unreachable (60)
HELP
}

# ---------------------------------------------------------------- messages

# die CODE MESSAGE [HINT]
die() {
  printf 'error: %s\n' "$2" >&2
  [ $# -lt 3 ] || printf '  %s\n' "$3" >&2
  exit "$1"
}

note() { printf '%s\n' "$*" >&2; }

# ---------------------------------------------------------------- HTTP

# Runs curl with the settings of the URL. The token, user and password are in a private file, because arguments are visible
# in the list of processes.
request() {
  set -- -K "$DIR/curlrc" "$@"
  curl "$@"
}

# Stores the header with the token in a private file. `sh -x` does not show it.
read_token() {
  : >"$DIR/token"
  [ -n "${ATQ_TOKEN:+set}${ATQ_TOKEN_FILE:+set}" ] || return 0
  from=ATQ_TOKEN
  [ -n "${ATQ_TOKEN:+set}" ] || from=$ATQ_TOKEN_FILE
  if (
    { set +x; } 2>/dev/null
    if [ -n "${ATQ_TOKEN:-}" ]; then token=$ATQ_TOKEN; else token=$(cat -- "$ATQ_TOKEN_FILE") || exit 2; fi
    token=$(printf %s "$token" | tr -d ' \t\r\n')
    printf '%s\n' "$token" | LC_ALL=C grep -Eqx 'atq_[0-9a-f]{10}_[A-Za-z0-9_-]{43}' || exit 1
    printf '%s' "$token" >"$DIR/token"
  ) 2>"$DIR/io"; then :; else
    [ ! -s "$DIR/io" ] || die 2 "the token file \`$from\` cannot be read" "$(tail -n 1 "$DIR/io")"
    die 2 "\`$from\` does not contain a token of a Director" \
      "a token has the form \`atq_<id>_<secret>\`; was it copied completely?"
  fi
  unset ATQ_TOKEN
}

# Removes user and password from the URL, so that no message can disclose them, and writes the settings for curl. The token
# is only written for the given URL, not for that of a redirect. With user and password, which are for a proxy, it has a
# header of its own.
set_url() {
  URL=${1%/} user= socket=
  case $URL in
    unix:///*) socket=$(decoded "${URL#unix://}") URL=http://localhost ;;
    unix:*) die 2 "\`$URL\` is not the URL of a Director" "for example unix:///run/atq/atq.sock" ;;
  esac
  case $URL in
    *://*@*)
      user=${URL#*://}
      user=${user%@*}
      # Without a colon, curl would prompt for the password.
      case $user in *:*) ;; *) user=$user: ;; esac
      URL=${URL%%://*}://${URL##*@}
      ;;
  esac
  SHOWN=${socket:+unix://}${socket:-$URL}
  {
    [ -z "$user" ] || printf 'user = "%s"\n' "$(decoded "$user" | sed 's/[\\"]/\\&/g')"
    [ -z "$socket" ] || printf 'unix-socket = "%s"\n' "$(printf %s "$socket" | sed 's/[\\"]/\\&/g')"
    if [ -s "$DIR/token" ] && [ -z "${2:-}" ]; then
      if [ -n "$user" ]; then printf 'header = "X-Atq-Token: '; else printf 'header = "Authorization: Bearer '; fi
      cat "$DIR/token"
      printf '"\n'
    fi
    # A proxy would resolve localhost to itself.
    case ${URL#*://} in
      localhost | localhost[:/]* | 127.* | \[::1\]*) echo 'noproxy = "*"' ;;
    esac
    [ -z "${ATQ_CA:-}" ] || printf 'cacert = "%s"\n' "$(printf %s "$ATQ_CA" | sed 's/[\\"]/\\&/g')"
  } >"$DIR/curlrc"
}

# decoded TEXT: decodes percent-encoding.
decoded() {
  # shellcheck disable=SC2016  # variables of awk
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

# call SECONDS METHOD PATH CURL-ARGS...: sets $STATUS (000: no response) and writes the body to $DIR/body. Redirects are
# followed with the same method and body, and all later calls use the new URL.
call() {
  seconds=$1 method=$2 path=$3 hops=0
  shift 3
  while :; do
    : >"$DIR/body"
    response=$(request -sS -m "$seconds" -X "$method" -o "$DIR/body" -D "$DIR/headers" -w '%{http_code} %{redirect_url}' \
      "$@" "$URL$path" 2>"$DIR/curl") || response=000
    STATUS=${response%% *} TO=${response#* }
    case $STATUS in 301 | 302 | 307 | 308) follow_redirect || return 0 ;; *) return 0 ;; esac
  done
}

# follow_redirect: fails if the redirect to $TO does not lead to a Director, is a loop, or leads from https to http.
follow_redirect() {
  hops=$((hops + 1))
  [ "$hops" -le 5 ] || return 1
  case $TO in *"$path") ;; *) return 1 ;; esac
  case $URL:$TO in https:*:http:*) return 1 ;; esac
  new=${TO%"$path"} from=${URL#*://} to=${TO#*://}
  # Credentials are only sent to the original host.
  if [ "${from%%/*}" = "${to%%/*}" ] && [ "${URL%%:*}" = "${new%%:*}" ]; then
    URL=$new
    [ -n "$socket" ] || SHOWN=$new
  else
    # Other hosts cannot be reached through the socket.
    [ -z "$socket" ] || return 1
    set_url "$new" redirected
  fi
}

# call_with_retry SECONDS METHOD PATH CURL-ARGS...: for idempotent calls. Makes three attempts if the server is busy or
# unavailable (429, 502 to 504, no response).
call_with_retry() {
  for try in 1 2 3; do
    call "$@"
    case $STATUS in 000 | 429 | 502 | 503 | 504) ;; *) return 0 ;; esac
    [ "$try" = 3 ] || pause "$(retry_after)"
  done
}

# The seconds of Retry-After, at most 30; empty without that header.
retry_after() {
  tr -d '\r' <"$DIR/headers" 2>/dev/null |
    awk -F': *' 'tolower($1) == "retry-after" && $2 ~ /^[0-9]+$/ { s = $2 } END { if (s != "") print (s > 30 ? 30 : s) }'
}

# Whether the Director responded that an object does not exist, as opposed to a 404 of a proxy.
absent() {
  [ "$STATUS" = 404 ] &&
    jq -e '.code | IN("task_not_found", "no_results", "no_report", "unknown_path")' "$DIR/body" >/dev/null 2>&1
}

# call_with_key SECONDS METHOD PATH CURL-ARGS...: call_with_retry with the idempotency key, so that tasks of other
# invocations are not affected.
call_with_key() {
  if [ -n "$KEY" ]; then call_with_retry "$@" -H "Idempotency-Key: $KEY"; else call_with_retry "$@"; fi
}

# The Director's reason for a rejection, on one line.
reason() {
  jq -r '.error // .detail // empty' "$DIR/body" 2>/dev/null | tr '\n' ' ' | grep . ||
    { head -c 300 "$DIR/body" | tr '\n' ' ' | grep .; } || echo "no reason given"
}

# check_access DESCRIPTION: exits if the Director has denied access.
check_access() {
  case $STATUS in
    401) die 10 "$1: access denied (401): $(reason)" "set ATQ_TOKEN to a valid token of the Director at \`$SHOWN\`" ;;
    403) ! jq -e '.code == "forbidden"' "$DIR/body" >/dev/null 2>&1 || die 10 "$1: access denied (403): $(reason)" \
      "ask an administrator of the Director for a token with this role" ;;
  esac
}

# check DESCRIPTION: exits unless the last call succeeded.
check() {
  check_access "$1"
  case $STATUS in
    2??) ;;
    421) die 8 "$1: the Director rejected it ($STATUS): $(reason)" \
      "add the host of the URL to \`allowedHosts\` in the configuration of the Director, or use an IP address" ;;
    000) die 9 "$1: the Director at \`$SHOWN\` does not respond: $(cat "$DIR/curl")" "is it running there? See --url" ;;
    3??) die 4 "$1: \`$SHOWN\` redirects to \`$TO\`, which is not a Director" "set the Director's URL with --url" ;;
    404) absent || die 8 "$1: the 404 of \`$SHOWN\` is not from a Director" "is a proxy in between? $(reason)"
      die 8 "$1: the Director rejected it (404): $(reason)" ;;
    4??) die 8 "$1: the Director rejected it ($STATUS): $(reason)" ;;
    *) die 4 "$1: the Director returned $STATUS: $(reason)" ;;
  esac
}

# ---------------------------------------------------------------- definition

# change DESCRIPTION FILTER: changes the definition. Values are passed in the environment, which other users cannot read.
change() {
  jq "$2" "$DIR/task.json" >"$DIR/changed" 2>"$DIR/jq" || die 2 "$1: $(head -n 1 "$DIR/jq")"
  mv "$DIR/changed" "$DIR/task.json"
}

read_task() {
  [ -n "$TASK" ] || die 2 "the definition is missing" "usage: atq-load-test.sh run TASK [OPTION...]"
  if [ "$TASK" = - ]; then cat >"$DIR/task.json"; else
    cat -- "$TASK" >"$DIR/task.json" 2>"$DIR/jq" || die 2 "the definition \`$TASK\` cannot be read" "$(cat "$DIR/jq")"
  fi
  jq -es 'length == 1 and (.[0] | type == "object")' "$DIR/task.json" >/dev/null 2>"$DIR/jq" ||
    die 2 "the definition \`$TASK\` is not a JSON object" "$(head -n 1 "$DIR/jq") (YAML needs \`atq\`)"
}

# Applies the options that change the definition, which were stored in order, one per file.
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
          # In text fields, a value that looks like a number stays text.
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

# seconds TIME: converts a time such as `1h30m` to seconds.
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
  # Through a link, because curl interprets `;`, `,` and quotes in a file name.
  case $zip in /*) ;; *) zip=$PWD/$zip ;; esac
  ln -s -- "$zip" "$DIR/upload.zip"
  call_with_retry 3600 POST /databind/upload -F "file=@\"$DIR/upload.zip\";filename=bundle.zip;type=application/zip"
  check "upload of \`$BUNDLE\`"
  ID=$(jq -r '.id' "$DIR/body")
  export ID
  note "bundle $ID"
  change "--bundle" '(.master, .worker) |= (if (.fileid // "") == "" then .fileid = env.ID else . end)'
}

replace() {
  [ -n "$REPLACE" ] || return 0
  call_with_retry 60 GET "/task/$NAME"
  case $(jq -r '.status? // ""' "$DIR/body" 2>/dev/null) in
    finished | stopped | errored)
      call_with_key 120 DELETE "/task/$NAME"
      absent || check "removal of the ended task \`$NAME\`"
      ;;
  esac
}

# If the response was lost, the task may run. Sending the same definition again is safe and shows it.
start() {
  STARTED=maybe
  call_with_key 60 PUT "/task?timeout=${LIMIT}s" -H 'Content-Type: application/json' --data-binary "@$DIR/task.json"
  case $STATUS in 4??) STARTED= ;; esac
  check "start of \`$NAME\`"
  STARTED=yes BEGUN=$(now)
  printf '{"id": "%s"}' "$NAME" >"$DIR/now.json"
  if jq -e '.startedBy == "other"' "$DIR/body" >/dev/null 2>&1; then
    ATTACHED=yes
    note "task $NAME is already running, started by another client: it is only watched, and not stopped"
  else
    note "task $NAME started"
  fi
}

now() { date +%s; }

# pause [SECONDS]: sleeps in the background, because a trap is delayed by a foreground program, but not by `wait`.
pause() {
  sleep "${1:-${ATQ_POLL:-2}}" &
  wait $! || true
}

# poll: writes the task to $DIR/now.json. A task that failed before its master ran has the status 500.
poll() {
  call 30 GET "/task/$NAME"
  case $STATUS in
    200 | 500) jq -e '.id and .status' "$DIR/body" >/dev/null 2>&1 && cp "$DIR/body" "$DIR/now.json" ;;
    401 | 403) check_access "the task \`$NAME\` may still run" && return 1 ;;
    404) ! absent || die 6 "the task \`$NAME\` was removed while it ran" && return 1 ;;
    *) return 1 ;;
  esac
}

has_ended() {
  jq -e '(.status | IN("finished", "stopped", "errored")) and ((.step // "done") == "done")' "$DIR/now.json" >/dev/null
}

print_step() {
  step=$(jq -r '[.step // .status] + (if .queuePosition then ["place \(.queuePosition)"] else [] end) | join(", ")' \
    "$DIR/now.json")
  [ "$step" = "$LAST_STEP" ] || note "$(($(now) - BEGUN)) s  $step"
  LAST_STEP=$step
}

# await_end SECONDS: waits until the task has ended; returns 1 on a timeout.
await_end() {
  end=$(($(now) + $1)) last_response=$(now)
  while :; do
    if poll; then
      last_response=$(now)
      print_step
      ! has_ended || return 0
    elif [ $(($(now) - last_response)) -ge "${ATQ_PATIENCE:-60}" ]; then
      die 9 "the Director at \`$SHOWN\` does not respond any more (${STATUS}): $(cat "$DIR/curl")" "the task \`$NAME\` may still run"
    fi
    [ "$(now)" -lt "$end" ] || return 1
    pause
  done
}

stop() { call_with_key 30 POST "/task/$NAME/stop"; }

on_signal() {
  trap '' TERM INT HUP
  [ -n "$STARTED" ] || exit 6
  if [ -n "$ATTACHED" ]; then note "the task $NAME continues" && exit 6; fi
  note "stopping the task $NAME"
  stop
  case $STATUS in 2??) ;; *) note "error: the task could not be stopped ($STATUS)" ;; esac
  exit 6
}

# ---------------------------------------------------------------- outputs

# missing MESSAGE: reports an output that could not be written. Other outputs and the verdict are not affected.
missing() {
  MISSING=yes
  printf 'error: %s\n' "$1" >&2
}

# probe OPTION FILE: exits, before the test, unless the file can be written.
probe() {
  [ -n "$2" ] || return 0
  is_there=
  [ ! -e "$2" ] || is_there=yes
  mkdir -p -- "$(dirname -- "$2")" 2>"$DIR/io" && (: >>"$2") 2>"$DIR/io" ||
    die 2 "\`$1 $2\` cannot be written" "$(tail -n 1 "$DIR/io")"
  [ -n "$is_there" ] || rm -f -- "$2"
}

# Only files written by `atq` or this program are replaced or removed. .atq-files lists them in the format of sha256sum. A
# file that was changed since counts as foreign.
LIST=.atq-files
FILES='task.json report.json report.html logs.txt results.zip'

sums() { if command -v sha256sum >/dev/null; then sha256sum -- "$@"; else shasum -a 256 -- "$@"; fi; }

# is_own NAME: whether the file in $RESULTS is listed and unchanged.
is_own() {
  [ -f "$RESULTS/$1" ] && [ ! -L "$RESULTS/$1" ] || return 1
  sum=$(cd -- "$RESULTS" && sums "$1") && grep -qxF -e "$sum" "$RESULTS/$LIST" 2>/dev/null
}

probe_results() {
  [ -n "$RESULTS" ] || return 0
  mkdir -p -- "$RESULTS" 2>"$DIR/io" || die 2 "\`--results $RESULTS\` cannot be created" "$(tail -n 1 "$DIR/io")"
  probe --results "$RESULTS/.atq-$$.part"
  if [ -e "$RESULTS/results" ] || [ -L "$RESULTS/results" ]; then
    [ -d "$RESULTS/results" ] && [ ! -L "$RESULTS/results" ] ||
      die 2 "\`$RESULTS/results\` is not a directory" "move it, or use another directory"
    probe --results "$RESULTS/results/.atq-$$.part"
  fi
  for name in $LIST $FILES; do
    [ -e "$RESULTS/$name" ] || [ -L "$RESULTS/$name" ] || continue
    case $name in "$LIST") [ -f "$RESULTS/$name" ] && [ ! -L "$RESULTS/$name" ] ;; *) is_own "$name" ;; esac ||
      die 2 "\`$RESULTS/$name\` was not written by this program, or was changed since" \
        "it is not overwritten: move it, or use another directory"
  done
}

# put FILE NAME
put() { mv -- "$1" "$RESULTS/$2" 2>"$DIR/io" || missing "\`$RESULTS/$2\` cannot be written: $(tail -n 1 "$DIR/io")"; }

# download PATH FILE CURL-ARGS...: returns 1 with a message if the Director has no such file.
download() {
  path=$1 file=$2
  shift 2
  call_with_retry 600 GET "/task/$NAME$path" "$@"
  if [ "$STATUS" = 200 ]; then
    put "$DIR/body" "$file"
  elif absent; then
    note "no $file ($STATUS)"
    return 1
  else
    missing "$file cannot be downloaded ($STATUS): $(reason)"
    return 1
  fi
}

# Removes the result files of an earlier run, which could belong to replicas that this run does not have.
clear_results() {
  [ -f "$RESULTS/$LIST" ] || return 0
  home=$(cd -- "$RESULTS" && pwd -P)
  while IFS= read -r line; do
    name=${line#*  }
    case $name in results/*) ;; *) continue ;; esac
    # Skips paths with links or `..`.
    [ "$(cd -- "$RESULTS/${name%/*}" 2>/dev/null && pwd -P)" = "$home/${name%/*}" ] || continue
    if is_own "$name"; then rm -f -- "$RESULTS/$name" || missing "\`$RESULTS/$name\` cannot be removed"; fi
  done <"$RESULTS/$LIST"
}

# Moves the result files to $RESULTS/results and appends their checksums to $DIR/sums.
unpack() {
  mkdir "$DIR/unzipped"
  unzip -q -o "$RESULTS/results.zip" -d "$DIR/unzipped/results" >&2 || {
    missing "results.zip was saved but could not be unpacked"
    return 0
  }
  to=$(cd -- "$RESULTS" && pwd -P)
  # shellcheck disable=SC2016  # variables of the shell that find starts
  (cd "$DIR/unzipped" && find results -type f -exec sh -c '
    to=$1 sum=$2 && shift 2
    for file; do
      if [ -e "$to/$file" ] || [ -L "$to/$file" ]; then
        echo "\`$file\` exists and is not replaced; the file of the test is in results.zip" >&2
      else
        $sum "$file" && mkdir -p "$to/${file%/*}" && mv "$file" "$to/$file" || echo "\`$file\` could not be unpacked" >&2
      fi
    done' sh "$to" "$(command -v sha256sum || echo "shasum -a 256")" {} +) >>"$DIR/sums"
}

# Updates the list of written files.
update_list() {
  (cd -- "$RESULTS" && for name in $FILES; do [ ! -f "$name" ] || sums "$name"; done) >>"$DIR/sums"
  touch "$RESULTS/$LIST" 2>/dev/null
  awk 'NR == FNR { new[substr($0, index($0, "  "))]; next }
    { name = substr($0, index($0, "  ")) } !(name in new) && name !~ /^  results\//' \
    "$DIR/sums" "$RESULTS/$LIST" >"$DIR/list" 2>/dev/null
  cat "$DIR/list" "$DIR/sums" >"$DIR/all" && put "$DIR/all" "$LIST"
}

save_outputs() {
  [ -n "$RESULTS" ] || return 0
  : >"$DIR/sums"
  mkdir -p -- "$RESULTS" 2>/dev/null || true
  clear_results
  cp "$DIR/now.json" "$DIR/task.out.json" && put "$DIR/task.out.json" task.json
  download /report report.json -H 'Accept: application/json' || true
  download /report report.html -H 'Accept: text/html' || true
  download /logs logs.txt || true
  if download /results results.zip && command -v unzip >/dev/null; then unpack; fi
  update_list
}

# For jq: the failure and the reasons of the verdict, without a failure that a reason repeats.
# shellcheck disable=SC2016  # variables of jq
REASONS='(.judgement.reasons // []) as $reasons | (.failure.message // .error // "") as $message
  | [$message | select(. != "" and all($reasons[]; contains($message) | not))] + $reasons'

# Writes one test case for the run and one for each criterion.
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
    | [$criteria[] | select(.holds | not)] as $failed
    | "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
      "<testsuite name=\"atq\" tests=\"\(($criteria | length) + 1)\" failures=\"\($failed | length)\" errors=\"\(if $code > 1 then 1 else 0 end)\">",
      case("the test runs"; if $code > 1 then bad("error"; if $why == "" then env.MEANING else "\(env.MEANING): \($why)" end) else "" end),
      (. as $task | $criteria[] | . as $c | $task
        | case($c.criterion; if $c.holds then "" else bad("failure"; "\($c.seen), wanted \($c.wanted)") end)),
      "</testsuite>"' "$DIR/now.json" >"$DIR/junit.xml"
  { mkdir -p -- "$(dirname -- "$JUNIT")" && (cat "$DIR/junit.xml" >"$JUNIT"); } 2>"$DIR/io" ||
    missing "\`$JUNIT\` cannot be written: $(tail -n 1 "$DIR/io")"
}

# ---------------------------------------------------------------- the verdict

# exit_code TIMED-OUT: the exit code for the task, by the same rules as `atq`.
exit_code() {
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
    5) echo "the test exceeded a time limit" ;;
    6) echo "the test was stopped" ;;
    *) echo "the test is inconclusive" ;;
  esac
}

print_verdict() {
  jq -r '(.judgement.criteria // [])[] | "\(if .holds then "holds " else "FAILED" end)  \(.criterion)  (\(.seen))"' "$DIR/now.json"
  jq -r "($REASONS)[], (.failure.hint // empty)" "$DIR/now.json"
  printf '%s: %s\n' "$NAME" "$(meaning "$1")"
}

# ---------------------------------------------------------------- the command line

# Stores an option that changes the definition until the definition is read.
defer() {
  COUNT=$((COUNT + 1))
  printf '%s' "$2" >"$DIR/change.$(printf %04d "$COUNT").$1"
}

pair() {
  case $2 in
    =* | *.=* | .*) die 2 "\`${2%%=*}\` of $1 is not a name" ;;
    *=*) defer "${1#--}" "$2" ;;
    # The text is not shown: it may be a password without its name.
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
        [ -z "$TASK" ] || die 2 "\`$1\` is an unexpected argument" "see --help"
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
  # Before the test, and not only after it.
  probe_results
  probe --junit "$JUNIT"
  upload
  replace
  start
  late=
  if ! await_end "$LIMIT"; then
    late=yes
    if [ -n "$ATTACHED" ]; then
      note "timeout of $LIMIT s reached; the task continues, because another client started it"
    else
      note "timeout of $LIMIT s reached; stopping the task"
      stop
      await_end 120 || note "the task has not ended yet"
    fi
  fi
  code=$(exit_code "$late")
  save_outputs
  junit "$code"
  print_verdict "$code"
  [ -z "$MISSING" ] || [ "$code" != 0 ] || code=4
  exit "$code"
}

default_url() {
  socket=/run/atq/atq.sock
  if [ -S "$socket" ] && [ -w "$socket" ]; then echo "unix://$socket"; else echo http://127.0.0.1:8080; fi
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
  URL=${ATQ_URL:-}
  TASK='' BUNDLE='' NAME='' RESULTS='' JUNIT='' REPLACE='' STARTED='' ATTACHED='' LAST_STEP='' MISSING='' LIMIT=86400 COUNT=0
  KEY=${ATQ_IDEMPOTENCY_KEY:-}
  DIR=$(umask 077 && mktemp -d)
  trap 'rm -rf "$DIR"' EXIT
  trap on_signal TERM INT HUP
  options "$@"
  read_token
  set_url "${URL:-$(default_url)}"
  [ "$COMMAND" = run ] && run
  NAME=$TASK
  valid_name "$NAME" || die 2 "\`$NAME\` is not the name of a task"
  stop
  check "stop of \`$NAME\`"
}

main "$@"
