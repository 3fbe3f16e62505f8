#!/usr/bin/env bash
# A Swarm of three nodes on one machine, for tests. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/nodes.sh up [--for PID] | down | COMMAND NODE

Three Engines, each in its own namespaces (network, processes, mounts, host name), connected by a
bridge: node 1 is the manager, nodes 2 and 3 are workers. The host's Engine only provides the images.

  up          creates the nodes, replaces leftovers of an earlier run, and waits until all are ready;
              with --for they are removed as soon as process PID has exited for any reason
  down        removes everything: processes, namespaces, bridge, firewall rule, data
  kill N      simulates a power loss of node N: disconnects it and kills all of its processes
  stop N      stops the Engine of node N gracefully (SIGTERM)
  start N     starts the Engine of a killed or stopped node again on its data
  unplug N    disconnects node N from the network; its containers continue to run
  plug N      reconnects node N
  host N      prints the address of node N's Engine, for DOCKER_HOST
  address N   prints the address of node N on the bridge
  vxlans N    prints the number of vxlan interfaces on node N, without that of `ingress`
  exec N CMD  runs CMD in the network namespace of node N

A container on node N that mounts /var/run/docker.sock uses the Engine of node N.

environment:
  ATQ_STATE       directory of the nodes' data, below `nodes` (as for setup.sh)
  ATQ_NODES_NET   the first three numbers of their /24 network (10.77.0)
  ATQ_NODES_IMAGES  images that are copied from the host to each node (atq-testload:dev atq-discovery:dev
                    atq-carrier:dev)
HELP
}

NODES=(1 2 3)
DIR=$STATE/nodes
BRIDGE=atq-nodes
NET=${ATQ_NODES_NET:-10.77.0}
# Node N has the address <NET>.<N>, the host has this one.
HOST_ADDRESS=$NET.254
read -ra IMAGES <<<"${ATQ_NODES_IMAGES:-atq-testload:dev atq-discovery:dev atq-carrier:dev}"

# ---------------------------------------------------------------- queries

netns() { echo "atq-node$1"; }
link() { echo "atq-node$1"; }
socket() { echo "unix://$DIR/$1/docker.sock"; }

# on NODE ARGS...: runs docker against the node, regardless of Docker variables in the environment.
on() {
  local node=$1
  shift
  env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY DOCKER_HOST="$(socket "$node")" timeout 60 docker "$@"
}

netns_exists() { [ -e "/run/netns/$(netns "$1")" ]; }

# Finds processes by their namespace and never by a stored pid, so that no other process can be affected, such as the
# host's Engine.
processes() { ! netns_exists "$1" || ip netns pids "$(netns "$1")"; }

# Process ids of the node's Engine on the host. It is the first process in its namespace, so all processes of the node
# end with it.
engine_of() {
  local pid
  for pid in $(processes "$1"); do
    # A process that the Engine starts has the name of the Engine until it runs its own program.
    if is_running dockerd "$pid" && ! is_running dockerd "$(parent_of "$pid")"; then echo "$pid"; fi
  done
}

engine_is_gone() { [ -z "$(engine_of "$1")" ]; }
nothing_runs() { [ -z "$(processes "$1")" ]; }
node_answers() { [ -n "$(on "$1" info --format '{{.ServerVersion}}' 2>/dev/null)" ]; }
node_is_in_the_swarm() { [ "$(on "$1" info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null)" = active ]; }
all_ready() { [ "$(on 1 node ls --format '{{.Status}}' 2>/dev/null | grep -c Ready)" -eq "${#NODES[@]}" ]; }

# birth PID: start time in ticks, or nothing without such a process. It distinguishes a reused pid.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# ---------------------------------------------------------------- down

cgroups() { find /sys/fs/cgroup -depth -type d -path '*/atq-nodes*' 2>/dev/null; }

cgroups_removed() {
  cgroups | while read -r group; do rmdir "$group" 2>/dev/null || true; done
  [ -z "$(cgroups)" ]
}

end_processes() {
  local node=$1 pid
  for pid in $(engine_of "$node"); do kill -KILL "$pid" 2>/dev/null || true; done
  for pid in $(processes "$node"); do kill -KILL "$pid" 2>/dev/null || true; done
  nothing_runs "$node"
}

# Ends the guard process, unless it is the caller.
dismiss_guard() {
  local pid
  pid=$(cat "$DIR/guard" 2>/dev/null || true)
  if [ -n "$pid" ] && [ "$pid" != "$$" ] &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q 'nodes\.sh guard'; then
    kill "$pid" 2>/dev/null || true
  fi
}

remove_all() {
  local node
  dismiss_guard
  for node in "${NODES[@]}"; do
    wait_until 20 "nodes: waiting for the processes of node $node to exit" end_processes "$node" ||
      die "processes of node $node do not exit: $(processes "$node" | tr '\n' ' ')"
    if netns_exists "$node"; then ip netns del "$(netns "$node")"; fi
    ip link del "$(link "$node")" 2>/dev/null || true
  done
  ip link del "$BRIDGE" 2>/dev/null || true
  while iptables -D FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT 2>/dev/null; do :; done
  # They become removable shortly after the last process has exited.
  wait_until 10 "nodes: waiting for the removal of their control groups" cgroups_removed ||
    say "warning: control groups of the nodes are left: $(cgroups | head -n 3 | tr '\n' ' ')"
  rm -rf "$DIR"
}

# ---------------------------------------------------------------- up

check_machine() {
  is_root || die "three nodes need network namespaces and this user is not root" "run as root"
  local tool
  for tool in ip nsenter unshare iptables docker dockerd; do
    has "$tool" || die "\`$tool\` is missing" "deploy/setup.sh nodes installs the required tools"
  done
  engine_answers || die "no Docker Engine responds on the host; it provides the images" "deploy/setup.sh engine"
  for tool in "${IMAGES[@]}"; do
    docker image inspect "$tool" >/dev/null 2>&1 || die "the host's Engine has no image \`$tool\`" "deploy/setup.sh images"
  done
}

# Refuses to replace the nodes of a run that is still in progress.
check_owner() {
  local pid born
  read -r pid born 2>/dev/null <"$DIR/owner" || return 0
  if [ "$(birth "$pid")" = "$born" ] && [ "$pid" != "${1:-}" ]; then
    die "the three nodes are in use by process $pid ($(cat "/proc/$pid/comm"))" \
      "wait until it has exited, or remove them: deploy/nodes.sh down"
  fi
}

# Any route into the network, or a route other than the default that contains it, means that it is in use.
check_network() {
  local taken
  taken=$(
    ip -4 route show root "$NET.0/24"
    ip -4 route show match "$NET.0/24" | grep -v '^default' || true
  )
  [ -z "$taken" ] || die "the network $NET.0/24 is in use: $(head -n 1 <<<"$taken")" \
    "choose another one with ATQ_NODES_NET, for example ATQ_NODES_NET=10.78.0"
}

make_bridge() {
  ip link add "$BRIDGE" type bridge
  ip addr add "$HOST_ADDRESS/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  # The host's Engine blocks forwarding between other interfaces, including bridges.
  iptables -I FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT
}

make_netns() {
  local node=$1 name
  name=$(netns "$node")
  ip netns add "$name"
  ip link add "$(link "$node")" type veth peer name eth0 netns "$name"
  ip link set "$(link "$node")" master "$BRIDGE" up
  ip -n "$name" link set lo up
  ip -n "$name" addr add "$NET.$node/24" dev eth0
  ip -n "$name" link set eth0 up
}

# Starts the Engine of a node in its own namespaces. `ip netns exec` would hide the control groups.
start_engine() {
  local node=$1 dir=$DIR/$1
  mkdir -p "$dir/data"
  echo 'nameserver 127.0.0.1' >"$dir/resolv.conf"
  # With this variable set, tasks start without a registry lookup for local images.
  DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 setsid nohup nsenter --net="/run/netns/$(netns "$node")" \
    unshare --mount --uts --pid --fork --mount-proc --kill-child \
    "$ROOT/deploy/nodes.sh" inside "$node" </dev/null >>"$dir/dockerd.log" 2>&1 9>&- &
}

# The first process of a node. It has its own /run, so that sockets and state of other Engines or containerds on this
# machine are not visible.
inside() {
  local node=$1 dir=$DIR/$1 resolver
  hostname "$(netns "$node")"
  mount -t tmpfs tmpfs /run
  # Often a link to /run; otherwise it is hidden separately.
  [ -L /var/run ] || mount -t tmpfs tmpfs /var/run
  [ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
  resolver=$(readlink -m /etc/resolv.conf)
  mkdir -p "$(dirname "$resolver")"
  [ -e "$resolver" ] || : >"$resolver"
  mount --bind "$dir/resolv.conf" "$resolver"
  # Also listens on the default socket, which containers on this node mount.
  exec dockerd --host "$(socket "$node")" --host unix:///var/run/docker.sock --data-root "$dir/data" --bip "172.31.$node.1/24" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/atq-nodes/$node"
}

# Reports that the Engine of a node does not respond.
engine_failed() {
  tail -n 15 "$DIR/$1/dockerd.log" >&2
  die "the Engine of node $1 does not respond" "the last lines of $DIR/$1/dockerd.log are above"
}

answers_or_dead() { node_answers "$1" || { [ $((SECONDS - begun)) -gt 2 ] && engine_is_gone "$1"; }; }

await_engine() {
  local begun=$SECONDS
  wait_until 60 "nodes: waiting for the Engine of node $1" answers_or_dead "$1" || true
  node_answers "$1" || engine_failed "$1"
}

join() {
  local node=$1 token
  token=$(on 1 swarm join-token -q worker)
  on "$node" swarm join --token "$token" --advertise-addr "$NET.$node" "$NET.1:2377" >/dev/null
}

# in_parallel COMMAND NODE...: runs COMMAND for all nodes concurrently; fails if one fails.
in_parallel() {
  local command=$1 node pids=() pid
  shift
  for node in "$@"; do
    "$command" "$node" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || die "\`$command\` failed on one of the nodes $*"; done
}

load_images() { on "$1" load -q -i "$DIR/images.tar" >/dev/null; }

guard() {
  local pid=$1 born=$2
  while [ "$(birth "$pid")" = "$born" ]; do sleep 0.5; done
  lock
  # Another run may have replaced the nodes meanwhile.
  if [ "$(cat "$DIR/guard" 2>/dev/null)" = "$$" ]; then remove_all; fi
}

set_guard() {
  local owner=$1 born
  born=$(birth "$owner")
  [ -n "$born" ] || die "process $owner of \`--for\` does not exist"
  echo "$owner $born" >"$DIR/owner"
  setsid nohup "$ROOT/deploy/nodes.sh" guard "$owner" "$born" </dev/null >/dev/null 2>&1 9>&- &
  echo $! >"$DIR/guard"
}

up() {
  local owner=${1:-} node begun=$SECONDS
  check_owner "$owner"
  remove_all
  check_network
  mkdir -p "$DIR"
  trap 'trap - EXIT; remove_all' EXIT
  trap 'exit 130' INT TERM HUP
  [ -z "$owner" ] || set_guard "$owner"
  make_bridge
  for node in "${NODES[@]}"; do
    make_netns "$node"
    start_engine "$node"
  done
  docker save -o "$DIR/images.tar" "${IMAGES[@]}"
  for node in "${NODES[@]}"; do await_engine "$node"; done
  on 1 swarm init --advertise-addr "$NET.1" >/dev/null
  in_parallel join "${NODES[@]:1}"
  in_parallel load_images "${NODES[@]}"
  rm -f "$DIR/images.tar"
  wait_until 30 "nodes: waiting until all are ready" all_ready ||
    die "the nodes are not ready after 30 s: $(on 1 node ls 2>&1)"
  trap - EXIT INT TERM HUP
  say "nodes: ${#NODES[@]} ready on $NET.0/24 after $((SECONDS - begun)) s"
}

# ---------------------------------------------------------------- one node

kill_node() {
  local pid
  ip link set "$(link "$1")" down
  for pid in $(engine_of "$1"); do kill -KILL "$pid"; done
  wait_until 20 "nodes: waiting for node $1 to end" engine_is_gone "$1" || die "node $1 does not end"
}

stop_node() {
  local pid
  for pid in $(engine_of "$1"); do kill -TERM "$pid"; done
  wait_until 60 "nodes: waiting for the Engine of node $1 to stop" engine_is_gone "$1" ||
    die "the Engine of node $1 does not stop" "see $DIR/$1/dockerd.log"
}

start_node() {
  ip link set "$(link "$1")" up
  engine_is_gone "$1" || return 0
  start_engine "$1"
  await_engine "$1"
  wait_until 60 "nodes: waiting until node $1 is in the Swarm" node_is_in_the_swarm "$1" ||
    die "node $1 does not rejoin the Swarm" "see $DIR/$1/dockerd.log"
}

# Overlay networks are in namespaces that only the node's Engine sees, named by a prefix of the network's id. The one of
# `ingress` is created some time after the start of the Engine and is permanent.
vxlans() {
  local pid ingress
  pid=$(engine_of "$1")
  [ -n "$pid" ] || die "node $1 does not run"
  ingress=$(on "$1" network ls -q --no-trunc --filter name=ingress)
  # shellcheck disable=SC2016 # expanded inside
  nsenter --target "$pid" --mount --net sh -c '
    { ip -o link show type vxlan
      for space in /run/docker/netns/*; do
        case "$space" in */[0-9]*-"$1") continue ;; esac
        nsenter --net="$space" ip -o link show type vxlan 2>/dev/null || true
      done; } | wc -l' sh "${ingress:0:10}"
}

# ---------------------------------------------------------------- commands

lock() {
  mkdir -p "$STATE" || die "cannot write the state directory \`$STATE\`" "set ATQ_STATE to a directory of this user"
  exec 9>"$STATE/nodes.lock"
  flock -w 300 9 || die "another deploy/nodes.sh is still running after 5 minutes"
}

node_given() {
  case "${1:-}" in
    1 | 2 | 3) netns_exists "$1" || die "node $1 does not exist" "create the nodes: deploy/nodes.sh up" ;;
    *) die "no node \`${1:-}\`; expected 1, 2 or 3" ;;
  esac
}

up_command() {
  local owner=""
  case "${1:-}" in
    "") ;;
    --for) owner=${2:?--for needs a process id} ;;
    *) die "unknown argument \`$1\`; expected --for PID" ;;
  esac
  check_machine
  lock
  up "$owner"
}

down_command() {
  # Only root can have created nodes.
  is_root || return 0
  lock
  if [ -d "$DIR" ] || netns_exists 1; then
    remove_all
    say "nodes: removed"
  fi
}

main() {
  local command=${1:-}
  shift || true
  case "$command" in
    up) up_command "$@" ;;
    down) down_command ;;
    inside | guard) "$command" "$@" ;;
    host) socket "${1:?host needs a node}" ;;
    address) echo "$NET.${1:?address needs a node}" ;;
    kill | stop | start | unplug | plug | vxlans | exec)
      node_given "${1:-}"
      case "$command" in
        kill | stop | start) "${command}_node" "$1" ;;
        unplug) ip link set "$(link "$1")" down ;;
        plug) ip link set "$(link "$1")" up ;;
        vxlans) vxlans "$1" ;;
        exec) exec nsenter --net="/run/netns/$(netns "$1")" "${@:2}" ;;
      esac
      ;;
    -h | --help | help) usage ;;
    *)
      usage >&2
      die "unknown command \`$command\`"
      ;;
  esac
}

main "$@"
