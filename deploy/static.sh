#!/usr/bin/env bash
# Runs a command of Cargo so that the programs that it builds are static.
# usage: deploy/static.sh cargo ARGS...
#
# All tiers of tests use it: the programs in the images and those that the tests start come from the same build as the tests, so nothing is
# built twice. With an explicit target, the flag does not apply to build scripts and procedural macros, which cannot be static.
set -euo pipefail

host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-C target-feature=+crt-static" CARGO_BUILD_TARGET=$host
exec "$@"
