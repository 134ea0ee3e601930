#!/bin/sh
# The endpoints of the example service, through sidecache, with nothing but curl.
#
#     sh curl.sh [BASE_URL]      # default: http://127.0.0.1:8080, which is sidecache
#
# The second of each pair is answered from the cache: see `x-cache` and the time.
set -eu
base=${1:-http://127.0.0.1:8080}
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# ask TITLE PATH [JSON]: prints what came back, cut short, then what the cache says of it and how long it took.
ask() {
    printf '\n== %s: %s\n' "$1" "$2"
    if [ $# -gt 2 ]; then set -- "$1" "$2" -H 'Content-Type: application/json' -d "$3"; fi
    path=$2
    shift 2
    answer=$(curl -sS --fail-with-body -N -D "$headers" -w '\ntime: %{time_total} s' "$@" "$base$path")
    printf '%s\n' "$answer" | sed '/^time: /d' | cut -c 1-160 | head -n 8
    x_cache=$(tr -d '\r' < "$headers" | sed -n 's/^[Xx]-[Cc]ache: //p')
    printf 'x-cache: %s\n' "${x_cache:-none}"
    printf '%s\n' "$answer" | tail -n 1
}

query='{"query": "What happens when Redis is down?"}'
# Other white space, another order of members: the same question.
again='{"top_k":3,  "query":"How are keys made?"}'
first='{"query": "How are keys made?", "top_k": 3}'
stream='{"query": "What happens when Redis is down?", "stream": true}'
vectors='{"model": "hashed-words", "input": ["first text", "second text"], "dimensions": 4}'
partly='{"model": "hashed-words", "input": ["second text", "third text"], "dimensions": 4}'

ask 'question' /api/v1/query "$query"
ask 'the same again' /api/v1/query "$query"
ask 'another' /api/v1/query "$first"
ask 'the same, written otherwise' /api/v1/query "$again"
ask 'stream' /api/v1/query "$stream"
ask 'stream again' /api/v1/query "$stream"
ask 'embeddings' /v1/embeddings "$vectors"
ask 'embeddings, one of them known' /v1/embeddings "$partly"
ask 'health' /health
