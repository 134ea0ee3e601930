#!/usr/bin/env bash
# The files of the image: bash scripts/image.sh BINARY FOLDER. The Dockerfile and tests/image.sh use it.
set -euo pipefail

binary=$1
folder=$2
# For an upstream or a Redis over TLS.
certificates=/etc/ssl/certs/ca-certificates.crt

install -D -m 0755 "$binary" "$folder/usr/local/bin/sidecache"
install -D -m 0644 "$certificates" "$folder/etc/ssl/certs/ca-certificates.crt"
# Names of /etc/hosts first, which the container's engine writes.
install -d -m 0755 "$folder/run/sidecache"
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"
chmod 0644 "$folder/etc/nsswitch.conf"
