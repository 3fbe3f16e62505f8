#!/usr/bin/env bash
# Installs Locust and its dependencies into build/site: the wheels in requirements.txt, with verified hashes. They are for
# the image (bookworm's Python, x86-64), regardless of this machine's Python.
#   fetch.sh           installs them if they are missing or outdated
#   fetch.sh --check   exits with 0 if they are up to date
#   fetch.sh --pin     regenerates requirements.txt after a change of `wanted`; review the diff
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

wanted=locust==2.32.4
for_image=(--only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none
  --platform manylinux_2_28_x86_64 --platform manylinux_2_26_x86_64 --platform manylinux_2_24_x86_64
  --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Identifies the list of wheels and this script.
stamp() { cat requirements.txt fetch.sh | sha256sum; }
is_done() { [ -f build/stamp ] && [ "$(cat build/stamp)" = "$(stamp)" ]; }

run_pip() {
  python3 -m pip --version >/dev/null 2>&1 ||
    fail "\`pip\` is missing; install it: apt-get install --no-install-recommends python3-pip"
  PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore python3 -m pip "$@"
}

# pin: regenerates requirements.txt; a wheel's file name contains name and version.
pin() {
  local wheel name version
  rm -rf build
  run_pip download --quiet "${for_image[@]}" --dest build/wheels "$wanted"
  {
    echo "# Written by fetch.sh --pin, for $wanted."
    for wheel in build/wheels/*.whl; do
      IFS=- read -r name version _ <<<"${wheel##*/}"
      echo "$name==$version --hash=sha256:$(sha256sum "$wheel" | cut -d' ' -f1)"
    done
  } >requirements.txt
}

# pip rejects wheels with another hash, and wheels that are not in the list.
assemble() {
  run_pip install --quiet --no-deps --no-compile --require-hashes "${for_image[@]}" \
    --target build/site -r requirements.txt
  # Its programs refer to this machine's Python.
  rm -rf build/site/bin
}

case "${1:-}" in
  --check) is_done ;;
  --pin) pin ;;
  "")
    if is_done; then exit 0; fi
    rm -rf build
    assemble
    stamp >build/stamp
    ;;
  *) fail "unknown argument \`$1\`; expected --check, --pin or none" ;;
esac
