#!/usr/bin/env bash
# Installs Locust and its dependencies into build/site: the wheels in requirements.txt, with verified hashes. They are for
# the image (bookworm's Python, x86-64), regardless of this machine's Python. ../fetch.lib.sh describes the arguments.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

lists=(requirements.txt)
for_image=(--only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi abi3 --abi none
  --platform manylinux_2_28_x86_64 --platform manylinux_2_26_x86_64 --platform manylinux_2_24_x86_64
  --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)

run_pip() {
  python3 -m pip --version >/dev/null 2>&1 ||
    fail "\`pip\` is missing; install it: apt-get install --no-install-recommends python3-pip"
  PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore python3 -m pip "$@"
}

# A wheel's file name contains name and version.
pin() {
  local wheel project release
  run_pip download --quiet "${for_image[@]}" --dest build/wheels "locust==$version"
  {
    echo "# Written by fetch.sh --pin, for locust==$version."
    for wheel in build/wheels/*.whl; do
      IFS=- read -r project release _ <<<"${wheel##*/}"
      echo "$project==$release --hash=sha256:$(sha256sum "$wheel" | cut -d' ' -f1)"
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

fetch "$@"
