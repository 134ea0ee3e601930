#!/usr/bin/env bash
# Agents that people run, each with a short loop, twice through sidecache: bash tests/agents.sh [NAME ...]
#
# Installs each client from the registries into a folder of its own, lets it call a tool and answer with the tool's
# result, and counts how many requests of the second run hit. The model is tests/agents/model.py: no credentials, and no
# network but for the installation, which takes 1 GB. No part of tests/run.sh, which replays what was recorded.
#
#   NAME ...        some of: claude-code codex openai-agents opencode
#   RECORD=1        write what the clients send to tests/agents/recordings, in place of the check
#   SIDECACHE=path  the binary; else it is built
#   CLIENTS=folder  where the clients are installed, and stay for the next time; else a folder that is removed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'tests/agents.sh: %s\n' "$*" >&2; exit 1; }

all=(claude-code codex openai-agents opencode)
names=("${@:-${all[@]}}")
for name in "${names[@]}"; do
    [[ " ${all[*]} " == *" $name "* ]] || die "no client is called '$name'; there are: ${all[*]}"
done
command -v npm >/dev/null || die "npm is missing"

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM

if [ -z "${RECORD:-}" ] && [ -z "${SIDECACHE:-}" ]; then
    cargo build --locked --bin sidecache
    SIDECACHE=${CARGO_TARGET_DIR:-target}/debug/sidecache
fi
if [ -n "${SIDECACHE:-}" ]; then SIDECACHE=$(realpath "$SIDECACHE"); fi
mkdir -p "${CLIENTS:=$temporary/clients}"
CLIENTS=$(realpath "$CLIENTS")

of_npm() { npm install --silent --no-audit --no-fund --prefix "$CLIENTS/$1" "$2"; }
install_claude-code() { of_npm claude-code @anthropic-ai/claude-code; }
install_codex() { of_npm codex @openai/codex; }
install_opencode() { of_npm opencode opencode-ai; }
install_openai-agents() {
    python3 -m venv "$CLIENTS/openai-agents"
    "$CLIENTS/openai-agents/bin/pip" install --quiet --disable-pip-version-check openai-agents
}

failed=0
for name in "${names[@]}"; do
    if [ ! -e "$CLIENTS/$name/complete" ]; then
        printf '==> installing %s\n' "$name"
        "install_$name" && touch "$CLIENTS/$name/complete"
    fi
    RECORD=${RECORD:-} SIDECACHE=${SIDECACHE:-} CLIENTS=$CLIENTS WORK=$temporary/$name ROW=$temporary/$name.row \
        python3 -B tests/agents/check.py "$name" || failed=1
done
if [ -z "${RECORD:-}" ]; then
    printf '\n| client | requests of the second run | hits |\n| --- | --- | --- |\n'
    for name in "${names[@]}"; do cat "$temporary/$name.row" 2>/dev/null || true; done
fi
exit "$failed"
