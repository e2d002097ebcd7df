"""Work beside the requests outlives its failures and ends when it is told to."""

import asyncio

from services.common.background import beside, forever


async def test_a_step_that_fails_is_tried_again() -> None:
    tried = asyncio.Semaphore(0)

    async def step() -> None:
        tried.release()
        raise ValueError

    async with asyncio.timeout(5), beside(forever("fail", step, 0)):
        for _ in range(3):
            await tried.acquire()


async def test_work_that_swallows_a_cancellation_is_asked_again_until_it_ends() -> None:
    asked = 0
    began = asyncio.Event()

    async def stubborn() -> None:
        nonlocal asked
        while asked < 3:
            try:
                began.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                asked += 1

    async with asyncio.timeout(5), beside(stubborn()):
        await began.wait()
    assert asked == 3


async def test_work_that_has_ended_holds_nobody_up() -> None:
    async def brief() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(5), beside(brief()):
        await asyncio.sleep(0.01)
