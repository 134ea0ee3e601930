#!/usr/bin/env bash
# Where sidecache runs: what is under config/ for supervisors and clusters, and what is released: bash tests/deploy/run.sh
#
# A part of tests/run.sh. Installs what it needs with apt-get, on other systems than Debian and its kin it does nothing.
#
#   SIDECACHE=path  the binary; else the debug one is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

section() { printf '\n==> %s\n' "$*"; }

if ! command -v apt-get >/dev/null; then
    echo "tests/deploy: skipped, since these checks install their tools with apt-get"
    exit 0
fi

# Debian's own Python: python3-seccomp is made for that one.
python=/usr/bin/python3
packages=()
command -v systemd-analyze >/dev/null || packages+=(systemd)
[ -x /bin/kill ] || packages+=(procps)
{ command -v strip && command -v objdump; } >/dev/null || packages+=(binutils)
"$python" -c 'import seccomp' 2>/dev/null || packages+=(python3-seccomp)
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ "${#packages[@]}" -gt 0 ]; then
    section "where it runs: what these checks need: ${packages[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"
fi
if [ -z "${SIDECACHE:-}" ]; then cargo build --quiet --locked --bin sidecache; fi

section "where it runs: the units of systemd"
"$python" tests/deploy/systemd.py

# An environment with what the checks of the manifests need, made again when the list changes.
environment=${CARGO_TARGET_DIR:-target}/deploy/python
if ! cmp -s tests/deploy/requirements.txt "$environment/installed"; then
    section "where it runs: kubectl, Helm's library and the schemas of Kubernetes"
    "$python" -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check --no-compile -r tests/deploy/requirements.txt
    cp tests/deploy/requirements.txt "$environment/installed"
fi

section "where it runs: the manifests and the chart of Kubernetes"
"$environment/bin/python" tests/deploy/manifests.py

section "where it runs: pods that end under load"
"$python" tests/deploy/terminations.py

section "where it runs: the Dockerfile"
if [ -x "$environment/bin/hadolint" ]; then
    # DL3008 wants versions of Debian's packages, which are gone from its servers after each point release.
    "$environment/bin/hadolint" --ignore DL3008 Dockerfile && echo "hadolint: no complaint"
else
    echo "not looked at: there is no hadolint for this machine"
fi

section "where it runs: what is released"
"$environment/bin/python" tests/deploy/package.py
