#!/usr/bin/env bash
# Compiles Vegeta to build/vegeta, a static program; ../fetch.lib.sh describes the arguments. Go verifies the hashes in go.sum.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

module=github.com/tsenart/vegeta/v12
lists=(go.mod go.sum)

need_go() {
  command -v go >/dev/null || fail "\`go\` is missing; install Go 1.24 or later; Debian bookworm's is older"
}

pin() {
  need_go
  go get -tool "$module@v$version"
  go mod tidy
}

assemble() {
  need_go
  CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -ldflags "-s -w -X main.Version=$version" -o build/vegeta "$module"
}

fetch "$@"
