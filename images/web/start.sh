#!/bin/sh
# Starts nginx. TOKEN is the token that /private requires; without it, no token is valid.
set -eu
token=${TOKEN:-}
case "$token" in
  '') token=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n') ;;
  *[!A-Za-z0-9._~+/=-]*)
    echo 'atq: TOKEN has other characters than letters, digits and . _ ~ + / = -' >&2
    exit 64
    ;;
esac
sed "s|@TOKEN@|$token|" /opt/web/nginx.conf >/tmp/nginx.conf
: >/tmp/requests.log
exec nginx -c /tmp/nginx.conf
