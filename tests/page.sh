#!/usr/bin/env bash
# Walks the admin listener's page with a real browser: bash tests/page.sh [FOLDER FOR PICTURES]
#
# Needs Python 3, npm, and Chromium (the system's, or one that Playwright gets). It makes a virtual environment in target/page,
# with Playwright and axe-core from the registries, and leaves its pictures there, or in the folder that is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'tests/page.sh: %s\n' "$*" >&2; exit 1; }

for tool in python3 npm cargo; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done

work=target/page
pictures=${1:-$work/pictures}
mkdir -p "$work" "$pictures"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/python" -c 'import playwright' 2>/dev/null || "$work/venv/bin/pip" install -q playwright
[ -f "$work/node_modules/axe-core/axe.min.js" ] || npm install --silent --no-save --prefix "$work" axe-core

browser=
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        browser=$(command -v "$name")
        break
    fi
done
if [ -z "$browser" ]; then
    "$work/venv/bin/playwright" install chromium ||
        die "no browser: install the package chromium, then run this script again"
fi

cargo build --quiet
exec "$work/venv/bin/python" tests/page.py target/debug/sidecache "$work/node_modules/axe-core/axe.min.js" "$pictures" "$browser"
