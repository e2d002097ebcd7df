"""A process's record of a lease: rolls, hits, and reports of them."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from services.inventory.chaos_leases import MAX_HITS, Lease
from services.inventory.chaos_store import Counts, HitCount
from services.inventory.gremlins import EMPTY_SCRIPT, ActivationRequest, Hit, Script, build_activation


def lease(script: Script = EMPTY_SCRIPT, **wish: Any) -> Lease:
    wanted = msgspec.convert(wish | ({"script": [*script]} if script else {}), ActivationRequest)
    activation = build_activation(wanted, "a1", 7, datetime(2026, 1, 1, tzinfo=UTC))
    return Lease(activation, time.monotonic() + 60, script)


def test_every_decision_is_counted_and_every_hit_recorded() -> None:
    diced = lease(crash_rate=0.5)
    hit = [UUID(int=number) for number in range(100) if diced.should_inject("crash", UUID(int=number), 1)]
    assert 0 < len(hit) < 100
    assert diced.counts == Counts(crash=HitCount(rolls=100, hits=len(hit)))
    assert diced.hits == [Hit("crash", order, 1) for order in hit]


def test_a_script_decides_hits_and_counts_spared_attempts() -> None:
    second = Hit("latency", UUID(int=2), 1)
    scripted = lease(frozenset([second]), latency=True, latency_rate=0.01)
    assert [scripted.should_inject("latency", UUID(int=number), 1) for number in (1, 2, 3)] == [False, True, False]
    assert not scripted.should_inject("latency", second.order_id, 2)
    assert scripted.counts == Counts(latency=HitCount(rolls=4, hits=1))
    assert scripted.hits == [second]


def test_an_ended_lease_hits_nothing_of_its_script() -> None:
    first = Hit("crash", UUID(int=1), 1)
    scripted = lease(frozenset([first]), crash_rate=1.0)
    scripted.end()
    assert not scripted.should_inject("crash", first.order_id, 1)
    assert (scripted.counts, scripted.hits) == (Counts(), [])


def test_hits_beyond_the_bound_are_counted_but_not_kept() -> None:
    busy = lease(crash_rate=1.0)
    for number in range(MAX_HITS + 1):
        busy.should_inject("crash", UUID(int=number), 1)
    assert busy.counts.hits == MAX_HITS + 1 == 10_001
    assert len(busy.hits) == MAX_HITS


def test_a_report_continues_after_the_last_acknowledged_one() -> None:
    telling = lease(crash_rate=1.0)
    assert telling.has_unreported  # the acknowledgement of the activation
    for number in range(5):
        telling.should_inject("crash", UUID(int=number), 1)
    lost, first = telling.report(3), telling.report(3)
    telling.mark_reported(first)
    assert lost == first
    assert (first.first, first.hits, first.counts.hits) == (0, telling.hits[:3], 5)
    rest = telling.report(3)
    assert (rest.first, rest.hits) == (3, telling.hits[3:])
    news = [telling.has_unreported]
    telling.mark_reported(rest)
    news.append(telling.has_unreported)
    telling.mark_unreported()
    assert [*news, telling.has_unreported] == [True, False, True]
    assert telling.report(9).hits == telling.hits


def test_a_report_is_not_changed_by_later_hits() -> None:
    telling = lease(crash_rate=1.0)
    telling.should_inject("crash", UUID(int=1), 1)
    first_report = telling.report(9)
    telling.should_inject("crash", UUID(int=2), 1)
    telling.mark_reported(first_report)
    assert (first_report.counts.hits, len(first_report.hits)) == (1, 1)
    assert telling.has_unreported
