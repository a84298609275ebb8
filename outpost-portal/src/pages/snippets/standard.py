import base64
import hashlib
import hmac
import os
import time


def verify(headers, body):
    """Whether a request is genuine and not older than five minutes.

    headers: a mapping that finds names in lower case. body: the bytes as they came, before any parsing.
    """
    secret = os.environ["WEBHOOK_SECRET"]
    if not secret.startswith("whsec_"):
        raise ValueError("WEBHOOK_SECRET is not a secret of a webhook")
    key = base64.b64decode(secret[len("whsec_"):] + "==")

    event_id = headers.get("HEADER_ID", "")
    timestamp = headers.get("HEADER_TIMESTAMP", "")
    signatures = headers.get("HEADER_SIGNATURE", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(time.time() - int(timestamp)) > 300:
        return False

    signed = f"{event_id}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # There are two signatures while an old secret is still valid.
    return any(hmac.compare_digest(given.encode(), expected) for given in signatures.split(" "))
