#!/usr/bin/env bash
# Usage: WEBHOOK_SECRET=... ./verify.sh headers.txt body.bin
# headers.txt: one "name: value" a line. body.bin: the bytes as they came. Succeeds if the request is genuine and
# not older than five minutes. For trying out: other users of the machine can see openssl's arguments.
set -euo pipefail
headers=$1 body=$2
secret=${WEBHOOK_SECRET:?is not set}
[[ $secret == whsec_* ]] || { echo "WEBHOOK_SECRET is not a secret of a webhook" >&2; exit 2; }

header() {
  awk -v name="$1" -F: 'tolower($1) == name { sub(/^[^:]*:[ \t]*/, ""); sub(/\r$/, ""); print; exit }' "$headers"
}
refuse() { echo "$1" >&2; exit 1; }

id=$(header 'HEADER_ID') timestamp=$(header 'HEADER_TIMESTAMP') signatures=$(header 'HEADER_SIGNATURE')
[[ $timestamp =~ ^[0-9]{1,12}$ ]] || refuse "no timestamp"
age=$(($(date +%s) - 10#$timestamp))
((age <= 300 && age >= -300)) || refuse "too old, or from the future"

encoded=${secret#whsec_}
while ((${#encoded} % 4)); do encoded="$encoded="; done
key=$(printf '%s' "$encoded" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
mac=$({ printf '%s.%s.' "$id" "$timestamp"; cat "$body"; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
# Hashes are compared, so the time that it takes tells nothing.
hash() { printf '%s' "$1" | openssl dgst -sha256; }
expected=$(hash "v1,$mac")
# There are two signatures while an old secret is still valid.
for given in $signatures; do
  if [[ $(hash "$given") == "$expected" ]]; then exit 0; fi
done
refuse "no signature matches"
