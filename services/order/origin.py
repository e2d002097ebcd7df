"""Identifies the database that a cached response came from, and signs responses for it.

A cache entry is signed with a secret that only this database holds, and names the database: its system identifier, its
timeline, its oid, the table of orders, and the server's start time. So an entry is invalid after a restore of any kind,
after a failover, or if it was written without the secret.
"""

import hashlib
import hmac
import math
import time
import uuid
from collections.abc import Callable
from typing import Self

import msgspec

TRUST_SECONDS = 3.0  # an identity is trusted this long after it was read
_SIGNATURE = 16  # bytes


class Seal(msgspec.Struct, frozen=True):
    """Signs and verifies cache entries of one database. `origin` names it and is not secret."""

    origin: str
    secret: bytes

    def sign(self, *parts: bytes) -> str:
        """Return the signature of `parts` in hex. The boundaries between parts are signed too."""
        digest = hashlib.blake2b(self.origin.encode(), key=self.secret, digest_size=_SIGNATURE)
        for part in parts:
            digest.update(len(part).to_bytes(4))
            digest.update(part)
        return digest.hexdigest()

    def is_signed(self, signature: str, *parts: bytes) -> bool:
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


class Origin:
    """The last known identity of the database. It is forgotten during an outage, since another server may take over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seal: Seal | None = None
        self._learned: tuple[str, str] | None = None
        self._trusted_until = 0.0

    @classmethod
    def of_process(cls) -> Self:
        """Return an origin of no database that is always known, for tests and single processes."""
        origin = cls(clock=lambda: -math.inf)
        origin.learn(uuid.uuid4().hex, uuid.uuid4().hex)
        origin._trusted_until = 0.0
        return origin

    @property
    def seal(self) -> Seal | None:
        """The seal of the current database; None while its identity is unknown."""
        return self._seal if self._clock() < self._trusted_until else None

    @property
    def was_learned(self) -> bool:
        """True if the identity was known at any time."""
        return self._learned is not None

    def learn(self, identity: str, secret: str) -> None:
        """Store the identity that the database has just returned."""
        self._trusted_until = self._clock() + TRUST_SECONDS
        if self._learned != (identity, secret):
            self._learned = identity, secret
            key = hashlib.blake2b(secret.encode(), digest_size=hashlib.blake2b.MAX_KEY_SIZE).digest()
            self._seal = Seal(name_of(identity), key)

    def forget(self) -> None:
        self._trusted_until = 0.0


def name_of(identity: str) -> str:
    """Return a hash of a database's identity, 32 characters."""
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
