#!/bin/sh
# Waits for orders of the master on TCP 7000. Without a TARGET_URL it also is what is loaded.
set -eu

if [ -z "${TARGET_URL:-}" ]; then
  mkdir -p /tmp/www
  echo hello >/tmp/www/index.html
  httpd -p 127.0.0.1:8080 -h /tmp/www
  export TARGET_URL=http://127.0.0.1:8080/
fi
echo "worker $ATQ_REPLICA loads $TARGET_URL"
# One answer.sh for each connection; its input and output are the connection.
exec nc -ll -p 7000 -e /bin/sh /atq/data/answer.sh
