import hashlib
import hmac
import os
BEGIN_TIME
from datetime import datetime, timezone
END_TIME


def verify(headers, body):
    """Whether a request is genuine.

    headers: a mapping that finds names in lower case. body: the bytes as they came, before any parsing.
    """
    secret = os.environ["WEBHOOK_SECRET"]
    if not secret:
        raise ValueError("WEBHOOK_SECRET is empty")
BEGIN_TIME

    # The signature does not cover the time, so remember the ids that you have seen as well.
    try:
        sent = datetime.fromisoformat(headers.get("HEADER_TIMESTAMP", "").replace("Z", "+00:00"))
        age = datetime.now(timezone.utc) - sent
    except (TypeError, ValueError):
        return False
    if abs(age.total_seconds()) > 300:
        return False
END_TIME

    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
    version, _, given = headers.get("HEADER_SIGNATURE", "").partition("=")
    # There are two signatures while an old secret is still valid.
    return version == "v0" and any(hmac.compare_digest(one.encode(), expected) for one in given.split(","))
