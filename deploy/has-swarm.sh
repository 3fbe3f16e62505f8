#!/usr/bin/env bash
# Exit code 0 when Docker answers here and is a manager of an active Swarm.
set -euo pipefail
[ "$(timeout 10 docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null)" = "active true" ]
