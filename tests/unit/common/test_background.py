"""Background tasks survive failures and end on request."""

import ast
import asyncio
import gc
from pathlib import Path

import pytest

import services
from services.common.background import UNHANDLED, background_tasks, report, run_periodically, spawn

SERVICES = Path(services.__path__[0])
STARTERS = {"create_task", "ensure_future", "run_coroutine_threadsafe", "TaskGroup"}


async def test_a_failed_step_is_repeated() -> None:
    tried = asyncio.Semaphore(0)

    async def step() -> None:
        tried.release()
        raise ValueError

    async with asyncio.timeout(5), background_tasks(run_periodically("fail", step, 0)):
        for _ in range(3):
            await tried.acquire()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
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

    async with asyncio.timeout(5), background_tasks(stubborn()):
        await began.wait()
    assert asked == 3


async def test_a_finished_task_does_not_block_the_exit() -> None:
    async def brief() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(5), background_tasks(brief()):
        await asyncio.sleep(0.01)


def starts_of_tasks(file: Path) -> list[str]:
    """Return the lines of a file that start a task other than by `spawn`."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in STARTERS:
                found.append(f"{file.relative_to(SERVICES)}:{node.lineno}")
    return found


def test_every_task_is_started_by_spawn_which_reports_failures() -> None:
    found = [start for file in SERVICES.rglob("*.py") for start in starts_of_tasks(file)]
    assert [start.partition(":")[0] for start in found] == ["common/background.py"], found


def unhandled() -> float:
    return UNHANDLED._value.get()  # type: ignore[no-any-return]  # noqa: SLF001 - it has no other reader


async def fail() -> None:
    raise ValueError("a bug")


async def test_a_failed_task_is_reported_at_once() -> None:
    before = unhandled()
    await asyncio.wait([spawn(fail())])
    await asyncio.sleep(0)
    assert unhandled() == before + 1


async def test_an_awaited_failure_reaches_its_awaiter_and_others_the_event_loop() -> None:
    asyncio.get_running_loop().set_exception_handler(report)
    before = unhandled()
    with pytest.raises(ValueError, match="a bug"):
        await spawn(fail(), awaited=True)
    assert unhandled() == before
    forgotten = spawn(fail(), awaited=True)
    await asyncio.wait([forgotten])
    del forgotten
    gc.collect()
    assert unhandled() == before + 1


async def test_a_failed_callback_is_reported_by_the_event_loop() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    before = unhandled()
    loop.call_soon(int, "no number")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert unhandled() == before + 1
