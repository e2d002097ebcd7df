"""A load of any plan sends at least one order, the first immediately and each when it is due."""

import asyncio
import math
import selectors
from fractions import Fraction
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.commands.load import error_of
from valerix_cli.drills.units import PerSecond, Seconds
from valerix_cli.load import LoadGenerator, LoadResult, Plan, generator
from valerix_cli.load.http_client import Response
from valerix_cli.load.model import CompletedOrder
from valerix_cli.units import parse_positive_duration, parse_rate

A_HUNDRED_AND_FIFTY = settings(max_examples=150)
MOST = 400  # orders of one plan, to limit the duration of a test
NEAR = 1e-6  # seconds


class Selector(selectors.DefaultSelector):
    """Never waits: advances its clock by the timeout instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop with simulated time."""

    def __init__(self) -> None:
        self.passing = Selector()
        super().__init__(self.passing)

    def time(self) -> float:
        return self.passing.now

    perf_counter = process_time = time


class FakeClient:
    """Confirms each order after `response_time` seconds."""

    def __init__(self, loop: Loop, response_time: float) -> None:
        self.arrived: list[float] = []
        self._loop, self._takes = loop, response_time

    async def post(self, _: OrderRequest) -> Response:
        self.arrived.append(self._loop.time())
        await asyncio.sleep(self._takes)
        return Response(201, False, None, "an-id", "confirmed", None)  # noqa: FBT003 - as the parser passes it

    def close(self) -> None: ...


def run_load(plan: Plan, response_time: float) -> tuple[list[float], list[CompletedOrder], LoadResult]:
    """Run a load. Returns the arrival times of the requests in seconds since its start, the orders and the result."""
    loop, orders = Loop(), list[CompletedOrder]()
    client = FakeClient(loop, response_time)
    try:
        with patch.multiple(generator, time=loop, HttpClient=lambda *_, **__: client):
            load = LoadGenerator(plan, ["http://x"], {}, on_completed=orders.append)
            result = loop.run_until_complete(load.run())
    finally:
        loop.close()
    began = load.began or 0.0
    return [at - began for at in client.arrived], orders, result


def plan(**fields: Any) -> Plan:
    return Plan(
        seed=1, key_prefix="k-", items=["ps5", "xbox"], mix="uniform", **{"rate": None, "clients": None} | fields
    )


NUMBERS = st.one_of(
    st.integers(1, 900).map(str),
    st.decimals("0.001", "90", places=3).map(lambda number: f"{number:f}"),
    st.sampled_from(["1", "0.1", "0.3", "3", "60", "0.000001"]),
)
RATES = st.tuples(NUMBERS, st.sampled_from(["/s", "/m"])).map("".join)
DURATIONS = st.one_of(
    st.sampled_from(["1ms", "1s", "10s", "0.1s", "1m", "1m30s"]),
    st.integers(1, 90_000).map(lambda number: f"{number}ms"),
)
TAKES = st.sampled_from([0.001, 0.3, 2.0])


@A_HUNDRED_AND_FIFTY
@given(RATES, DURATIONS, TAKES)
def test_a_load_at_a_rate_sends_each_order_when_it_is_due(rate: str, duration: str, response_time: float) -> None:
    number, _, unit = rate.partition("/")
    exact, seconds = Fraction(number) / (60 if unit == "m" else 1), parse_positive_duration(duration)
    assert PerSecond.parse(rate) == parse_rate(rate)
    assert Seconds.parse(duration) == seconds
    load_plan = plan(rate=parse_rate(rate), seconds=min(seconds, float(MOST / exact)))
    arrived, orders, result = run_load(load_plan, response_time)
    due = exact * Fraction(repr(load_plan.seconds))
    assert result.orders == len(arrived) == len(orders) >= 1
    assert result.orders in {max(1, math.ceil(due)), max(1, math.ceil(due - Fraction(1, 10**6)))}
    assert arrived[0] < NEAR
    for number_, at in enumerate(arrived):
        assert abs(at - number_ / exact) < NEAR
    assert all(abs(order.due - at) < NEAR for order, at in zip(orders, arrived, strict=True))
    assert all(abs(order.latency - response_time) < NEAR for order in orders)
    assert error_of(result) is None


@A_HUNDRED_AND_FIFTY
@given(st.integers(1, 20), DURATIONS, TAKES)
def test_each_client_of_a_load_sends_its_first_order_immediately(
    clients: int, duration: str, response_time: float
) -> None:
    load_plan = plan(clients=clients, seconds=min(parse_positive_duration(duration), MOST / clients * response_time))
    arrived, orders, result = run_load(load_plan, response_time)
    assert result.orders == len(arrived) == len(orders) >= clients
    assert [at for at in arrived if at < NEAR] == arrived[:clients]
    assert all(at < load_plan.seconds or at < NEAR for at in arrived)
    assert error_of(result) is None
