#!/bin/sh
# Listens for commands of the master on TCP port 7000. Without TARGET_URL it also runs the target.
set -eu

if [ -z "${TARGET_URL:-}" ]; then
  mkdir -p /tmp/www
  echo hello >/tmp/www/index.html
  httpd -p 127.0.0.1:8080 -h /tmp/www
  export TARGET_URL=http://127.0.0.1:8080/
fi
echo "worker $ATQ_REPLICA loads $TARGET_URL"
# Runs one answer.sh per connection, with the connection as its standard input and output.
exec nc -ll -p 7000 -e /bin/sh /atq/data/answer.sh
