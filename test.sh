#!/usr/bin/env bash
# Everything that must hold, in one run. Fails at the first thing that does not; skips nothing.
# `QUICK=1 ./test.sh` leaves out the release builds (quickstart and bench) while working.
set -euo pipefail
cd "$(dirname "$0")"

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
started=$SECONDS
step() { printf '\n== %s (%ss)\n' "$1" "$((SECONDS - started))"; }

step "what the tests need"
need=()
command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or later from https://rustup.rs"; exit 1; }
command -v cc >/dev/null || need+=(gcc libc6-dev)
# The portal's tests drive a real browser, and run the code it shows its users.
command -v chromium >/dev/null || need+=(chromium)
command -v node >/dev/null || need+=(nodejs)
command -v npm >/dev/null || need+=(npm)
command -v python3 >/dev/null || need+=(python3)
command -v openssl >/dev/null || need+=(openssl)
command -v go >/dev/null || need+=(golang-go)
if [ "${#need[@]}" -gt 0 ]; then
    echo "missing, to be installed: ${need[*]}"
    if [ "$(id -u)" = 0 ]; then
        apt-get update -q && apt-get install -qy --no-install-recommends "${need[@]}"
    else
        echo "run this first: sudo apt-get install -y ${need[*]}"
        exit 1
    fi
else
    echo "nothing is missing"
fi
[ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 20 ] || { echo "Node.js 20 or later is needed, this is $(node --version)"; exit 1; }
for part in rustfmt clippy; do
    cargo "${part/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$part"
done

step "format"
cargo fmt --all --check

step "clippy: all features, default features, no default features"
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
cargo clippy --locked --workspace -- -D warnings
cargo clippy --locked -p outpost-core -p outpost-store-sqlite --no-default-features -- -D warnings
cargo clippy --locked -p outpost-portal -- -D warnings

step "tests and doctests, all features"
cargo test --locked --workspace --all-features --no-fail-fast 2>&1 | tee "$log/tests"

step "the portal in a browser"
cargo build --locked --workspace --all-features --bins --examples
(cd tests/browser && { [ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund; })
# In two halves side by side, each with a host of its own: browsers mostly wait.
others=$(cd tests/browser && ls ./*.test.mjs | grep -vE '^./(pages|weight)')
tests/browser/run.sh pages.test.mjs weight.test.mjs >"$log/browser-pages" 2>&1 &
pages=$!
# shellcheck disable=SC2086 # one word for each file
tests/browser/run.sh $others 2>&1 | tee "$log/browser"
wait $pages || { grep -vE '^ *(✔|▶)' "$log/browser-pages" | tail -n 200; exit 1; }

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --all-features --no-deps --lib

if [ -z "${QUICK:-}" ]; then
    step "quickstart, as the README runs it"
    cargo build --locked --release --bin quickstart --bin pipeline --bin metrics --bin portal
    quickstart=$PWD/target/release/quickstart
    (cd "$log" && "$quickstart" --events 200 | tee quickstart | tail -n 1)
    grep -q ' 0 given up, 0 left for the next start' "$log/quickstart"
    for percent in 50 70 90 100; do grep -q "initech/crm: .* in a row failed, $percent % of 20" "$log/quickstart"; done
    grep -q 'initech/crm: 20 attempts in a row failed; last error: the receiver answered 500' "$log/quickstart"
    grep -q 'all 14 events have arrived' "$log/quickstart"
    for key in outpost.key outpost.tokens.key; do test "$(find "$log/$key" -perm 600)" = "$log/$key"; done
    head -n 1 "$log/quickstart" | grep -q '^portal: http://127.0.0.1:'
    # Killed half-way it goes on where it stopped.
    (cd "$log" && timeout -s KILL 3 "$quickstart" --events 1000 >killed || true)
    (cd "$log" && "$quickstart" --events 20 | tee again | tail -n 1)
    grep -q 'are left from an earlier run' "$log/again"
    grep -q ' 0 given up, 0 left for the next start' "$log/again"

    step "bench, one short round to see that it runs"
    target/release/pipeline --rounds 1 --events 2000
    target/release/metrics --small 500 --large 5000 --queries 20
    target/release/portal --small 500 --large 5000 --visits 20
fi

step "sum"
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 } END {
    printf "%d passed, %d failed, %d skipped; ", passed, failed, ignored
    exit failed > 0 || passed == 0 || ignored > 0
}' "$log/tests"
cat "$log/browser" "$log/browser-pages" | awk '/^ran [0-9]+ tests/ { ran += $2 } END { print ran " in a browser"; exit ran == 0 }'
