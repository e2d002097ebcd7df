"""Group commit: the composition of batches, the order of flushes, and the propagation of failures."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common import request_context
from services.common.group_commit import BatchResult, GroupCommit


class BadItem(Exception):  # noqa: N818 - named for the failure of one item
    pass


class Outage(Exception):  # noqa: N818 - named for the reason of a failed flush
    pass


@dataclass
class Desk:
    """A flush that holds its batches until they are released, and records them."""

    answer: Callable[[int], Any] = lambda item: item * 10
    batches: list[list[int]] = field(default_factory=list)
    _gates: list[asyncio.Event] = field(default_factory=list)
    _open: bool = False

    async def flush(self, items: list[int]) -> list[Any]:
        self.batches.append(items)
        gate = asyncio.Event()
        self._gates.append(gate)
        if not self._open:
            await gate.wait()
        return [self.answer(item) for item in items]

    def release(self, number: int) -> None:
        self._gates[number].set()

    def release_all(self) -> None:
        self._open = True
        for gate in self._gates:
            gate.set()


async def turns(count: int = 5) -> None:
    """Let every runnable task run."""
    for _ in range(count):
        await asyncio.sleep(0)


def start(group: GroupCommit[int, Any], *items: int) -> list[asyncio.Future[Any]]:
    return [group.submit(item) for item in items]


async def test_a_single_item_is_flushed_without_a_wait_or_a_timer() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush)
    (only,) = start(group, 1)
    await turns(3)  # one for the submitter, two for its lane, which checks for more items
    assert desk.batches == [[1]]
    desk.release_all()
    assert await only == 10


async def test_results_are_returned_before_the_flush_slot_is_free() -> None:
    free, batches = asyncio.Event(), []

    async def flush(items: list[int]) -> BatchResult[int]:
        batches.append(items)
        return BatchResult([item * 10 for item in items], free.wait())

    group = GroupCommit("test", flush)
    assert await asyncio.gather(*start(group, 1, 2)) == [10, 20]
    waiting = start(group, 3, 4)
    await turns()
    assert batches == [[1, 2]]
    free.set()
    assert await asyncio.gather(*waiting) == [30, 40]
    await group.close()


async def test_only_submitters_that_waited_too_long_time_out() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, timeout=0.05)
    (slow,) = start(group, 1)
    await asyncio.wait([slow], timeout=5)
    assert isinstance(slow.exception(), TimeoutError)
    (waits,) = start(group, 2)
    desk.release_all()
    assert await waits == 20
    assert desk.batches == [[1], [2]]


async def test_an_item_that_timed_out_before_a_flush_is_not_flushed() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, timeout=0.05)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2)
    await asyncio.wait(tasks, timeout=5)
    desk.release_all()
    await group.close()
    assert [type(task.exception()) for task in tasks] == [TimeoutError, TimeoutError]
    assert desk.batches == [[1]]


async def test_no_timer_runs_while_no_submitter_waits() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, timeout=0.02)
    desk.release_all()
    assert await asyncio.gather(*start(group, *range(5))) == [0, 10, 20, 30, 40]
    async with asyncio.timeout(5):
        while group._next_check is not None:  # noqa: SLF001 - a leaked timer is visible only here
            await turns()
    assert not group._deadlines  # noqa: SLF001 - nor references to its items


async def test_items_that_arrive_during_a_flush_share_the_next() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2, 3, 4)
    await turns()
    assert desk.batches == [[1]]
    desk.release(0)
    await turns()
    assert desk.batches == [[1], [2, 3, 4]]
    desk.release_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_items_submitted_in_consecutive_loop_iterations_share_a_batch() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, max_in_flight=2)
    tasks = start(group, 1)
    for item in range(2, 9):
        await turns(1)
        tasks += start(group, item)
    await turns()
    assert desk.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]
    desk.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(1, 9)]


async def test_a_full_batch_is_flushed_without_waiting_for_more() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, limit=3)
    tasks = []
    for item in range(6):
        tasks += start(group, item)
        await turns(1)
    assert desk.batches == [[0, 1, 2]]
    desk.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(6)]


async def test_max_in_flight_limits_concurrent_flushes() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, max_in_flight=2)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2)
    await turns()
    tasks += start(group, 3, 4)
    await turns()
    assert desk.batches == [[1], [2]]
    desk.release(1)
    await turns()
    assert desk.batches == [[1], [2], [3, 4]]
    desk.release_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_a_batch_holds_at_most_the_limit() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, limit=3)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, *range(2, 10))
    await turns()
    desk.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(1, 10)]
    assert desk.batches == [[1], [2, 3, 4], [5, 6, 7], [8, 9]]


async def test_a_submitter_may_submit_again_as_soon_as_it_has_its_result() -> None:
    """The lane that answered it has seen an empty queue by then, and must not count as running any more."""
    desk = Desk()
    desk.release_all()
    group = GroupCommit("test", desk.flush)
    async with asyncio.timeout(5):
        assert [await group.submit(item) for item in range(20)] == [item * 10 for item in range(20)]


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
    desk = Desk()
    group = GroupCommit("test", desk.flush)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2, 3)
    await turns()
    tasks[1].cancel()
    desk.release_all()
    assert await asyncio.gather(*tasks[::2]) == [10, 30]
    assert desk.batches == [[1], [3]]


async def test_a_submitter_cancelled_during_its_flush_leaves_the_others_their_results() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush)
    tasks = start(group, 1, 2, 3)
    await turns()
    tasks[1].cancel()
    await turns()
    desk.release_all()
    assert await asyncio.gather(*tasks[::2]) == [10, 30]
    assert tasks[1].cancelled()
    assert desk.batches == [[1, 2, 3]]


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


async def test_a_flush_has_no_request_id() -> None:
    """Its log lines must not carry the request id of the first request."""

    async def flush(items: list[int]) -> list[str]:
        return [request_context.request_id.get() for _ in items]

    group = GroupCommit("test", flush)
    before = request_context.request_id.set("request-7")
    try:
        assert await group.submit(1) == ""
    finally:
        request_context.request_id.reset(before)


async def test_close_waits_for_all_submitted_items() -> None:
    desk = Desk()
    group = GroupCommit("test", desk.flush, max_in_flight=2, limit=1)
    tasks = start(group, *range(6))
    await turns()
    closing = asyncio.create_task(group.close())
    await turns()
    assert not closing.done()
    desk.release_all()
    await closing
    assert all(task.done() or task._fut_waiter.done() for task in tasks)  # type: ignore[attr-defined]  # noqa: SLF001 - a result on its way counts
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(6)]


async def test_closing_an_unused_group_does_not_wait() -> None:
    desk = Desk()
    await GroupCommit("test", desk.flush).close()


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
