#!/usr/bin/env bash
# usage: deploy/run-long.sh TEXT COMMAND...: runs a command that takes long, and says so while it does.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run_long "$@"
