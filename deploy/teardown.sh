#!/usr/bin/env bash
# Removes everything that deploy/setup.sh and the tasks of a Director have created on this machine. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/teardown.sh [--objects | --cache]

Removes the services, containers, networks and volumes with the labels com.atq.*, then the images
with the label com.atq.image. Leaves the Swarm only if setup.sh created it, and stops the Engine only
if setup.sh started it. Installed packages are kept and listed at the end.

  --objects   removes only services, containers, networks and volumes
  --cache     also removes the cached base image, the logs, and the programs in ATQ_STATE: gitlab-ci-local, the Python
              environment, mdbook, cargo-deny
HELP
}

# All labels of the project, because Docker filters labels by complete names only.
LABELS=(com.atq.task com.atq.run com.atq.role com.atq.director com.atq.test com.atq.demo
  atq.test atq.demo)

# labelled KIND-COMMAND...: prints the ids of objects with any of these labels.
labelled() {
  local label
  for label in "${LABELS[@]}"; do
    docker "$@" -q --filter "label=$label"
  done | sort -u
}

# each TEXT IDS COMMAND...: calls COMMAND for each id, so that one failure does not affect the others.
each() {
  local text=$1 ids=$2 id count=0
  shift 2
  for id in $ids; do
    if "$@" "$id" >/dev/null 2>&1; then count=$((count + 1)); fi
  done
  [ "$count" -eq 0 ] || say "removed $text: $count"
}

is_manager() { [ "$(swarm_state)" = "active true" ]; }

# Containers without a service, which must be removed explicitly.
standalone() {
  local label
  for label in "${LABELS[@]}"; do
    docker container ls -a --filter "label=$label" --format '{{.ID}} {{.Label "com.docker.swarm.service.id"}}'
  done | awk 'NF == 1' | sort -u
}

tasks_gone() { [ -z "$(labelled container ls -a)" ]; }

# A network can be removed some seconds after its last container has ended.
networks_gone() {
  local ids
  ids=$(labelled network ls)
  [ -n "$ids" ] || return 0
  each networks "$ids" docker network rm
  [ -z "$(labelled network ls)" ]
}

# Removes networks last: removing a network while containers are stopping leaks addresses.
remove_objects() {
  if is_manager; then
    each services "$(labelled service ls)" docker service rm
  fi
  each containers "$(standalone)" docker container rm -f
  # Swarm removes the containers of services; remaining ones are removed after a timeout.
  wait_until 40 "waiting for containers to stop" tasks_gone ||
    each containers "$(labelled container ls -a)" docker container rm -f
  wait_until 60 "waiting for networks to become free" networks_gone ||
    say "warning: these networks are still in use: $(labelled network ls | tr '\n' ' ')"
  each volumes "$(labelled volume ls)" docker volume rm
  if is_manager; then
    each configs "$(labelled config ls)" docker config rm
  fi
}

remove_images() {
  # Repeated, because an image can only be removed after the images built on it.
  local ids
  for _ in 1 2 3; do
    ids=$(docker images -aq --filter label=com.atq.image | sort -u)
    [ -n "$ids" ] || break
    each images "$ids" docker rmi -f
  done
  if [ -e "$STATE/pulled-base" ]; then
    docker rmi "$PUBLIC_BASE" >/dev/null 2>&1 || true
    rm -f "$STATE/pulled-base"
  fi
}

leave_swarm() {
  [ -e "$STATE/init-swarm" ] || return 0
  docker swarm leave --force >/dev/null 2>&1 || true
  rm -f "$STATE/init-swarm"
  say "swarm: left"
}

stop_engine() {
  local pid
  if [ -e "$STATE/started-docker-unit" ]; then
    systemctl stop docker.socket docker 2>/dev/null || true
    rm -f "$STATE/started-docker-unit"
    say "docker: unit stopped"
  fi
  [ -e "$STATE/started-dockerd" ] || return 0
  pid=$(cat "$STATE/started-dockerd")
  if is_running dockerd "$pid"; then
    kill "$pid"
    engine_gone() { ! is_running dockerd "$pid"; }
    wait_until 60 "docker: waiting for dockerd to exit" engine_gone ||
      die "dockerd (pid $pid) did not exit within 60 s" "see $STATE/dockerd.log"
    say "docker: dockerd (pid $pid) stopped"
  fi
  rm -f "$STATE/started-dockerd"
}

forget() {
  if [ -s "$STATE/installed-packages" ]; then
    say "installed packages, which are kept: $(sort -u "$STATE/installed-packages" | tr '\n' ' ')"
  fi
  [ "$1" = --cache ] || return 0
  rm -rf "$STATE/log" "$STATE/gitlab-ci-local" "$STATE/openapi-clients" "$STATE/cargo-tools" "$STATE/dockerd.log" "$STATE/apt-updated" "$STATE"/base-*.tar
  say "cache: removed"
}

main() {
  case "${1:-}" in
    -h | --help | help)
      usage
      return
      ;;
    "" | --objects | --cache) ;;
    *)
      usage >&2
      die "unknown argument \`$1\`"
      ;;
  esac
  one_at_a_time
  if engine_answers; then
    remove_objects
    [ "${1:-}" != --objects ] || return 0
    remove_images
    leave_swarm
  else
    say "docker: no Engine responds; no objects to remove"
    [ "${1:-}" != --objects ] || return 0
  fi
  stop_engine
  forget "${1:-}"
}

main "$@"
