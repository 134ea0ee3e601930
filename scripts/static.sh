#!/usr/bin/env bash
# A static, stripped binary: bash scripts/static.sh [TARGET]; prints its path.
#
# TARGET is a target of Rust's; else it is this machine's, with glibc. `rustup target add TARGET` and a C compiler for it must
# be there (gcc-aarch64-linux-gnu for arm64 on another machine, musl-tools for musl). The same source, compiler and flags
# give the same bytes in any folder. SIDECACHE_COMMIT says what `--version` names; else git does.
#
# glibc by default: on two cores the same hits came 98,000 times a second, with musl 63,000 to 86,000 times, and only glibc
# gives memory back when it is asked to (src/server/heap_trim.rs). Names are looked up without any library beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${1:-$(uname -m)-unknown-linux-gnu}
case $target in
    *-linux-gnu) compiler=${target/-unknown/}-gcc ;;
    "$(uname -m)"-*-linux-musl) compiler=musl-gcc ;;
    *-linux-musl) compiler=${target/-unknown/}-gcc ;;
    *) printf 'scripts/static.sh: %s is no target for Linux\n' "$target" >&2; exit 2 ;;
esac
command -v "$compiler" >/dev/null || { printf 'scripts/static.sh: %s is missing\n' "$compiler" >&2; exit 1; }

name=${target//-/_}
export "CC_$name=$compiler"
export "CARGO_TARGET_${name^^}_LINKER=$compiler"
# Paths of this machine are in the texts of panics otherwise.
export "CARGO_TARGET_${name^^}_RUSTFLAGS=-C target-feature=+crt-static --remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export CARGO_PROFILE_RELEASE_STRIP=symbols
unset RUSTFLAGS
cargo build --release --locked --bin sidecache --target "$target" >&2
printf '%s\n' "${CARGO_TARGET_DIR:-target}/$target/release/sidecache"
