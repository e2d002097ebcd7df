"""The audit compares cached responses with the stored orders."""

import hashlib

import msgspec

from tests.unit.audit.buckets import violations
from valerix_cli.audit import cache
from valerix_cli.audit.cache import CachedOrder, CachedResponses
from valerix_cli.audit.journal_check import OrderRow
from valerix_cli.audit.model import Finding

ROW = OrderRow("a-key", "id-1", "confirmed", "ps5", 1)
CACHED = CachedOrder("id-1", "ps5", 1, "confirmed")


def test_a_cached_order_that_differs_from_the_stored_one_is_a_violation() -> None:
    other = msgspec.structs.replace(ROW, key="not-cached")
    assert cache.compare({"a-key": CACHED}, [ROW, other]) == Finding(1, 0, [])
    assert violations(cache.compare({"a-key": CACHED}, [msgspec.structs.replace(ROW, status="failed")])) == [
        (
            "a-key",
            "the cache has order id-1, 1 x ps5, confirmed, and the database has order id-1, 1 x ps5, failed",
        )
    ]


def test_a_cached_order_that_is_not_stored_is_a_violation() -> None:
    assert violations(cache.compare({"a-key": CACHED}, [])) == [
        ("a-key", "the cache has order id-1, 1 x ps5, confirmed, and the database has no order for this key")
    ]


def test_only_cache_entries_of_the_audited_database_count() -> None:
    digest = hashlib.blake2b(b"this database", digest_size=16).hexdigest()
    cached = CachedResponses({("elsewhere", "a-key"): CACHED, (digest, "b-key"): CACHED})
    assert cached.for_database("this database") == {"b-key": CACHED}
    assert cached.for_database("another database") == {}
    assert (cached.is_complete, cached.unavailable_reason) == (True, None)


def test_a_cache_entry_of_another_version_is_ignored() -> None:
    valid = b'{"order":{"order_id":"id-1","item_id":"ps5","quantity":1,"status":"confirmed"},"origin":"here"}'
    entry = cache._decode(valid)  # noqa: SLF001 - the decoder of an entry
    assert entry is not None
    assert (entry.order, entry.origin) == (CACHED, "here")
    assert cache._decode(b'{"v":2}') is None  # noqa: SLF001 - the same
    assert cache._decode(None) is None  # noqa: SLF001 - the same
