#!/bin/sh
# One worker: waits for the master, then sends its part of the rate.
exec atq-sync worker -- vegeta attack -rate '{share:rate}/1s' -duration "$DURATION" -timeout 10s \
  -targets /atq/data/targets.txt -header "Authorization: Bearer ${TOKEN:-}" -output /atq/results/results.bin
