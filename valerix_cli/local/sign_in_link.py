"""Single-use sign-in codes for the dashboard, signed with its password; the frontend's `sign_in.py` verifies them."""

import hashlib
import secrets

from itsdangerous import URLSafeSerializer

CODE_SECONDS = 600
_SALT = "valerix dashboard sign-in"
_SIGNER = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def code(password: str, now: float) -> str:
    """Return a code that is valid for `CODE_SECONDS` from `now`, in seconds since 1970."""
    serializer = URLSafeSerializer(password, _SALT, signer_kwargs=_SIGNER)
    return str(serializer.dumps([int(now) + CODE_SECONDS, secrets.token_hex(8)]))
