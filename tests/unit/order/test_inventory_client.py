"""Calls to inventory: the result of each line, and how calls use connections and replicas."""

import asyncio
import gc
import io
from typing import Any

import msgspec
import pytest

from services.order import inventory_http
from services.order.domain import Deducted, Outcome, Refused, Unknown
from tests.unit.common.logs import events
from tests.unit.order.fake_inventory import LIMIT, Fault, Reply, Warehouse, claims, together, until
from tests.unit.order.inventory_failures import BUG, DEDUCTIONS, SHORT, make_happen

LINE = b'{"order_id":"00000000-0000-0000-0000-000000000001","status":200'


@pytest.mark.parametrize(
    ("answer", "outcome", "counted"),
    [
        ({"status": 200, "repeated": False}, Deducted(repeated=False), "success"),
        ({"status": 200, "repeated": True}, Deducted(repeated=True), "success"),
        ({"status": 409, "reason": "insufficient-stock", "available": 3}, Refused("insufficient-stock", 3), "success"),
        ({"status": 422, "reason": "unknown-item"}, Refused("unknown-item"), "success"),
        ({"status": 500, "reason": "internal-error"}, Unknown("500"), "500"),
        ({"status": 503, "reason": "database-unavailable"}, Unknown("503"), "503"),
        (None, Unknown("lost answer"), "lost answer"),
        (b"{not json}\n", Unknown("lost answer"), "lost answer"),
        (LINE + b"}", Deducted(repeated=False), "success"),
        (LINE + b" " * 1_000_000 + b"}\n", Unknown("lost answer"), "lost answer"),
        (b'{"status":200}\n', Unknown("lost answer"), "lost answer"),
        (b'{"order_id":"00000000-0000-0000-0000-00000000ffff","status":200}\n', Unknown("lost answer"), "lost answer"),
        ({"status": "200"}, Unknown("lost answer"), "lost answer"),
        ({"status": 31337}, Unknown("lost answer"), "lost answer"),
        ({"status": 302}, Unknown("lost answer"), "lost answer"),
        ({"status": 409}, Unknown("lost answer"), "lost answer"),
        ({"status": 409, "reason": "nul\x00"}, Unknown("lost answer"), "lost answer"),
    ],
)
async def test_the_result_of_a_line_is_its_outcome(
    answer: dict[str, Any] | bytes | None, outcome: Outcome, counted: str, log: io.StringIO
) -> None:
    """A refusal is a success of inventory; an invalid response is an unknown result, and a failure."""
    warehouse = Warehouse()
    warehouse.answer = lambda _: answer
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == outcome
    assert warehouse.breaker.window.outcomes() == {counted: 1}
    assert log.getvalue() == ""


async def test_a_line_has_every_field_of_a_deduction() -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    await warehouse.inventory.deduct(claim)
    assert warehouse.batches == [[{"order_id": str(claim.order_id), "item_id": "ps5", "quantity": 1, "attempt": 1}]]
    assert warehouse.headers[0]["authorization"] == "Bearer token-of-the-service"
    assert warehouse.headers[0]["content-type"] == "application/x-ndjson"
    assert warehouse.headers[0].keys() == {"host", "authorization", "content-type", "x-request-id", "content-length"}


async def test_a_call_carries_the_trace_of_one_of_its_orders() -> None:
    warehouse = Warehouse()
    plain, traced = claims(2)
    traced = msgspec.structs.replace(traced, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await together(warehouse.inventory.deduct, [plain, traced])
    assert warehouse.headers[0]["traceparent"] == traced.traceparent


async def test_inventory_may_be_behind_a_path() -> None:
    warehouse = Warehouse(path="/behind/")
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == Deducted(repeated=False)
    await warehouse.inventory.look_up(claim.order_id)
    behind = f"{warehouse.urls[0]}api/inventory"
    assert warehouse.asked == [f"{behind}/deductions", f"{behind}/transactions/{claim.order_id}"]


async def test_every_line_gets_its_own_result_despite_failures_of_others() -> None:
    warehouse = Warehouse()
    answers: list[dict[str, Any] | None] = [
        {"status": 200},
        {"status": 409, "reason": "insufficient-stock"},
        None,
        {"status": 500},
        {"status": 200},
    ]
    wanted = claims(len(answers))
    fates = {str(claim.order_id): answer for claim, answer in zip(wanted, answers, strict=True)}
    warehouse.answer = lambda line: fates[line["order_id"]]
    assert await together(warehouse.inventory.deduct, wanted) == [
        Deducted(repeated=False),
        Refused("insufficient-stock"),
        Unknown("lost answer"),
        Unknown("500"),
        Deducted(repeated=False),
    ]
    assert warehouse.breaker.window.outcomes() == {"success": 3, "lost answer": 1, "500": 1}


async def test_results_before_an_invalid_line_count() -> None:
    warehouse = Warehouse()
    wanted = claims(3)
    warehouse.answer = lambda line: b"garbled\n" if line["order_id"] == str(wanted[1].order_id) else {"status": 200}
    assert await together(warehouse.inventory.deduct, wanted) == [
        Deducted(repeated=False),
        Unknown("lost answer"),
        Unknown("lost answer"),
    ]


@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.CLOSED, Fault.TORN, Fault.GARBLED], ids=lambda fault: str(fault.value)
)
async def test_results_before_a_truncated_response_count(fault: Fault, log: io.StringIO) -> None:
    warehouse = Warehouse(patient=True)
    wanted = claims(3)
    warehouse.answer = lambda line: fault if line["order_id"] == str(wanted[1].order_id) else {"status": 200}
    answered, *unanswered = [asyncio.create_task(warehouse.inventory.deduct(claim)) for claim in wanted]
    warehouse.release(wanted[0])
    assert await answered == Deducted(repeated=False)
    assert not any(task.done() for task in unanswered)
    warehouse.release(wanted[1])
    assert await asyncio.gather(*unanswered) == [Unknown("lost answer")] * 2
    assert warehouse.breaker.window.outcomes() == {"success": 1, "lost answer": 2}
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("failure", "cause", "limit"),
    [
        (Reply(500), "500", LIMIT),
        (Reply(503), "503", LIMIT),
        (Reply(401), "401", LIMIT),
        (Reply(302, headers={"Location": "/api/inventory/elsewhere"}), "302", LIMIT),
        (Reply(307, headers={"Location": "/api/inventory/elsewhere"}), "307", LIMIT),
        (Fault.RESET, "lost answer", LIMIT),
        (Fault.CLOSED, "lost answer", LIMIT),
        (Fault.GARBLED, "lost answer", LIMIT),
        (Fault.SILENT, "timeout", SHORT),
        (Fault.REFUSED, "connection error", LIMIT),
    ],
)
async def test_a_failed_call_leaves_every_line_unknown_and_counts_each(
    failure: Reply | Fault, cause: str, limit: float, log: io.StringIO
) -> None:
    warehouse = Warehouse(limit=limit)
    warehouse.script(DEDUCTIONS, failure)
    assert await together(warehouse.inventory.deduct, claims(3)) == [Unknown(cause)] * 3
    assert warehouse.breaker.window.outcomes() == {cause: 3}
    assert set(warehouse.asked) <= {warehouse.urls[0] + DEDUCTIONS}
    assert log.getvalue() == ""


async def test_a_bug_in_a_call_leaves_every_line_unknown_counts_each_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    warehouse = Warehouse()
    make_happen(BUG, warehouse, DEDUCTIONS, monkeypatch)
    assert await together(warehouse.inventory.deduct, claims(3)) == [Unknown("lost answer")] * 3
    assert warehouse.breaker.window.outcomes() == {"lost answer": 3}
    (logged,) = events(log)
    assert str(BUG) in logged["exception"]


async def test_calls_one_after_the_other_share_a_connection() -> None:
    warehouse = Warehouse()
    for claim in claims(5):
        await warehouse.inventory.deduct(claim)
    assert warehouse.connections == 1


async def test_an_idle_connection_closed_by_inventory_loses_no_result() -> None:
    warehouse = Warehouse()
    for claim in claims(5):
        assert await warehouse.inventory.deduct(claim) == Deducted(repeated=False)
        await warehouse.hang_up()
    assert warehouse.connections == 5


async def test_a_connection_that_ends_after_its_results_causes_no_failure(log: io.StringIO) -> None:
    """Not even the event loop reports it, which logs unretrieved exceptions."""
    warehouse = Warehouse(patient=True)
    for round_ in range(3):
        wanted = claims(2, first=2 * round_ + 1)
        answered = [asyncio.create_task(warehouse.inventory.deduct(claim)) for claim in wanted]
        for claim, task in zip(wanted, answered, strict=True):
            warehouse.release(claim)
            assert await task == Deducted(repeated=False)
    await warehouse.hang_up(reset=True)
    await until(lambda: not warehouse.inventory._replicas._readers)  # noqa: SLF001 - it has one entry per open connection
    assert warehouse.connections == 1
    gc.collect()
    assert log.getvalue() == ""


async def test_only_a_line_without_a_result_in_time_is_unknown() -> None:
    warehouse = Warehouse(patient=True, limit=0.3)
    wanted = claims(3)
    warehouse.release(wanted[1])
    assert await together(warehouse.inventory.deduct, wanted) == [
        Unknown("timeout"),
        Deducted(repeated=False),
        Unknown("timeout"),
    ]
    assert warehouse.breaker.window.outcomes() == {"success": 1, "timeout": 2}


async def test_a_slow_line_delays_neither_other_lines_nor_the_next_call() -> None:
    warehouse = Warehouse(patient=True)
    slow, quick = claims(2)
    slow_one = asyncio.create_task(warehouse.inventory.deduct(slow))
    quick_one = asyncio.create_task(warehouse.inventory.deduct(quick))
    warehouse.release(quick)
    assert await quick_one == Deducted(repeated=False)
    warehouse.release(*claims(20, first=10))
    assert len(await together(warehouse.inventory.deduct, claims(20, first=10))) == 20
    assert not slow_one.done()
    warehouse.release(slow)
    assert await slow_one == Deducted(repeated=False)


async def test_an_order_twice_in_a_call_gets_the_result_twice() -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    assert await together(warehouse.inventory.deduct, [claim, claim]) == [Deducted(repeated=False)] * 2
    assert warehouse.breaker.window.outcomes() == {"success": 2}


async def test_an_unreachable_inventory_replica_is_skipped() -> None:
    warehouse = Warehouse(replicas=3)
    one, two, three = warehouse.urls
    warehouse.leave(one, three)
    warehouse.responses["/health/ready"] = Reply(200)
    for claim in claims(6):
        assert await warehouse.inventory.deduct(claim) == Deducted(repeated=False)
    assert warehouse.breaker.window.outcomes() == {"success": 6}
    for _ in range(3):
        await warehouse.inventory.ping()
    assert set(warehouse.asked) == {f"{two}{DEDUCTIONS}", f"{two}/health/ready"}


async def test_connecting_to_a_replica_times_out_after_a_third_of_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machines of two replicas are down and do not even refuse connections."""
    monkeypatch.setattr(inventory_http, "LOOKUP_TIMEOUT", 0.9)
    warehouse = Warehouse(replicas=3, limit=0.9)
    one, two, three = warehouse.urls
    warehouse.vanish(one, two)
    warehouse.responses["/health/ready"] = Reply(200)
    (claim,) = claims(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await warehouse.inventory.deduct(claim) == Deducted(repeated=False)
    assert loop.time() - began > 0.59
    await warehouse.inventory.ping()
    assert warehouse.asked == [f"{three}{DEDUCTIONS}", f"{three}/health/ready"]


async def test_a_line_is_unknown_when_no_machine_responds() -> None:
    warehouse = Warehouse(limit=0.3)
    warehouse.vanish()
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == Unknown("connection error")


async def test_calls_are_spread_over_the_replicas() -> None:
    warehouse = Warehouse(replicas=2)
    for claim in claims(4):
        await warehouse.inventory.deduct(claim)
    assert sorted(warehouse.asked) == sorted(f"{url}{DEDUCTIONS}" for url in warehouse.urls * 2)


async def test_a_line_is_unknown_when_every_replica_refuses_connections() -> None:
    warehouse = Warehouse(replicas=2)
    warehouse.leave()
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == Unknown("connection error")
