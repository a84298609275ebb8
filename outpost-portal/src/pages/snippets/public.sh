#!/usr/bin/env bash
# Usage: WEBHOOK_PUBLIC_KEY=... ./verify.sh headers.txt body.bin    (openssl 3)
# headers.txt: one "name: value" a line. body.bin: the bytes as they came. Succeeds if the request is genuine and
# not older than five minutes.
set -euo pipefail
headers=$1 body=$2
public=${WEBHOOK_PUBLIC_KEY:?is not set}
[[ $public == whpk_* ]] || { echo "WEBHOOK_PUBLIC_KEY is not a public key of a webhook" >&2; exit 2; }

header() {
  awk -v name="$1" -F: 'tolower($1) == name { sub(/^[^:]*:[ \t]*/, ""); sub(/\r$/, ""); print; exit }' "$headers"
}
refuse() { echo "$1" >&2; exit 1; }

id=$(header 'HEADER_ID') timestamp=$(header 'HEADER_TIMESTAMP') signatures=$(header 'HEADER_SIGNATURE')
[[ $timestamp =~ ^[0-9]{1,12}$ ]] || refuse "no timestamp"
age=$(($(date +%s) - 10#$timestamp))
((age <= 300 && age >= -300)) || refuse "too old, or from the future"

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
# What every ed25519 key begins with when it is written in DER.
{ printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'; printf '%s' "${public#whpk_}" | openssl base64 -d -A; } >"$dir/key"
{ printf '%s.%s.' "$id" "$timestamp"; cat "$body"; } >"$dir/signed"
# There are two signatures while an old key is still valid.
for given in $signatures; do
  [[ $given == v1a,* ]] || continue
  printf '%s' "${given#v1a,}" | openssl base64 -d -A >"$dir/signature"
  if openssl pkeyutl -verify -pubin -inkey "$dir/key" -keyform DER -rawin -in "$dir/signed" -sigfile "$dir/signature" >/dev/null; then
    exit 0
  fi
done
refuse "no signature matches"
