"""Group commit: the composition of batches, the order of flushes, and timeouts."""

import asyncio

from services.common import request_context
from services.common.group_commit import BatchResult, GroupCommit
from tests.unit.common.controlled_flush import ControlledFlush, start, turns


async def test_a_single_item_is_flushed_without_a_wait_or_a_timer() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush)
    (only,) = start(group, 1)
    await turns(3)  # one for the submitter, two for its lane, which checks for more items
    assert controlled.batches == [[1]]
    controlled.release_all()
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
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, timeout=0.05)
    (slow,) = start(group, 1)
    await asyncio.wait([slow], timeout=5)
    assert isinstance(slow.exception(), TimeoutError)
    (waits,) = start(group, 2)
    controlled.release_all()
    assert await waits == 20
    assert controlled.batches == [[1], [2]]


async def test_an_item_that_timed_out_before_a_flush_is_not_flushed() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, timeout=0.05)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2)
    await asyncio.wait(tasks, timeout=5)
    controlled.release_all()
    await group.close()
    assert [type(task.exception()) for task in tasks] == [TimeoutError, TimeoutError]
    assert controlled.batches == [[1]]


async def test_no_timer_runs_while_no_submitter_waits() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, timeout=0.02)
    controlled.release_all()
    assert await asyncio.gather(*start(group, *range(5))) == [0, 10, 20, 30, 40]
    async with asyncio.timeout(5):
        while group._next_check is not None:  # noqa: SLF001 - a leaked timer is visible only here
            await turns()
    assert not group._deadlines  # noqa: SLF001 - nor references to its items


async def test_items_that_arrive_during_a_flush_share_the_next() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2, 3, 4)
    await turns()
    assert controlled.batches == [[1]]
    controlled.release(0)
    await turns()
    assert controlled.batches == [[1], [2, 3, 4]]
    controlled.release_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_items_submitted_in_consecutive_loop_iterations_share_a_batch() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, max_in_flight=2)
    tasks = start(group, 1)
    for item in range(2, 9):
        await turns(1)
        tasks += start(group, item)
    await turns()
    assert controlled.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]
    controlled.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(1, 9)]


async def test_a_full_batch_is_flushed_without_waiting_for_more() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, limit=3)
    tasks = []
    for item in range(6):
        tasks += start(group, item)
        await turns(1)
    assert controlled.batches == [[0, 1, 2]]
    controlled.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(6)]


async def test_max_in_flight_limits_concurrent_flushes() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, max_in_flight=2)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, 2)
    await turns()
    tasks += start(group, 3, 4)
    await turns()
    assert controlled.batches == [[1], [2]]
    controlled.release(1)
    await turns()
    assert controlled.batches == [[1], [2], [3, 4]]
    controlled.release_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_a_batch_holds_at_most_the_limit() -> None:
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, limit=3)
    tasks = start(group, 1)
    await turns()
    tasks += start(group, *range(2, 10))
    await turns()
    controlled.release_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(1, 10)]
    assert controlled.batches == [[1], [2, 3, 4], [5, 6, 7], [8, 9]]


async def test_a_submitter_may_submit_again_as_soon_as_it_has_its_result() -> None:
    """The lane that answered it has seen an empty queue by then, and must not count as running any more."""
    controlled = ControlledFlush()
    controlled.release_all()
    group = GroupCommit("test", controlled.flush)
    async with asyncio.timeout(5):
        assert [await group.submit(item) for item in range(20)] == [item * 10 for item in range(20)]


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
    controlled = ControlledFlush()
    group = GroupCommit("test", controlled.flush, max_in_flight=2, limit=1)
    tasks = start(group, *range(6))
    await turns()
    closing = asyncio.create_task(group.close())
    await turns()
    assert not closing.done()
    controlled.release_all()
    await closing
    assert all(task.done() or task._fut_waiter.done() for task in tasks)  # type: ignore[attr-defined]  # noqa: SLF001 - a result on its way counts
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(6)]


async def test_closing_an_unused_group_does_not_wait() -> None:
    controlled = ControlledFlush()
    await GroupCommit("test", controlled.flush).close()
