#!/usr/bin/env bash
# Everything that is tested, in one command: bash tests/run.sh
#
# Installs what the tests need and the machine lacks (redis-server, openssl, prometheus with promtool, jq, curl, tmux), then runs the format check, the lints,
# the tests, the documentation's build, the example configurations, the quickstart, and the checks of where it runs
# (tests/deploy/run.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

section() { printf '\n==> %s\n' "$*"; }
die() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$*' needs root, and there is no sudo; run it as root, then run this script again"
    fi
}

# install PACKAGE...: with the system's package manager.
install() {
    # One package has both.
    set -- "${@/promtool/prometheus}"
    if command -v apt-get >/dev/null; then
        as_root apt-get update -q
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    elif command -v dnf >/dev/null; then
        as_root dnf install -y "${@/redis-server/redis}"
    elif command -v apk >/dev/null; then
        as_root apk add "${@/redis-server/redis}"
    elif command -v brew >/dev/null; then
        brew install "${@/redis-server/redis}"
    else
        die "no known package manager here; install $* and run this script again"
    fi
}

section "what the tests need"
missing=()
for tool in redis-server openssl prometheus promtool jq curl tmux; do
    if command -v "$tool" >/dev/null; then
        printf '%s: %s\n' "$tool" "$({ "$tool" --version || "$tool" version || "$tool" -V; } 2>/dev/null | head -n 1)"
    else
        missing+=("$tool")
    fi
done
if [ "${#missing[@]}" -gt 0 ]; then
    printf 'missing: %s\n' "${missing[*]}"
    install "${missing[@]}"
    for tool in "${missing[@]}"; do
        command -v "$tool" >/dev/null || die "$tool is still missing after its installation"
    done
fi
command -v cargo >/dev/null || die "cargo is missing; install Rust 1.90 or later: https://rustup.rs"
cargo --version
for component in fmt clippy; do
    cargo "$component" --version 2>/dev/null ||
        die "cargo $component is missing; add it with: rustup component add ${component/fmt/rustfmt}"
done

section "format: cargo fmt --check"
cargo fmt --check

section "lints: cargo clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings

section "tests: cargo test, with a minute of soak"
SIDECACHE_SOAK=60 cargo test --locked

section "dependencies: cargo deny, where it is installed"
# Licences and sources are looked at by the tests as well, on every machine. Advisories have a server of their own.
if cargo deny --version 2>/dev/null; then
    cargo deny --locked check bans licenses sources
else
    echo "not installed; for advisories: cargo install cargo-deny --locked && cargo deny check"
fi

section "documentation: cargo doc"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

section "example configurations: sidecache check"
for file in config/sidecache.toml config/minimal.toml; do
    # Nothing listens at their upstream here, which is a warning.
    cargo run --quiet --locked --bin sidecache -- check --config "$file"
done

section "quickstart: one question, asked twice"
cargo run --quiet --locked --example quickstart -- --once

bash tests/deploy/run.sh

section "all passed"
