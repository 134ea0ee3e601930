#!/usr/bin/env bash
# The image, as far as this machine can look at it: bash tests/image.sh [BINARY]. No part of tests/run.sh: it builds a release.
#
# Without Docker: makes the files of the image as the Dockerfile does, measures them, and runs the binary as the image's user
# with these files as its root, read-only. It starts, finds a name in the hosts file and one by DNS, reads the root
# certificates, and its health check answers. With buildah: builds the last stage. With Docker: builds the whole image, and runs it. Needs
# root and Python 3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

section() { printf '\n==> %s\n' "$*"; }
most=$((15 * 1024 * 1024))

work=$(mktemp -d)
trap 'umount "$work/root" 2>/dev/null || true; rm -rf "$work"' EXIT

binary=${1:-$(bash scripts/static.sh)}

section "the files of the image"
bash scripts/image.sh "$binary" "$(uname -m)-unknown-linux-gnu" "$work/image"
(cd "$work/image" && find . -type f -printf '%10s  %M  %P\n')
size=$(find "$work/image" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
printf '%s bytes in all: %s MiB of 15\n' "$size" "$(awk "BEGIN { printf \"%.2f\", $size / 1048576 }")"
[ "$size" -le "$most" ]
libraries=$(ldd "$binary" 2>/dev/null || true)
if [[ $libraries == *'=>'* ]]; then echo "the binary is not static: $libraries"; exit 1; fi

section "it runs with these files alone, read-only and as 10001"
mkdir "$work/root"
mount --bind "$work/image" "$work/root"
mount -o remount,bind,ro "$work/root"
python3 tests/deploy/image.py "$work/root" "$work/image"

section "the last stage of the Dockerfile, by buildah"
if command -v buildah >/dev/null; then
    mkdir -p "$work/context" "$work/built"
    cp -r "$work/image" "$work/built/image"
    sed -n '/^FROM scratch$/,$p' Dockerfile >"$work/context/Dockerfile"
    builder=(buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run")
    "${builder[@]}" build --quiet --isolation chroot --format docker --build-context "build=$work/built" \
        --build-arg SIDECACHE_COMMIT=abc1234 --tag sidecache "$work/context"
    "${builder[@]}" images --format '{{.Name}}: {{.Size}}' sidecache
    "${builder[@]}" inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Labels}}' sidecache
else
    echo "there is no buildah: not built"
fi

section "docker build"
if docker info >/dev/null 2>&1; then
    docker build -t sidecache-test .
    docker image inspect sidecache-test --format '{{.Size}} bytes, user {{.Config.User}}'
    id=$(docker run --rm -d --read-only --cap-drop ALL -e UPSTREAM_URL=http://127.0.0.1:9 sidecache-test)
    state=
    for _ in $(seq 60); do
        state=$(docker inspect --format '{{.State.Health.Status}}' "$id")
        [ "$state" = starting ] || break
        sleep 1
    done
    docker stop "$id"
    [ "$state" = healthy ]
else
    echo "no Docker daemon answers: not built"
fi
