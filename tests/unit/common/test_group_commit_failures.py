"""Group commit: failures and cancellations reach the submitters concerned, under any schedule."""

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.group_commit import GroupCommit
from tests.unit.common.controlled_flush import BadItem, ControlledFlush, Outage, start, turns


async def test_a_bad_item_fails_alone() -> None:
    async def flush(items: list[int]) -> list[int]:
        flushed.append(items)
        if 3 in items:
            raise BadItem
        return items

    flushed: list[list[int]] = []
    group = GroupCommit("test", flush)
    results = await asyncio.gather(*start(group, 1, 2, 3, 4), return_exceptions=True)
    assert results[:2] == [1, 2]
    assert isinstance(results[2], BadItem)
    assert results[3:] == [4]
    assert flushed == [[1, 2, 3, 4], [1], [2], [3], [4]]


async def test_every_submitter_gets_its_own_failure() -> None:
    async def flush(items: list[int]) -> list[int]:
        raise BadItem(items[0]) if len(items) == 1 else BadItem("several")

    group = GroupCommit("test", flush)
    results = await asyncio.gather(*start(group, 1, 2, 3), return_exceptions=True)
    assert [result.args for result in results if isinstance(result, BadItem)] == [(1,), (2,), (3,)]


async def test_an_outage_fails_the_whole_batch_without_a_retry() -> None:
    async def flush(items: list[int]) -> list[int]:
        flushed.append(items)
        raise Outage

    flushed: list[list[int]] = []
    group = GroupCommit("test", flush, outages=(Outage,))
    results = await asyncio.gather(*start(group, 1, 2, 3), return_exceptions=True)
    assert all(isinstance(result, Outage) for result in results)
    assert flushed == [[1, 2, 3]]


async def test_the_next_item_is_served_after_a_failure() -> None:
    async def flush(items: list[int]) -> list[int]:
        if items == [1]:
            raise Outage
        return items

    group = GroupCommit("test", flush, outages=(Outage,))
    with pytest.raises(Outage):
        await group.submit(1)
    assert await group.submit(2) == 2


async def test_a_flush_with_too_few_results_fails_every_item() -> None:
    async def flush(_: list[int]) -> list[int]:
        return []

    group = GroupCommit("test", flush)
    async with asyncio.timeout(5):
        results = await asyncio.gather(*start(group, 1, 2), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)


async def test_a_cancelled_flush_cancels_its_submitters() -> None:
    async def flush(_: list[int]) -> list[int]:
        raise asyncio.CancelledError

    group = GroupCommit("test", flush)
    (task,) = start(group, 1)
    await turns()
    assert task.cancelled()


async def test_a_submitter_cancelled_before_its_flush_is_left_out() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2, 3)
    await turns()
    tasks[1].cancel()
    controlled.release_all()
    assert await asyncio.gather(*tasks[::2]) == [10, 30]
    assert controlled.batches == [[1], [3]]


async def test_a_submitter_cancelled_during_its_flush_leaves_the_others_their_results() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush)
    tasks = start(group, 1, 2, 3)
    await turns()
    tasks[1].cancel()
    await turns()
    controlled.release_all()
    assert await asyncio.gather(*tasks[::2]) == [10, 30]
    assert tasks[1].cancelled()
    assert controlled.batches == [[1, 2, 3]]


async def test_a_submitter_cancelled_before_its_batch_fails_gets_no_exception() -> None:
    async def flush(_: list[int]) -> list[int]:
        await gate.wait()
        raise Outage

    gate = asyncio.Event()
    group = GroupCommit("test", flush, outages=(Outage,))
    tasks = start(group, 1, 2)
    await turns()
    tasks[0].cancel()
    await turns()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], Outage)


Item: TypeAlias = tuple[int, int, str]  # submitter, number of the item, result


@dataclass(frozen=True)
class Submitter:
    """Waits for some turns of the event loop, then submits its items one by one; may be cancelled after some turns."""

    after: int
    items: list[str]
    cancelled_after: int | None


submitters = st.builds(
    Submitter,
    after=st.integers(0, 6),
    items=st.lists(st.sampled_from(["good", "good", "good", "bad", "outage"]), min_size=1, max_size=3),
    cancelled_after=st.none() | st.integers(0, 8),
)


@settings(max_examples=300, deadline=None)
@given(
    max_in_flight=st.integers(1, 3),
    limit=st.integers(1, 4),
    durations=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    wanted=st.lists(submitters, min_size=1, max_size=8),
)
def test_every_submitter_gets_its_own_result_under_any_schedule(
    max_in_flight: int, limit: int, durations: list[int], wanted: list[Submitter]
) -> None:
    asyncio.run(_play(max_in_flight, limit, durations, wanted))


async def _play(max_in_flight: int, limit: int, durations: list[int], wanted: list[Submitter]) -> None:
    group = GroupCommit(
        "test", _Flushes(max_in_flight, limit, durations), max_in_flight=max_in_flight, limit=limit, outages=(Outage,)
    )
    tasks = [asyncio.create_task(_submit(group, who, submitter)) for who, submitter in enumerate(wanted)]
    cancellers = [asyncio.create_task(_cancel(task, who)) for task, who in zip(tasks, wanted, strict=True)]
    for _ in range(2000):  # far more turns than all flushes can take: a task that is not done by then never will be
        if all(task.done() for task in tasks):
            break
        await asyncio.sleep(0)
    assert [who for who, task in enumerate(tasks) if not task.done()] == []
    await asyncio.gather(*cancellers)
    for task, submitter in zip(tasks, wanted, strict=True):
        if submitter.cancelled_after is None or not task.cancelled():
            task.result()
    await group.close()


class _Flushes:
    """A flush that takes a given number of turns, and fails for items of some kinds."""

    def __init__(self, max_in_flight: int, limit: int, durations: list[int]) -> None:
        self._max_in_flight, self._limit = max_in_flight, limit
        self._durations = itertools.cycle(durations)
        self._running = 0

    async def __call__(self, items: list[Item]) -> list[tuple[int, int]]:
        assert 1 <= len(items) <= self._limit
        self._running += 1
        assert self._running <= self._max_in_flight
        await turns(next(self._durations))
        self._running -= 1
        kinds = {kind for _, _, kind in items}
        if "outage" in kinds:
            raise Outage
        if "bad" in kinds:
            raise BadItem(items)
        return [(who, number) for who, number, _ in items]


async def _submit(group: GroupCommit[Item, tuple[int, int]], who: int, submitter: Submitter) -> None:
    """Each item gets its own result or failure; an outage may affect all items of a batch."""
    await turns(submitter.after)
    for number, kind in enumerate(submitter.items):
        item = (who, number, kind)
        answer = await _outcome(group.submit(item))
        if isinstance(answer, BadItem):
            assert (kind, answer.args) == ("bad", ([item],))
        elif not isinstance(answer, Outage):
            assert (kind, answer) == ("good", (who, number))


async def _outcome(submitted: Awaitable[tuple[int, int]]) -> tuple[int, int] | Exception:
    try:
        return await submitted
    except (BadItem, Outage) as error:
        return error


async def _cancel(task: asyncio.Task[None], submitter: Submitter) -> None:
    if submitter.cancelled_after is not None:
        await turns(submitter.cancelled_after)
        task.cancel()
