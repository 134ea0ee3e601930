#!/usr/bin/env bash
# The files of the image: bash scripts/image.sh BINARY TARGET FOLDER. The Dockerfile and tests/image.sh use it.
#
# TARGET is that of the binary, for the SBOM and the licences of what is linked in.
set -euo pipefail

binary=$1
target=$2
folder=$3
scripts=$(dirname "${BASH_SOURCE[0]}")
# For an upstream or a Redis over TLS.
certificates=/etc/ssl/certs/ca-certificates.crt

install -D -m 0755 "$binary" "$folder/usr/local/bin/sidecache"
install -D -m 0644 "$certificates" "$folder/etc/ssl/certs/ca-certificates.crt"
# Names of /etc/hosts first, which the container's engine writes.
install -d -m 0755 "$folder/run/sidecache"
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"
chmod 0644 "$folder/etc/nsswitch.conf"
doc=$folder/usr/share/doc/sidecache
install -d -m 0755 "$doc"
python3 "$scripts/linked.py" --target "$target" --sbom "$doc/sidecache.cdx.json" --licenses "$doc/linked-licenses.txt"
# The licences are the largest file besides the binary. The SBOM stays as scanners look for it.
gzip --no-name --best "$doc/linked-licenses.txt"
chmod 0644 "$doc"/*
