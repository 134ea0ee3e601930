#!/usr/bin/env bash
# What is published of a version: bash scripts/release.sh [OPTION...]
#
#   --target TARGET  a target of Rust's, as in aarch64-unknown-linux-gnu or x86_64-unknown-linux-musl; else this machine's
#   --binary PATH    packages this binary in place of a new static one. This machine must be able to run it
#   --runs PATH      a sidecache of the same version that this machine can run, for the manual and the completions; else the
#                    binary itself
#   --out FOLDER     where to; else target/release-VERSION
#
# Makes sidecache-VERSION-TARGET.tar.gz, sidecache_VERSION_ARCH.deb, an SBOM (CycloneDX), the licences of what is linked in,
# and SHA256SUMS. The same source and binary give the same bytes: SOURCE_DATE_EPOCH is the time of all files, else that of
# the last commit. MAINTAINER is who the package names. Needs cargo, Python 3.11, dpkg-deb, gzip and tar.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'scripts/release.sh: %s\n' "$*" >&2; exit 1; }

target=$(uname -m)-unknown-linux-gnu
binary=
runs=
out=
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || die "$1 needs a value"
    case $1 in
        --target) target=$2 ;;
        --binary) binary=$2 ;;
        --runs) runs=$2 ;;
        --out) out=$2 ;;
        *) die "$1: no such option" ;;
    esac
    shift 2
done
case $target in
    x86_64-*) architecture=amd64 ;;
    aarch64-*) architecture=arm64 ;;
    *) die "$target: no Debian architecture is known for it" ;;
esac
python=$(command -v /usr/bin/python3 || command -v python3) || die "python3 is missing"
command -v dpkg-deb >/dev/null || die "dpkg-deb is missing"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
# A version before another one sorts before it.
debian_version=${version/-/\~}
maintainer=${MAINTAINER:-sidecache <sidecache@localhost>}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
if [ -z "$binary" ]; then binary=$(bash scripts/static.sh "$target"); fi
runs=${runs:-$binary}
[[ $("$runs" --version) == "sidecache $version"* ]] || die "$runs is not sidecache $version"
out=${out:-${CARGO_TARGET_DIR:-target}/release-$version}
mkdir -p "$out"
rm -f "$out"/sidecache[-_]* "$out/SHA256SUMS"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The same time and rights for all of a folder.
settle() { find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

name=sidecache-$version
sbom=$out/$name-$target.cdx.json
licenses=$out/$name-$target-licenses.txt
"$python" scripts/linked.py --target "$target" --sbom "$sbom" --licenses "$licenses"

# ---- the files, as they are installed

root=$work/root
doc=$root/usr/share/doc/sidecache
install -D -m 0755 "$binary" "$root/usr/bin/sidecache"
install -D -m 0644 -t "$root/usr/lib/systemd/system" config/systemd/sidecache.service config/systemd/sidecache.socket
install -D -m 0644 -t "$root/etc/sidecache" config/sidecache.toml
install -D -m 0644 -t "$doc" README.md
install -D -m 0644 CHANGELOG.md "$doc/CHANGELOG.md"
printf 'sidecache (%s) unstable; urgency=medium\n\n  * CHANGELOG.md.gz says what has changed.\n\n -- %s  %s\n' \
    "$debian_version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" >"$doc/changelog"
install -D -m 0644 "$licenses" "$doc/linked-licenses.txt"
install -D -m 0644 "$sbom" "$doc/sidecache.cdx.json"
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: sidecache\n\n'
    printf 'Files: *\n%s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) /Copyright: /p' LICENSE)"
    sed -e '1,/^Copyright/d' -e '/./,$!d' -e 's/^$/./' -e 's/^/ /' LICENSE
    printf '\nComment: linked-licenses.txt.gz has the licences of what is linked into the program.\n'
} >"$doc/copyright"

manual=$root/usr/share/man/man1
mkdir -p "$manual"
"$runs" man >"$manual/sidecache.1"
for command in $("$runs" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -vx help); do
    "$runs" man "$command" >"$manual/sidecache-$command.1"
done
mkdir -p "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
"$runs" completions bash >"$root/usr/share/bash-completion/completions/sidecache"
"$runs" completions zsh >"$root/usr/share/zsh/vendor-completions/_sidecache"
"$runs" completions fish >"$root/usr/share/fish/vendor_completions.d/sidecache.fish"

# ---- the archive

mkdir "$work/$name"
cp -r "$root/usr" "$root/etc" LICENSE README.md "$work/$name/"
settle "$work/$name"
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --directory "$work" "$name" |
    gzip --no-name --best >"$out/$name-$target.tar.gz"

# ---- the package

gzip --no-name --best "$manual"/*.1 "$doc/changelog" "$doc/CHANGELOG.md" "$doc/linked-licenses.txt" "$doc/sidecache.cdx.json"
mkdir "$root/DEBIAN"
install -m 0755 -t "$root/DEBIAN" scripts/debian/postinst scripts/debian/prerm scripts/debian/postrm
echo /etc/sidecache/sidecache.toml >"$root/DEBIAN/conffiles"
# A static binary needs no C library beside it; another one, that of the machine that has built it.
depends=ca-certificates
libraries=$(ldd "$binary" 2>/dev/null || true)
if [[ $libraries == *libc.so* ]]; then
    symbols=$(objdump -T "$binary")
    newest=$(grep -o 'GLIBC_[0-9.]*' <<<"$symbols" | sort -uV | tail -1)
    depends="ca-certificates, libc6 (>= ${newest#GLIBC_}), libgcc-s1"
fi
cat >"$root/DEBIAN/control" <<END
Package: sidecache
Version: $debian_version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Recommends: procps
Section: web
Priority: optional
Description: caching reverse proxy for RAG and LLM services
 sidecache runs beside an existing service. It answers a repeated question from
 memory or from Redis, and passes everything else on, streams included. Clients
 change their base URL and nothing else.
END
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
settle "$root"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/sidecache_${debian_version}_$architecture.deb" >/dev/null

(cd "$out" && sha256sum sidecache[-_]* >SHA256SUMS)
printf '%s:\n' "$out"
cat "$out/SHA256SUMS"
