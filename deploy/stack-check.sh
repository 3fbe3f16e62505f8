#!/usr/bin/env bash
# Deploys deploy/stack.yml on this Swarm with a unique name and port, runs a small task through the Director in its
# container, restarts the Director, removes everything, and checks for leftovers. With --tls also deploy/stack-tls.yml, with
# a private authority. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/stack-check.sh [--tls]

--tls   also deploys stack-tls.yml: every request uses TLS with a certificate of a private authority, and a token

Needs a Swarm with this node as a manager, and the images atq-director:dev, atq-discovery:dev, atq-carrier:dev and
atq-testload:dev (`make stack` sets these up and runs this script).
Exit codes: 0 passed and nothing left, 1 failed, 130 interrupted (the stack is removed).

environment:
  ATQ_IMAGE   the Director's image (atq-director:dev)
HELP
}

STACK=
DIR=
URL=
TASK=stack-check
TLS=
# Files of the stack, and options of curl.
FILES=(-c "$ROOT/deploy/stack.yml")
CURL=(-s)

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# ---------------------------------------------------------------- preparation

check_needs() {
  local image
  has curl || die "\`curl\` is missing" "apt-get install curl"
  [ "$(swarm_state)" = "active true" ] || die "this node is not a manager of an active Swarm" "run: make stack"
  for image in "${ATQ_IMAGE:-atq-director:dev}" atq-discovery:dev atq-carrier:dev atq-testload:dev; do
    docker image inspect "$image" >/dev/null 2>&1 || die "the image \`$image\` is missing" "run: make stack"
  done
}

# Finds a free port: one that refuses connections, as the next one does, which is for carriers.
free_port() {
  local port
  for _ in $(seq 50); do
    port=$((RANDOM % 10000 + 20000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
    (: <"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null || { echo "$port" && return; }
  done
  die "found no free port between 20000 and 29999"
}

prepare() {
  local suffix=$$-$RANDOM port
  port=$(free_port)
  STACK=atq-check-$suffix
  # Docker mounts bundles from this directory, so it must be a path of the host.
  DIR=$(mktemp -d /var/tmp/atq-stack-check.XXXXXX)
  mkdir "$DIR/bundles"
  URL=http://127.0.0.1:$port
  export ATQ_PORT=$port ATQ_BUNDLES=$DIR/bundles ATQ_CONFIG_NAME=$STACK-config ATQ_DIRECTOR_ID=$STACK
  # Runs the Director on this node, so that its port, volume and bundles can be checked here.
  ATQ_NODE_CONSTRAINT="node.id == $(docker info --format '{{.Swarm.NodeID}}')"
  export ATQ_NODE_CONSTRAINT
}

# make_certificate: a private authority, and a certificate of it for 127.0.0.1, valid for a day.
make_certificate() {
  (
    cd "$DIR"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$STACK authority" \
      -keyout ca.key -out ca.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$STACK" -keyout tls.key -out tls.csr
    openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -out tls.crt \
      -extfile <(echo "subjectAltName=IP:127.0.0.1")
  ) >"$DIR/openssl.log" 2>&1 || { cat "$DIR/openssl.log" >&2 && die "cannot create a certificate"; }
}

prepare_tls() {
  has openssl || die "\`openssl\` is missing" "apt-get install openssl"
  make_certificate
  export ATQ_TLS_CERTIFICATE=$DIR/tls.crt ATQ_TLS_KEY=$DIR/tls.key ATQ_SECRETS_NAME=$STACK-tls ATQ_BIND=127.0.0.1
  FILES+=(-c "$ROOT/deploy/stack-tls.yml")
  URL=${URL/http:/https:}
  CURL+=(--cacert "$DIR/ca.crt")
}

director_container() {
  docker container ls -q --filter "label=com.docker.swarm.service.name=${STACK}_director" | head -n 1
}

# use_token: creates a token in the container, and refuses to go on without one or over a connection without TLS.
use_token() {
  local token status
  call 401 /api/task
  token=$(docker exec "$(director_container)" atq-director token create --name check --role admin 2>/dev/null) ||
    die "no token was created in the container"
  status=$(curl -s -m 5 -o /dev/null -w '%{http_code}' "${URL/https:/http:}/readyz" || true)
  [ "$status" = 400 ] || die "without TLS the status is $status; expected 400"
  curl -s -m 5 -o /dev/null "$URL/readyz" && die "curl has trusted the certificate without the authority"
  # In a file, because arguments are visible to all users.
  (umask 077 && printf 'header = "Authorization: Bearer %s"\n' "$token" >"$DIR/curlrc")
  CURL+=(-K "$DIR/curlrc")
  step "a token was created in the container; requests without it, and without TLS, are refused"
}

# ---------------------------------------------------------------- HTTP

# call STATUS CURL-ARGS... PATH: fails unless the response has that status; writes its body to $DIR/response.
call() {
  local expected=$1 path=${*: -1} status
  shift
  set -- "${@:1:$#-1}"
  status=$(curl "${CURL[@]}" -m 100 -o "$DIR/response" -w '%{http_code}' "$@" "$URL$path" || true)
  [ "$status" = "$expected" ] && return
  printf 'error: %s returned %s; expected %s\n' "$path" "$status" "$expected" >&2
  cat "$DIR/response" >&2 2>/dev/null && echo >&2
  return 1
}

# member NAME: the first string member with that name in the last response.
member() { sed -n "s/^[^\"]*\"$1\":\"\([^\"]*\)\".*/\1/p; s/.*[,{]\"$1\":\"\([^\"]*\)\".*/\1/p" "$DIR/response" | head -n 1; }

ready() { [ "$(curl "${CURL[@]}" -m 5 -o /dev/null -w '%{http_code}' "$URL/readyz" || true)" = 200 ]; }

task_done() {
  call 200 "/api/task/$TASK" && [ "$(member step)" = done ]
}

contains() { grep -q -- "$1" "$DIR/response" || { cat "$DIR/response" >&2 && die "the response lacks \`$1\`"; }; }

# ---------------------------------------------------------------- leftovers

# left LABEL: lists all objects in Docker with that label, one per line.
left() {
  docker service ls --filter "label=$1" --format 'service {{.Name}}'
  docker container ls -a --filter "label=$1" --format 'container {{.Names}}'
  docker network ls --filter "label=$1" --format 'network {{.Name}}'
  docker volume ls --filter "label=$1" --format 'volume {{.Name}}'
  docker config ls --filter "label=$1" --format 'config {{.Name}}'
  docker secret ls --filter "label=$1" --format 'secret {{.Name}}'
}

nothing_left() { [ -z "$(left "$1")" ]; }

stack_label() { echo "com.docker.stack.namespace=$STACK"; }

containers_gone() { [ -z "$(docker container ls -aq --filter "label=$(stack_label)")" ]; }

director_log() { docker service logs --raw "${STACK}_director" 2>&1 | tail -n 30; }

# ---------------------------------------------------------------- the check

deploy() {
  docker stack deploy "${FILES[@]}" "$STACK" >"$DIR/deploy.log" 2>&1 ||
    { cat "$DIR/deploy.log" >&2 && die "\`docker stack deploy\` failed"; }
  step "stack \`$STACK\` deployed; waiting for the Director at $URL"
  wait_until 60 "waiting for the Director" ready || { director_log >&2 && die "the Director is not ready after 60 s"; }
  step "ready: $(curl "${CURL[@]}" "$URL/readyz")"
}

run_task() {
  call 200 -F "file=@$ROOT/deploy/stack-check.zip" /api/databind/upload
  BUNDLE=$(member id)
  step "bundle uploaded: $BUNDLE"
  call 200 -X PUT -d '{"name": "'"$TASK"'", "delay": 1,
    "waitCommand": {"command": "cat /atq/data/hello.txt", "expectedResult": "carried by a bundle", "timeout": 10},
    "worker": {"alias": "workers", "image": "atq-testload:dev", "args": ["worker"], "replicas": 2, "fileid": "'"$BUNDLE"'"},
    "master": {"alias": "master", "image": "atq-testload:dev", "args": ["master"]}}' /api/task/
  step "task \`$TASK\` accepted: $(cat "$DIR/response")"
  wait_until 180 "waiting for the end of the task" task_done ||
    { cat "$DIR/response" >&2 && director_log >&2 && die "the task is not done after 180 s"; }
  step "task done: status $(member status)"
  [ "$(member status)" = finished ] || { cat "$DIR/response" >&2 && die "the task ended \`$(member status)\`; expected \`finished\`"; }
  call 200 "/api/task/$TASK/logs"
  contains ' wait\.1 carried by a bundle$'
  contains ' worker\.2 worker ready on '
  contains ' master\.1 worker .* answered 2/'
  contains ' master\.1 master done$'
  step "logs of workers, wait command and master are kept: $(wc -l <"$DIR/response") lines"
  nothing_left "com.atq.task=$TASK" || die "objects of the task are left in Docker: $(left "com.atq.task=$TASK" | tr '\n' ' ')"
  step "no object of the task is left in Docker"
}

restart() {
  docker service update --force --quiet "${STACK}_director" >/dev/null
  wait_until 60 "waiting for the Director" ready || { director_log >&2 && die "the Director is not ready 60 s after its restart"; }
  call 200 "/api/task/$TASK"
  [ "$(member status)" = finished ] || die "after a restart the task is \`$(member status)\`; expected \`finished\`"
  step "the container was replaced; the task still exists"
}

delete_task() {
  call 204 -X DELETE "/api/task/$TASK"
  call 404 "/api/task/$TASK"
  step "task deleted"
  # The bundle has its own volume on the nodes.
  call 204 -X DELETE "/api/databind/$BUNDLE"
  step "bundle deleted"
}

# remove: removes the stack and its volume, which `docker stack rm` keeps. Fails if an object remains.
remove() {
  # A running Director cleans up its task itself.
  if ready; then call 204 -X DELETE "/api/task/$TASK" >/dev/null 2>&1 || true; fi
  docker stack rm "$STACK" >/dev/null 2>&1 || true
  wait_until 60 "waiting for the Director's container to stop" containers_gone || return 1
  docker volume ls -q --filter "label=$(stack_label)" | xargs -r docker volume rm >/dev/null || return 1
  # Objects of the Director's tasks, in case the Director could not remove them.
  docker service ls -q --filter "label=com.atq.director=$STACK" | xargs -r docker service rm >/dev/null || return 1
  wait_until 30 "waiting for the removal of the stack" nothing_left "$(stack_label)" || return 1
  wait_until 60 "waiting for the removal of the Director's tasks" nothing_left "com.atq.director=$STACK"
}

# Runs on every exit, also after Ctrl-C.
finish() {
  local code=$?
  trap - EXIT
  trap '' INT TERM
  if [ -n "$STACK" ] && ! remove; then
    echo "error: objects of the stack \`$STACK\` are left:" >&2
    left "$(stack_label)" >&2
    left "com.atq.director=$STACK" >&2
    [ "$code" -ne 0 ] || code=1
  fi
  [ -z "$DIR" ] || rm -rf "$DIR"
  if [ "$code" -eq 0 ]; then step "stack removed; no object with its labels is left"; fi
  exit "$code"
}

main() {
  case "${1:-}" in
    "") ;;
    --tls) TLS=yes ;;
    -h | --help | help) usage && return ;;
    *) usage >&2 && die "unknown argument \`$1\`" ;;
  esac
  check_needs
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  prepare
  [ -z "$TLS" ] || prepare_tls
  deploy
  [ -z "$TLS" ] || use_token
  run_task
  restart
  delete_task
}

main "$@"
