#!/usr/bin/env bash
# Other Docker Engines beside the one of this machine, for `make parts`. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/engines.sh fetch NAME | up NAME | down NAME | exec NAME CMD... | COMMAND NAME

An Engine of another version, the only node of its own Swarm, in its own namespaces (network, processes, mounts, host
name), with its own data and its own root directory. Nothing is installed on this machine; its Engine only provides the
images. Names:

  debian-trixie   Engine 26.1 with containerd and runc, of Debian trixie's packages
  moby-29         Engine of the 29 line, runc and docker-proxy, built from Go modules of pinned versions; containerd of
                  Debian trixie. Needs Go 1.26.3 or newer and a C compiler; the build takes about 5 minutes on two cores

  fetch     downloads and builds the Engine; what exists is used as it is
  up        fetches it, replaces leftovers of an earlier run, starts it, creates its Swarm and loads the images
  down      removes everything except what was fetched: processes, namespaces, control groups, data. Kernel settings that
            have changed since `up` are put back and named
  exec      runs CMD in the network namespace of the Engine, with its socket in DOCKER_HOST
  host      prints the address of its socket, for DOCKER_HOST
  versions  prints its version, its API versions, and those of containerd, runc and the storage driver
  forget    like down, and also removes what was fetched

environment:
  ATQ_STATE           directory of everything, below `engines` (as for setup.sh)
  ATQ_ENGINE_IMAGES   images that are copied from this machine's Engine (atq-testload:dev atq-discovery:dev
                      atq-carrier:dev atq-jmeter:5.6.3 tenrero/jmeterdistributed:latest)
  ATQ_DEBIAN_MIRROR   mirror for Debian's packages (default: Debian's own)
HELP
}

NAMES=(debian-trixie moby-29)
MOBY=v2.0.0-beta.24
RUNC=v1.5.3
# Packages that the Engine depends on; `docker.io` includes containerd, runc and tini.
PACKAGES=docker.io,iptables,base-files,coreutils,dash,kmod,procps,mount,netbase,ca-certificates,xz-utils
# Settings that an Engine may change although the network namespace is its own.
SETTINGS=(net.ipv4.ip_forward net.ipv4.conf.all.forwarding net.ipv6.conf.all.forwarding
  net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables net.netfilter.nf_conntrack_max
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys
  kernel.keys.root_maxbytes)
read -ra IMAGES <<<"${ATQ_ENGINE_IMAGES:-atq-testload:dev atq-discovery:dev atq-carrier:dev atq-jmeter:5.6.3 tenrero/jmeterdistributed:latest}"

# ---------------------------------------------------------------- queries

# named NAME: sets the variables of the Engine.
named() {
  case " ${NAMES[*]} " in
    *" ${1:-} "*) ;;
    *) die "no Engine \`${1:-}\`; expected one of: ${NAMES[*]}" ;;
  esac
  NAME=$1
  DIR=$STATE/engines/$NAME
  BIN=$STATE/engines/$NAME-bin
  FETCHED=$STATE/engines/debian-trixie-root
  # Short: a path of a socket has at most 107 characters.
  RUN=$DIR/run
  NETNS=atq-engine-$NAME
}

socket() { echo "unix://$RUN/docker.sock"; }

on() { env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY DOCKER_HOST="$(socket)" timeout 120 docker "$@"; }

answers() { [ -n "$(on info --format '{{.ServerVersion}}' 2>/dev/null)" ]; }

settings() {
  local name
  for name in "${SETTINGS[@]}"; do
    printf '%s=%s\n' "$name" "$(sysctl -n "$name" 2>/dev/null || true)"
  done
}

# ---------------------------------------------------------------- fetch

# The packages are unpacked and not configured, so that none of their scripts runs.
fetch_root() {
  [ ! -e "$FETCHED/complete" ] || return 0
  has mmdebstrap || die "\`mmdebstrap\` is missing" "run as root: apt-get install --no-install-recommends mmdebstrap"
  local root=$FETCHED/root program family
  rm -rf "$FETCHED"
  mkdir -p "$FETCHED"
  run_long "engines: downloading Debian trixie's Engine" mmdebstrap --variant=extract --include="$PACKAGES" \
    trixie "$root" ${ATQ_DEBIAN_MIRROR:+"$ATQ_DEBIAN_MIRROR"}
  # Scripts of the packages would create these.
  for family in iptables ip6tables; do
    for program in "" -save -restore; do
      ln -sf "$family-nft$program" "$root/usr/sbin/$family$program"
    done
  done
  [ -e "$root/var/run" ] || ln -s /run "$root/var/run"
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\ndocker:x:999:\n' >"$root/etc/group"
  mkdir -p "$root/opt/engine"
  touch "$FETCHED/complete"
}

# The headers of libseccomp, without installing them.
fetch_seccomp() {
  SECCOMP=$STATE/engines/libseccomp
  [ ! -e "$SECCOMP/complete" ] || return 0
  rm -rf "$SECCOMP"
  mkdir -p "$SECCOMP"
  run_long "engines: downloading libseccomp" env -C "$SECCOMP" apt-get download libseccomp-dev libseccomp2
  local package
  for package in "$SECCOMP"/*.deb; do dpkg-deb -x "$package" "$SECCOMP"; done
  touch "$SECCOMP/complete"
}

# go_install MODULE@VERSION ARGS...: builds a program of a module into BIN.
go_install() {
  local program=$1
  shift
  run_long "engines: building $program" env GOBIN="$BIN" go install "$@" "$program"
}

fetch_moby() {
  [ "$(cat "$BIN/complete" 2>/dev/null)" != "$MOBY $RUNC" ] || return 0
  has go || die "\`go\` is missing" "install Go 1.26.3 or newer"
  rm -rf "$BIN"
  mkdir -p "$BIN"
  local moby=github.com/moby/moby/v2 multiarch
  go_install "$moby/cmd/dockerd@$MOBY" -ldflags "-X $moby/dockerversion.Version=${MOBY#v}"
  go_install "$moby/cmd/docker-proxy@$MOBY"
  fetch_seccomp
  multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -dumpmachine)
  CGO_CFLAGS="-I$SECCOMP/usr/include" CGO_LDFLAGS="-L$SECCOMP/usr/lib/$multiarch" \
    PKG_CONFIG_PATH="$SECCOMP/usr/lib/$multiarch/pkgconfig" \
    go_install "github.com/opencontainers/runc@$RUNC" -tags seccomp
  echo "$MOBY $RUNC" >"$BIN/complete"
}

fetch() {
  is_root || die "another Engine needs namespaces and this user is not root" "run as root"
  mkdir -p "$STATE/engines"
  fetch_root
  [ "$NAME" != moby-29 ] || fetch_moby
}

# ---------------------------------------------------------------- down

restore_settings() {
  [ -e "$DIR/settings" ] || return 0
  local before name
  while read -r before; do
    name=${before%%=*}
    [ -n "${before#*=}" ] || continue
    if [ "$(sysctl -n "$name" 2>/dev/null)" != "${before#*=}" ]; then
      say "engines: $name was changed to $(sysctl -n "$name"); restoring ${before#*=}"
      sysctl -q -w "$before" || say "warning: $name cannot be restored"
    fi
  done <"$DIR/settings"
}

down() {
  wait_until 20 "engines: waiting for the processes of $NAME to exit" end_processes ||
    die "processes of $NAME do not exit"
  if netns_exists; then ip netns del "$NETNS"; fi
  wait_until 10 "engines: waiting for the control groups of $NAME" cgroups_removed ||
    say "warning: control groups of $NAME are left"
  restore_settings
  rm -rf "$DIR"
}

# ---------------------------------------------------------------- up

# The first process of the Engine. With its own root it sees no files of the Engine of this machine, except /tmp, from
# which tests mount files into containers.
inside() {
  local root=$FETCHED/root
  hostname "$NETNS"
  # Loading an image remounts `/`, so it must be a mount point.
  mount --bind "$root" "$root"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/run"
  # Otherwise files with process ids of an ended Engine stay there, and the next one does not start.
  [ -L "$root/var/run" ] || mount --bind "$root/run" "$root/var/run"
  mount --bind /tmp "$root/tmp"
  mkdir -p "$root$DIR"
  mount --bind "$DIR" "$root$DIR"
  [ ! -d "$BIN" ] || mount --bind "$BIN" "$root/opt/engine"
  # All names must fail to resolve at once.
  echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
  # With `chroot` instead, runc could not change the root of containers, and `docker exec` would see these files.
  mkdir -p "$root/old-root"
  cd "$root"
  pivot_root . old-root
  umount -l /old-root
  # With this variable set, tasks start without a registry lookup for local images.
  exec /usr/bin/env -i HOME=/root DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 \
    PATH=/opt/engine:/usr/sbin:/usr/bin:/sbin:/bin \
    dockerd --host "$(socket)" --host unix:///var/run/docker.sock --data-root "$DIR/data" --bip 172.31.8.1/24 \
    --pidfile /run/docker.pid --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$NETNS"
}

answers_or_dead() { answers || { [ $((SECONDS - begun)) -gt 3 ] && [ -z "$(ip netns pids "$NETNS")" ]; }; }

up() {
  local tool begun=$SECONDS
  for tool in ip nsenter unshare pivot_root sysctl docker; do has "$tool" || die "\`$tool\` is missing"; done
  fetch
  for tool in "${IMAGES[@]}"; do
    docker image inspect "$tool" >/dev/null 2>&1 || die "this machine's Engine has no image \`$tool\`" "deploy/setup.sh images"
  done
  down
  mkdir -p "$RUN" "$DIR/data"
  settings >"$DIR/settings"
  ip netns add "$NETNS"
  ip -n "$NETNS" link set lo up
  setsid nohup nsenter --net="/run/netns/$NETNS" unshare --mount --uts --pid --fork --mount-proc --kill-child \
    "$ROOT/deploy/engines.sh" inside "$NAME" </dev/null >"$DIR/dockerd.log" 2>&1 9>&- &
  wait_until 60 "engines: waiting for $NAME" answers_or_dead || true
  if ! answers; then
    tail -n 15 "$DIR/dockerd.log" >&2
    die "the Engine $NAME does not respond" "the last lines of $DIR/dockerd.log are above"
  fi
  on swarm init --advertise-addr 127.0.0.1 >/dev/null
  docker save "${IMAGES[@]}" | on load --quiet >/dev/null
  say "engines: $NAME is up after $((SECONDS - begun)) s: $(versions)"
}

# ---------------------------------------------------------------- commands

versions() {
  on version --format '{{with .Server}}Engine {{.Version}}, API {{.APIVersion}} (minimum {{.MinAPIVersion}}){{range .Components}}{{if ne .Name "Engine"}}, {{.Name}} {{.Version}}{{end}}{{end}}{{end}}' |
    tr '\n' ' ' | sed 's/ $//'
  on info --format ', storage {{.Driver}}, cgroup v{{.CgroupVersion}}, kernel {{.KernelVersion}}'
}

lock() {
  mkdir -p "$STATE/engines" || die "cannot write the state directory \`$STATE\`" "set ATQ_STATE to a directory of this user"
  exec 9>"$STATE/engines/lock"
  flock -w 900 9 || die "another deploy/engines.sh is still running after 15 minutes"
}

main() {
  local command=${1:-}
  case "$command" in
    -h | --help | help) usage && return ;;
    fetch | up | down | exec | host | versions | forget | inside) named "${2:-}" ;;
    *)
      usage >&2
      die "unknown command \`$command\`"
      ;;
  esac
  case "$command" in
    fetch | up | down)
      lock
      "$command"
      ;;
    forget)
      lock
      down
      rm -rf "$BIN" "$FETCHED" "$STATE/engines/libseccomp"
      ;;
    host) socket ;;
    exec)
      netns_exists || die "the Engine $NAME is not up" "deploy/engines.sh up $NAME"
      export DOCKER_HOST
      DOCKER_HOST=$(socket)
      unset DOCKER_CONTEXT DOCKER_TLS_VERIFY
      exec nsenter --net="/run/netns/$NETNS" "${@:3}"
      ;;
    *) "$command" ;;
  esac
}

main "$@"
