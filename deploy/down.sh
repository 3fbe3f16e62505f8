#!/usr/bin/env bash
# Ends the demo's Director and removes what the demo, the tests, deploy/nodes.sh and deploy/setup.sh
# have made. What is there without them (an Engine or a Swarm of before) stays.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=${ATQ_DEMO_DIR:-$ROOT/.demo}
pid=$(cat "$dir/director.pid" 2>/dev/null || true)
# A process id may have been given to another program meanwhile.
if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = atq-director ] &&
  [ "$(readlink "/proc/$pid/cwd")" = "$(readlink -f "$dir")" ]; then
  kill -TERM "$pid"
  gone() { [ ! -d "/proc/$pid" ]; }
  wait_until 10 "waiting for the Director to end" gone || die "the demo's Director (process $pid) does not end"
  say "ended the demo's Director"
fi
rm -rf "$dir"
"$ROOT/deploy/nodes.sh" down
exec "$ROOT/deploy/teardown.sh" "$@"
