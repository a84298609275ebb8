#!/bin/sh
# Runs the portal's tests in a browser: all of them, or the files that are named.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund
if [ -z "${PORTAL_HOST:-}" ]; then
    (cd ../.. && cargo build --quiet -p outpost-tests --bin portal-host)
    target=${CARGO_TARGET_DIR:-../../target}
    ready=$(mktemp)
    "$target/debug/portal-host" "${DELIVERIES:-5000}" >"$ready" &
    host=$!
    trap 'kill $host 2>/dev/null || true; rm -f "$ready"' EXIT
    while ! grep -q '^ready ' "$ready"; do
        kill -0 $host || { echo "the host did not start" >&2; exit 1; }
        sleep 0.2
    done
    PORTAL_HOST=$(sed -n 's/^ready //p' "$ready")
    export PORTAL_HOST
fi
[ $# -gt 0 ] || set -- *.test.mjs
out=$(mktemp)
status=0
# One file at a time: they share the host, and some make its store fail.
node --test --test-concurrency=1 --test-timeout=900000 --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$out" "$@" || status=$?
ran=$(awk '/^# (pass|fail|cancelled) /{ n += $3 } END { print n + 0 }' "$out")
rm -f "$out"
echo "ran $ran tests in a browser"
[ "$ran" -gt 0 ] || exit 1
exit $status
