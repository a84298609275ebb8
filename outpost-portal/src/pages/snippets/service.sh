#!/usr/bin/env bash
# Usage: WEBHOOK_SECRET=... ./verify.sh headers.txt body.bin
# headers.txt: one "name: value" a line. body.bin: the bytes as they came. Succeeds if the request is genuine.
# For trying out: other users of the machine can see openssl's arguments.
set -euo pipefail
headers=$1 body=$2
secret=${WEBHOOK_SECRET:?is not set}

header() {
  awk -v name="$1" -F: 'tolower($1) == name { sub(/^[^:]*:[ \t]*/, ""); sub(/\r$/, ""); print; exit }' "$headers"
}
refuse() { echo "$1" >&2; exit 1; }
BEGIN_TIME

# The signature does not cover the time, so remember the ids that you have seen as well.
timestamp=$(header 'HEADER_TIMESTAMP')
[[ $timestamp =~ ^([0-9-]{10}T[0-9:]{8})(\.[0-9]+)?Z$ ]] || refuse "no timestamp"
timestamp=${BASH_REMATCH[1]}Z
# GNU's date, or else that of BSD and macOS.
sent=$(date -u -d "$timestamp" +%s 2>/dev/null || date -j -u -f '%Y-%m-%dT%H:%M:%SZ' "$timestamp" +%s)
age=$(($(date +%s) - sent))
((age <= 300 && age >= -300)) || refuse "too old, or from the future"
END_TIME

key=$(printf '%s' "$secret" | od -An -v -tx1 | tr -d ' \n')
expected=$(openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -r <"$body" | cut -d' ' -f1)
# Hashes are compared, so the time that it takes tells nothing.
hash() { printf '%s' "$1" | openssl dgst -sha256; }
expected=$(hash "$expected")
signatures=$(header 'HEADER_SIGNATURE')
[[ $signatures == v0=* ]] || refuse "no signature"
# There are two signatures while an old secret is still valid.
IFS=, read -ra list <<<"${signatures#v0=}"
for given in ${list[@]+"${list[@]}"}; do
  if [[ $(hash "$given") == "$expected" ]]; then exit 0; fi
done
refuse "no signature matches"
