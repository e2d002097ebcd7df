"""What one process notes of a lease: every roll, whom it hit, and what of that is told."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from services.inventory.gremlins import Hit, Wish, grant
from services.inventory.leases import HITS_KEPT, Lease
from services.inventory.registry import Counts, Tally


def lease(**wish: Any) -> Lease:
    activation = grant(msgspec.convert(wish, Wish), "a1", 7, datetime(2026, 1, 1, tzinfo=UTC))
    return Lease(activation, time.monotonic() + 60)


def test_each_roll_is_counted_and_each_hit_is_noted() -> None:
    diced = lease(crash_rate=0.5)
    hit = [UUID(int=number) for number in range(100) if diced.roll("crash", UUID(int=number), 1)]
    assert 0 < len(hit) < 100
    assert diced.counts == Counts(crash=Tally(rolls=100, hits=len(hit)))
    assert diced.hits == [Hit("crash", order, 1) for order in hit]


def test_beyond_the_bound_hits_are_counted_and_no_longer_kept() -> None:
    busy = lease(crash_rate=1.0)
    for number in range(HITS_KEPT + 1):
        busy.roll("crash", UUID(int=number), 1)
    assert busy.counts.hits == HITS_KEPT + 1 == 10_001
    assert len(busy.hits) == HITS_KEPT


def test_a_report_goes_on_where_the_last_one_that_was_told_ended() -> None:
    telling = lease(crash_rate=1.0)
    assert telling.has_news  # namely that it is followed
    for number in range(5):
        telling.roll("crash", UUID(int=number), 1)
    lost, first = telling.report(3), telling.report(3)
    telling.note_told(first)
    assert lost == first
    assert (first.first, first.hits, first.counts.hits) == (0, telling.hits[:3], 5)
    rest = telling.report(3)
    assert (rest.first, rest.hits) == (3, telling.hits[3:])
    news = [telling.has_news]
    telling.note_told(rest)
    news.append(telling.has_news)
    telling.note_forgotten()
    assert [*news, telling.has_news] == [True, False, True]
    assert telling.report(9).hits == telling.hits


def test_a_report_is_not_changed_by_what_comes_after_it() -> None:
    telling = lease(crash_rate=1.0)
    telling.roll("crash", UUID(int=1), 1)
    told = telling.report(9)
    telling.roll("crash", UUID(int=2), 1)
    telling.note_told(told)
    assert (told.counts.hits, len(told.hits)) == (1, 1)
    assert telling.has_news
