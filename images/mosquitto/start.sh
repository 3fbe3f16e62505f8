#!/bin/sh
# Starts the broker. With server.pem and server.key in /run/secrets, it also listens with TLS on 8883; with a file `passwords`
# there, clients need a user and a password.
set -eu

secrets=/run/secrets
config=$(mktemp)

# listener PORT LINES...
listener() {
  echo "listener $1 0.0.0.0"
  shift
  printf '%s\n' "$@"
  if [ -e $secrets/passwords ]; then
    printf '%s\n' "allow_anonymous false" "password_file $secrets/passwords"
  else
    echo "allow_anonymous true"
  fi
}

cat /opt/mosquitto/mosquitto.conf >"$config"
listener 1883 >>"$config"
if [ -e $secrets/server.pem ]; then
  listener 8883 "certfile $secrets/server.pem" "keyfile $secrets/server.key" >>"$config"
fi

# A connection needs a descriptor.
ulimit -n "$(ulimit -Hn)"
echo "descriptors: $(ulimit -n)"
/opt/mosquitto/record &
exec mosquitto -c "$config"
