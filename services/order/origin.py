"""Which database a cached answer is from, and the proof of it.

An answer is signed with a secret that only this database holds, and names the database: its system identifier, its
timeline, its own id, the table of orders, and when the server was started. So an answer is worth nothing after a
restore, in whatever way, after a failover, or when somebody without the secret has written it.
"""

import hashlib
import hmac
import math
import time
import uuid
from collections.abc import Callable
from typing import Self

import msgspec

BELIEVED_FOR = 3.0  # seconds since the database was last asked who it is
_SIGNATURE = 16  # bytes


class Seal(msgspec.Struct, frozen=True):
    """Signs and checks answers of one database; `origin` names it, and is no secret."""

    origin: str
    secret: bytes

    def sign(self, *parts: bytes) -> str:
        """The signature of `parts`, in hex; where one ends and the next begins counts."""
        digest = hashlib.blake2b(self.origin.encode(), key=self.secret, digest_size=_SIGNATURE)
        for part in parts:
            digest.update(len(part).to_bytes(4))
            digest.update(part)
        return digest.hexdigest()

    def is_signed(self, signature: str, *parts: bytes) -> bool:
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


class Origin:
    """The database as it was last heard of. It is forgotten when it cannot be asked: it may be another one since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seal: Seal | None = None
        self._learned: tuple[str, str] | None = None
        self._believed_until = 0.0

    @classmethod
    def of_process(cls) -> Self:
        """One that is no database's and always known."""
        origin = cls(clock=lambda: -math.inf)
        origin.learn(uuid.uuid4().hex, uuid.uuid4().hex)
        origin._believed_until = 0.0
        return origin

    @property
    def seal(self) -> Seal | None:
        """What to sign and check with; None while it is not known which database is there."""
        return self._seal if self._clock() < self._believed_until else None

    @property
    def was_learned(self) -> bool:
        """Whether it was known at any time."""
        return self._learned is not None

    def learn(self, identity: str, secret: str) -> None:
        """Take in what the database has just said of itself."""
        self._believed_until = self._clock() + BELIEVED_FOR
        if self._learned != (identity, secret):
            self._learned = identity, secret
            key = hashlib.blake2b(secret.encode(), digest_size=hashlib.blake2b.MAX_KEY_SIZE).digest()
            self._seal = Seal(name_of(identity), key)

    def forget(self) -> None:
        self._believed_until = 0.0


def name_of(identity: str) -> str:
    """A database's identity in 32 characters."""
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
