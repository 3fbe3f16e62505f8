#!/usr/bin/env bash
# Ends the demo's Director and removes everything that the demo, the tests, deploy/nodes.sh, deploy/engines.sh and
# deploy/setup.sh have created. An Engine or a Swarm that existed before is kept.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

dir=${ATQ_DEMO_DIR:-$ROOT/.demo}
pid=$(cat "$dir/director.pid" 2>/dev/null || true)
# The process id may have been reused.
if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = atq-director ] &&
  [ "$(readlink "/proc/$pid/cwd")" = "$(readlink -f "$dir")" ]; then
  kill -TERM "$pid"
  gone() { [ ! -d "/proc/$pid" ]; }
  wait_until 10 "waiting for the Director to exit" gone || die "the demo's Director (process $pid) does not exit"
  say "the demo's Director was stopped"
fi
rm -rf "$dir"
"$ROOT/deploy/nodes.sh" down
for name in debian-trixie moby-29; do
  if is_root && [ -d "$STATE/engines/$name" ]; then "$ROOT/deploy/engines.sh" down "$name"; fi
done
exec "$ROOT/deploy/teardown.sh" "$@"
