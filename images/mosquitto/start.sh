#!/bin/sh
# Starts the broker. With server.pem and server.key in /run/secrets, it also listens with TLS on 8883; with a file `passwords`
# there, clients need a user and a password.
set -eu

secrets=/run/secrets
config=$(mktemp)
cat /opt/mosquitto/mosquitto.conf >"$config"

if [ -e $secrets/server.pem ]; then
  cat >>"$config" <<TLS
listener 8883 0.0.0.0
certfile $secrets/server.pem
keyfile $secrets/server.key
TLS
fi

if [ -e $secrets/passwords ]; then
  echo "password_file $secrets/passwords" >>"$config"
else
  echo "allow_anonymous true" >>"$config"
fi

# A connection needs a descriptor.
ulimit -n "$(ulimit -Hn)"
echo "descriptors: $(ulimit -n)"
exec mosquitto -c "$config"
