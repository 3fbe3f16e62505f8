#!/usr/bin/env bash
# usage: deploy/run-long.sh TEXT COMMAND...: runs a long command with progress lines.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run_long "$@"
