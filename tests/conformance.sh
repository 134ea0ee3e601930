#!/usr/bin/env bash
# The public conformance suite for HTTP caches, against a route with mode = "rfc9111": bash tests/conformance.sh
#
# Installs the suite (npm: http-cache-tests) into a folder of its own, runs its server as the service and its client
# against sidecache as a reverse proxy, and prints what passed. It takes half a minute. No part of tests/run.sh.
#
#   SIDECACHE=path   the binary; else it is built
#   SUITE=folder     a checkout of the suite, its dependencies installed; else the package from npm, which is older
#   SCOPE=shared     the route's scope
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'tests/conformance.sh: %s\n' "$*" >&2; exit 1; }
command -v node >/dev/null || die "node is missing"

work=$(mktemp -d)
started=()
finish() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

if [ -z "${SIDECACHE:-}" ]; then
    cargo build --release --locked --bin sidecache
    SIDECACHE=${CARGO_TARGET_DIR:-target}/release/sidecache
fi
if [ -z "${SUITE:-}" ]; then
    command -v npm >/dev/null || die "npm is missing; name a checkout of the suite in SUITE"
    npm install --prefix "$work" --silent --no-audit --no-fund http-cache-tests
    SUITE=$work/node_modules/http-cache-tests
fi
SIDECACHE=$(realpath "$SIDECACHE")
SUITE=$(realpath "$SUITE")
engine=$SUITE
if [ -d "$SUITE/test-engine" ]; then engine=$SUITE/test-engine; fi

free_port() {
    node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => {
        console.log(s.address().port); s.close() })'
}
reachable() {
    for _ in $(seq 100); do
        if (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    die "nothing listens on port $1: $(tail -n 3 "$work"/*.log)"
}

origin=$(free_port)
(cd "$SUITE" && npm_config_protocol=http npm_config_port=$origin npm_config_pidfile="$work/pid" \
    exec node --no-warnings "$engine/server/server.mjs") >"$work/origin.log" 2>&1 &
started+=($!)
reachable "$origin"

cat >"$work/sidecache.toml" <<TOML
[[route]]
match = "* /**"
kind = "document"
mode = "rfc9111"
scope = "${SCOPE:-shared}"
TOML
proxy=$(free_port)
"$SIDECACHE" --config "$work/sidecache.toml" --upstream "http://127.0.0.1:$origin" \
    --listen "127.0.0.1:$proxy" --admin-listen off >"$work/sidecache.log" 2>&1 &
started+=($!)
reachable "$proxy"

(cd "$SUITE" && npm_config_base="http://127.0.0.1:$proxy" npm_config_id='' npm_package_config_id='' \
    node --no-warnings "$engine/cli.mjs") >"$work/results.json"

cat >"$work/count.mjs" <<'JS'
import { readFileSync } from 'node:fs'
const [suite, file] = process.argv.slice(2)
const { default: suites } = await import(`${suite}/tests/index.mjs`)
const results = JSON.parse(readFileSync(file))
const tests = suites.flatMap(own => own.tests).filter(test => test.id in results)
const byId = new Map(tests.map(test => [test.id, test]))

// A test whose dependency failed, or whose preparation did, tells nothing of what it is about.
const passes = id => results[id] === true && (byId.get(id)?.depends_on ?? []).every(passes)
const verdict = test => {
  if (!(test.depends_on ?? []).every(passes)) return 'depends on one that failed'
  if (results[test.id] === true) return 'passed'
  return results[test.id]?.[0] === 'Setup' ? 'not prepared' : 'failed'
}
for (const [kind, name] of [['required', 'required'], ['optimal', 'optional']]) {
  const own = tests.filter(test => (test.kind ?? 'required') === kind)
  const told = own.map(test => [test, verdict(test)])
  const count = what => told.filter(([, own]) => own === what).length
  console.log(`${name}: ${count('passed')} of ${own.length} passed, ${count('failed')} failed, ` +
    `${own.length - count('passed') - count('failed')} could not be told`)
  for (const [test, what] of told) {
    if (what !== 'passed') console.log(`  ${test.id}: ${what}: ${results[test.id]?.[1] ?? ''}`)
  }
}
JS
node "$work/count.mjs" "$SUITE" "$work/results.json"
