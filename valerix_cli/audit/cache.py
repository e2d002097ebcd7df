"""What Redis answers repeated orders with, held against their rows."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice

import msgspec

from valerix_cli.audit.acknowledged import Row
from valerix_cli.audit.lines import Tally
from valerix_cli.audit.model import Found

AT_MOST = 50_000
"""Answers that are looked at: Redis gives them in no order, so that is a sample where there are more."""
_AT_ONCE = 1_000
_PATIENCE = 2.0  # seconds that Redis may take for one command
_PREFIX = "idempotency:"


class CachedOrder(msgspec.Struct, frozen=True):
    """What an answer says of its order."""

    order_id: str
    item_id: str
    quantity: int
    status: str


class _Answer(msgspec.Struct, frozen=True):
    order: CachedOrder
    origin: str


class Cached(msgspec.Struct, frozen=True):
    """Answers by database and key. `why_not` says why there are none, `is_all` that they are more than a sample."""

    answers: Mapping[tuple[str, str], CachedOrder] = {}
    is_all: bool = True
    why_not: str | None = None

    def of(self, identity: str) -> dict[str, CachedOrder]:
        """The answers by key that a service of this database believes, if their signature is right."""
        wanted = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        return {key: order for (origin, key), order in self.answers.items() if origin == wanted}


_decoder = msgspec.json.Decoder(_Answer)


def read(url: str | None) -> Cached:
    """Read up to `AT_MOST` cached answers. A Redis that is away or not known has none: it may lose them at any time."""
    if url is None:
        return Cached(why_not="it is not known how to reach Redis (redis_env of the context)")
    from redis import Redis, RedisError  # noqa: PLC0415 - slow, and of no use to other commands
    from redis.backoff import NoBackoff  # noqa: PLC0415 - the same
    from redis.retry import Retry  # noqa: PLC0415 - the same

    answers: dict[tuple[str, str], CachedOrder] = {}
    try:
        with Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
        ) as client:
            names = client.scan_iter(match=f"{_PREFIX}*", count=_AT_ONCE, _type="string")
            looked_at = 0
            while looked_at < AT_MOST and (some := list(islice(names, _AT_ONCE))):
                looked_at += len(some)
                for name, raw in zip(some, client.mget(some), strict=True):
                    if (answer := _decode(raw)) is not None:
                        key = name.decode(errors="replace").removeprefix(_PREFIX)
                        answers[answer.origin, key] = answer.order
            is_all = next(names, None) is None
    except (RedisError, OSError, ValueError) as error:
        return Cached(why_not=f"Redis cannot be read ({type(error).__name__})")
    return Cached(answers, is_all)


def compare(cached: Mapping[str, CachedOrder], rows: Iterable[Row]) -> Found:
    """Hold each cached answer against the row of its key."""
    tally = Tally()
    tally.checked = len(cached)
    missing = dict(cached)
    for row in rows:
        told = missing.pop(row.key, None)
        there = CachedOrder(row.order_id, row.item_id, row.quantity, row.status)
        if told is not None and told != there:
            tally.add(row.key, f"Redis answers it with {_what(told)}, and there is {_what(there)}")
    for key, told in missing.items():
        tally.add(key, f"Redis answers it with {_what(told)}, and there is none")
    return tally.found


def _what(order: CachedOrder) -> str:
    return f"order {order.order_id}, {order.quantity} x {order.item_id}, {order.status}"


def _decode(raw: object) -> _Answer | None:
    """What is not ours, or of another version, nobody answers with."""
    try:
        return _decoder.decode(raw) if isinstance(raw, bytes) else None
    except msgspec.DecodeError:
        return None
