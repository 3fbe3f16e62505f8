#!/usr/bin/env bash
# Checks that Cargo is installed and that the compiler has at least the version `rust-version` of Cargo.toml.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")

if ! has cargo || ! has rustc; then
  die "\`cargo\` or \`rustc\` is missing" "install Rust $wanted or newer: https://rustup.rs"
fi
# In this directory rustup selects the toolchain of rust-toolchain.toml.
if ! version=$(cd "$ROOT" && rustc --version 2>&1); then
  die "\`rustc --version\` failed: $version" "rustup toolchain install stable --component clippy --component rustfmt"
fi
found=$(sed -n 's/^rustc \([0-9.]*\).*/\1/p' <<<"$version")
oldest=$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)
[ "$oldest" = "$wanted" ] ||
  die "the Rust compiler is \`$version\`; expected $wanted or newer" "rustup update stable, or install Rust: https://rustup.rs"
