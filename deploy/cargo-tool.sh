#!/usr/bin/env bash
# Installs a Rust program that the checks use, in the version pinned here. See --help.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: deploy/cargo-tool.sh mdbook|cargo-deny

Builds the program with `cargo install --locked` into ATQ_STATE/cargo-tools, unless it is there in the pinned version,
and links it in `tools` of the build directory. Nothing is installed globally.
HELP
}

# install_tool NAME VERSION ARGS...: the directory has the version in its name, so that another version is installed
# beside it. The program is moved there last, so that an incomplete installation is not used.
install_tool() {
  local name=$1 version=$2 dir part
  shift 2
  dir=$STATE/cargo-tools/$name-$version
  if [ ! -x "$dir/bin/$name" ]; then
    "$ROOT/deploy/check-rust.sh"
    part=$STATE/cargo-tools/unfinished
    rm -rf "$part"
    mkdir -p "$part"
    # Without optimisation and debug information the build takes less time; the programs are fast enough.
    run_long "cargo install $name $version" env -C "$ROOT" \
      CARGO_TARGET_DIR="$part/target" CARGO_INCREMENTAL=0 \
      CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_LTO=false \
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
      cargo install --locked --root "$part/root" --version "=$version" "$@" "$name"
    rm -rf "$dir"
    mv "$part/root" "$dir"
    rm -rf "$part"
  fi
  mkdir -p "$TARGET/tools"
  ln -sf "$dir/bin/$name" "$TARGET/tools/$name"
  say "$name: $version"
}

case "${1:-}" in
  -h | --help | help) usage ;;
  mdbook)
    one_at_a_time
    # Without the web server and the file watcher, which only `mdbook serve` needs.
    install_tool mdbook 0.5.4 --no-default-features --features search
    ;;
  cargo-deny)
    one_at_a_time
    install_tool cargo-deny 0.20.2
    ;;
  *)
    usage >&2
    die "unknown tool \`${1:-}\`"
    ;;
esac
