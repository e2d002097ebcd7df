"""Compares the responses cached in Redis with the orders in the database."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice

import msgspec

from valerix_cli.audit.comparison import FindingBuilder
from valerix_cli.audit.journal_check import OrderRow
from valerix_cli.audit.model import Finding

MAX_ENTRIES = 50_000
"""Cache entries that are read. Redis returns keys in no order, so a larger cache is sampled."""
_BATCH_SIZE = 1_000
_TIMEOUT = 2.0  # seconds for one command
_PREFIX = "idempotency:"


class CachedOrder(msgspec.Struct, frozen=True):
    """The order in a cached response."""

    order_id: str
    item_id: str
    quantity: int
    status: str


class _CacheEntry(msgspec.Struct, frozen=True):
    order: CachedOrder
    origin: str


class CachedResponses(msgspec.Struct, frozen=True):
    """Cached orders by database digest and key.

    `unavailable_reason` is set if none could be read; `is_complete` is false if only a sample was read.
    """

    orders: Mapping[tuple[str, str], CachedOrder] = {}
    is_complete: bool = True
    unavailable_reason: str | None = None

    def for_database(self, identity: str) -> dict[str, CachedOrder]:
        """Return the orders by key that a service of this database would return, if their signature is valid."""
        digest = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        return {key: order for (origin, key), order in self.orders.items() if origin == digest}


_decoder = msgspec.json.Decoder(_CacheEntry)


def read(url: str | None) -> CachedResponses:
    """Read up to `MAX_ENTRIES` cached responses; none if Redis is unreachable or unknown (its content is optional)."""
    if url is None:
        return CachedResponses(unavailable_reason="it is not known how to reach Redis (redis_env of the context)")
    from redis import Redis, RedisError  # noqa: PLC0415 - slow, and other commands do not need it
    from redis.backoff import NoBackoff  # noqa: PLC0415 - the same
    from redis.retry import Retry  # noqa: PLC0415 - the same

    orders: dict[tuple[str, str], CachedOrder] = {}
    try:
        with Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0)
        ) as client:
            names = client.scan_iter(match=f"{_PREFIX}*", count=_BATCH_SIZE, _type="string")
            entries_read = 0
            while entries_read < MAX_ENTRIES and (batch := list(islice(names, _BATCH_SIZE))):
                entries_read += len(batch)
                for name, raw in zip(batch, client.mget(batch), strict=True):
                    if (entry := _decode(raw)) is not None:
                        key = name.decode(errors="replace").removeprefix(_PREFIX)
                        orders[entry.origin, key] = entry.order
            is_complete = next(names, None) is None
    except (RedisError, OSError, ValueError) as error:
        return CachedResponses(unavailable_reason=f"Redis cannot be read ({type(error).__name__})")
    return CachedResponses(orders, is_complete)


def compare(cached: Mapping[str, CachedOrder], rows: Iterable[OrderRow]) -> Finding:
    """Compare each cached order with the stored order of its key."""
    builder = FindingBuilder()
    builder.checked = len(cached)
    missing = dict(cached)
    for row in rows:
        order = missing.pop(row.key, None)
        stored = CachedOrder(row.order_id, row.item_id, row.quantity, row.status)
        if order is not None and order != stored:
            builder.add(row.key, f"the cache has {_describe(order)}, and the database has {_describe(stored)}")
    for key, order in missing.items():
        builder.add(key, f"the cache has {_describe(order)}, and the database has no order for this key")
    return builder.finding


def _describe(order: CachedOrder) -> str:
    return f"order {order.order_id}, {order.quantity} x {order.item_id}, {order.status}"


def _decode(raw: object) -> _CacheEntry | None:
    """Return None for entries of other programs or other versions; the services ignore them too."""
    try:
        return _decoder.decode(raw) if isinstance(raw, bytes) else None
    except msgspec.DecodeError:
        return None
