"""The Idempotency-Key header, after draft-ietf-httpapi-idempotency-key-header."""

import re

from services.common.refusals import Refusal

KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


class IdempotencyKeyMissing(Refusal):
    slug, status, title = "idempotency-key-missing", 400, "An Idempotency-Key header is needed"


class IdempotencyKeyInvalid(Refusal):
    slug, status, title = "idempotency-key-invalid", 400, "This Idempotency-Key is not well formed"


class IdempotencyKeyReused(Refusal):
    slug, status, title = "idempotency-key-reused", 422, "This key belongs to a request with another body"


def parse_key(values: list[str]) -> str:
    """Return the single key among the header's values, bare or as a quoted string.

    Raises IdempotencyKeyMissing or IdempotencyKeyInvalid.
    """
    if not values:
        raise IdempotencyKeyMissing("Send one: any text of your own, new for each request, the same on each retry")
    if len(values) > 1:
        raise IdempotencyKeyInvalid(f"Send one Idempotency-Key, not {len(values)}")
    key = values[0].strip(" \t")  # optional whitespace of HTTP; str.strip would also remove control characters
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("1 to 255 characters of A-Z a-z 0-9 _ . : -, or the same as a quoted string")
    return key
