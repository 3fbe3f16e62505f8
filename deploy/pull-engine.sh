#!/usr/bin/env bash
# An Engine that pulls images, for tests of private registries. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/pull-engine.sh up DIR | down DIR

An additional Engine in its own namespaces (network, processes, mounts, host name), the only node of
its own Swarm. Unlike the Engine that deploy/setup.sh starts, it pulls images for services: an Engine
with DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 never does. The host's Engine only provides the images
atq-testload:dev, atq-discovery:dev and atq-carrier:dev.

  up DIR      starts it with its data in DIR and replaces leftovers of an earlier run; its socket is
              DIR/docker.sock, its network namespace atq-puller, its address 10.78.78.2
  down DIR    removes everything
HELP
}

NETNS=atq-puller
HOST_ADDRESS=10.78.78.1
ADDRESS=10.78.78.2

on() { env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY DOCKER_HOST="unix://$DIR/docker.sock" timeout 60 docker "$@"; }

down() {
  wait_until 20 "puller: waiting for its processes to exit" end_processes || die "processes of the puller do not exit"
  if netns_exists; then ip netns del "$NETNS"; fi
  ip link del "$NETNS" 2>/dev/null || true
  wait_until 10 "puller: waiting for its control groups" cgroups_removed || say "warning: control groups of the puller are left"
  rm -rf "$DIR/data" "$DIR/docker.sock" "$DIR/resolv.conf"
}

# The first process. It has its own /run, so that files of other Engines are not visible.
inside() {
  local resolver
  hostname "$NETNS"
  mount -t tmpfs tmpfs /run
  [ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
  resolver=$(readlink -m /etc/resolv.conf)
  mkdir -p "$(dirname "$resolver")"
  [ -e "$resolver" ] || : >"$resolver"
  mount --bind "$DIR/resolv.conf" "$resolver"
  exec dockerd --host "unix://$DIR/docker.sock" --data-root "$DIR/data" --bip 172.31.9.1/24 \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$NETNS"
}

answers() { [ -n "$(on info --format '{{.ServerVersion}}' 2>/dev/null)" ]; }

up() {
  is_root || die "an additional Engine needs network namespaces and this user is not root" "run as root"
  local tool taken
  for tool in ip nsenter unshare dockerd; do has "$tool" || die "\`$tool\` is missing"; done
  down
  taken=$(
    ip -4 route show root "$ADDRESS/30"
    ip -4 route show match "$ADDRESS/30" | grep -v '^default' || true
  )
  [ -z "$taken" ] || die "the network of $ADDRESS is in use: $(head -n 1 <<<"$taken")"
  mkdir -p "$DIR/data"
  # The test's registry is the only one: lookups of other names must fail immediately.
  echo 'nameserver 127.0.0.1' >"$DIR/resolv.conf"
  ip netns add "$NETNS"
  ip link add "$NETNS" type veth peer name eth0 netns "$NETNS"
  ip addr add "$HOST_ADDRESS/30" dev "$NETNS"
  ip link set "$NETNS" up
  ip -n "$NETNS" link set lo up
  ip -n "$NETNS" addr add "$ADDRESS/30" dev eth0
  ip -n "$NETNS" link set eth0 up
  env -u DOCKER_SERVICE_PREFER_OFFLINE_IMAGE setsid nohup nsenter --net="/run/netns/$NETNS" \
    unshare --mount --uts --pid --fork --mount-proc --kill-child \
    "$ROOT/deploy/pull-engine.sh" inside "$DIR" </dev/null >"$DIR/dockerd.log" 2>&1 &
  if ! wait_until 60 "puller: waiting for the Engine" answers; then
    tail -n 15 "$DIR/dockerd.log" >&2
    die "the Engine of the puller does not respond" "the last lines of its log are above"
  fi
  on swarm init --advertise-addr "$ADDRESS" >/dev/null
  docker save atq-testload:dev atq-discovery:dev atq-carrier:dev | on load --quiet >/dev/null
}

main() {
  local command=${1:-}
  DIR=${2:-}
  case "$command" in
    -h | --help | help) usage ;;
    up | down | inside)
      [ -n "$DIR" ] || die "\`$command\` needs a directory"
      "$command"
      ;;
    *)
      usage >&2
      die "unknown command \`$command\`"
      ;;
  esac
}

main "$@"
