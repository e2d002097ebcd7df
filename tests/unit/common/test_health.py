"""Health is checked at most once per second, for any number of requests."""

import asyncio

import httpx
import pytest
from litestar.types import ASGIApp

from services.common.app import build_app
from services.common.health import CACHE_SECONDS, Examination, Identity, Probe, health_routes
from services.common.middleware import RequestMiddleware
from tests.unit.common.bare_service import client

ME = Identity("things", "things-1", "0")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Dependency:
    """Counts its checks; each completes when the test allows it."""

    def __init__(self) -> None:
        self.looks = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.fault: Exception | None = None

    async def check(self) -> None:
        self.looks += 1
        self.was_asked.set()
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault

    @property
    def probes(self) -> dict[str, Probe]:
        return {"it": Probe(self.check, required=True)}


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


def service(own: Dependency, downstream: Dependency) -> ASGIApp:
    state = {"own_probes": own.probes, "downstream_probes": {"down": Probe(downstream.check)}}
    return RequestMiddleware(build_app("Things", health_routes(ME), [], state))


@pytest.mark.parametrize("paths", [["/health"], ["/health/ready"], ["/health", "/health/ready"], ["/health/deep"]])
async def test_a_hundred_concurrent_callers_share_one_health_check(dependency: Dependency, paths: list[str]) -> None:
    dependency.may_answer.clear()
    async with client(service(dependency, Dependency())) as things:
        asked = [asyncio.create_task(things.get(path)) for path in paths * (100 // len(paths))]
        await dependency.was_asked.wait()
        dependency.may_answer.set()
        answers = [await one for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert dependency.looks == 1


async def test_downstream_services_are_checked_once_too(dependency: Dependency) -> None:
    downstream = Dependency()
    async with client(service(dependency, downstream)) as things:
        for _ in range(50):
            await things.get("/health/deep")
    assert (dependency.looks, downstream.looks) == (1, 1)


async def test_a_health_result_is_cached_for_one_second(dependency: Dependency) -> None:
    clock = Clock()
    examination = Examination(ME, clock)
    assert (await examination.result(dependency.probes)).status == "ok"
    dependency.fault = RuntimeError("gone")
    clock.now += CACHE_SECONDS - 0.01
    assert (await examination.result(dependency.probes)).status == "ok"
    clock.now += 0.01
    assert (await examination.result(dependency.probes)).status == "down"
    dependency.fault = None
    clock.now += CACHE_SECONDS
    assert (await examination.result(dependency.probes)).status == "ok"
    assert dependency.looks == 3


async def test_a_slow_health_check_is_shared_until_it_ends(dependency: Dependency) -> None:
    clock = Clock()
    examination = Examination(ME, clock)
    dependency.may_answer.clear()
    first = asyncio.create_task(examination.result(dependency.probes))
    await asyncio.sleep(0)
    clock.now += CACHE_SECONDS * 2
    second = asyncio.create_task(examination.result(dependency.probes))
    await asyncio.sleep(0)
    dependency.may_answer.set()
    assert await first is await second
    assert dependency.looks == 1


async def test_a_disconnected_caller_does_not_cancel_the_health_check_of_others(dependency: Dependency) -> None:
    examination = Examination(ME)
    dependency.may_answer.clear()
    first, second = (asyncio.create_task(examination.result(dependency.probes)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    dependency.may_answer.set()
    assert (await second).status == "ok"
    assert dependency.looks == 1


async def test_liveness_checks_no_dependency(dependency: Dependency) -> None:
    async with client(service(dependency, dependency)) as things:
        answer: httpx.Response = await things.get("/health/live")
    assert (answer.status_code, dependency.looks) == (200, 0)
