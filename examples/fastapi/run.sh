#!/usr/bin/env bash
# Starts the service on port 8000: bash examples/fastapi/run.sh
#
#   PORT=8000   another port
#   DELAY=1.5   how many seconds the model seems to take
#   VENV=folder where its packages are installed; else a cache folder of the user's
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/sidecache-fastapi}
# Installed once, and again when requirements.txt changes.
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$venv/requirements.txt"
fi
exec "$venv/bin/python" -B -m uvicorn main:app --host 127.0.0.1 --port "${PORT:-8000}"
