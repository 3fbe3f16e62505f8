#!/usr/bin/env bash
# Exits with 0 if the local Docker Engine is a manager of an active Swarm.
set -euo pipefail
[ "$(timeout 10 docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null)" = "active true" ]
