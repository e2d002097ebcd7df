"""The way into the dashboard: a link that works once, for minutes, made from the password that both sides know."""

import hashlib
import hmac
import secrets

LASTS = 600  # seconds


def code(password: str, now: float) -> str:
    """`<when it ends>-<a number>-<a keyed hash of both>`, as the dashboard expects it; `now` in seconds since 1970."""
    said = f"{int(now) + LASTS}-{secrets.token_hex(4)}"
    proof = hmac.digest(password.encode(), f"valerix dashboard sign-in {said}".encode(), hashlib.sha256)
    return f"{said}-{proof.hex()[:32]}"
