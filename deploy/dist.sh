#!/usr/bin/env bash
# Builds the released files: static binaries with link-time optimisation, and their checksums.
# usage: deploy/dist.sh      (CARGO_BUILD_JOBS limits parallel jobs, ATQ_DIST_DIR is the output directory)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS=(atq-director atq-discovery atq-carrier atq-sync atq-mqtt atq)

host_triple() { rustc -vV | sed -n 's/^host: //p'; }

# is_static FILE: whether the binary needs no dynamic linker, so that it does not depend on a C library.
is_static() { ! grep -qaE '/(lib|lib64)/ld-(linux|musl)[^/]*\.so' <(head -c 4096 "$1"); }

main() {
  "$ROOT/deploy/check-rust.sh"
  cd "$ROOT"
  local host out=${ATQ_DIST_DIR:-$TARGET/dist-bin} program built
  host=$(host_triple)
  # With an explicit target the flag does not apply to build scripts and procedural macros, which cannot be static.
  RUSTFLAGS="-C target-feature=+crt-static" run_long "cargo build with link-time optimisation" \
    cargo build --locked --profile dist --target "$host" --package=atq-director --package=atq-discovery --package=atq-carrier --package=atq-sync \
    --package=atq-mqtt --package=atq-cli
  rm -rf "$out"
  mkdir -p "$out"
  for program in "${PROGRAMS[@]}"; do
    built=$TARGET/$host/dist/$program
    is_static "$built" || die "\`$built\` is not static"
    "$built" --version >/dev/null || die "\`$built\` does not run"
    install -m 755 "$built" "$out/$program"
  done
  (cd "$out" && sha256sum "${PROGRAMS[@]}" >SHA256SUMS)
  say "in $out:"
  (cd "$out" && stat -c '%s %n' "${PROGRAMS[@]}" | awk '{ printf "  %-14s %6.2f MB\n", $2, $1 / 1e6 }')
  sed 's/^/  /' "$out/SHA256SUMS"
}

main "$@"
