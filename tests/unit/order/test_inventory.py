"""Calls to inventory: what each line's fate says of the order, and what it says of inventory."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from services.order.breaker import Breaker, Rejected
from services.order.domain import Deducted, NothingThere, NotSent, Outcome, Refused, Unknown
from services.order.inventory import Inventory
from tests.unit.order.warehouse import Warehouse, claims, together

DEDUCTIONS = "/api/inventory/deductions"
NO_SUCH_ITEM = httpx.Response(404, json={"type": "urn:valerix:problem:item-not-found"})


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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
        (b'{"status":200}\n', Unknown("lost answer"), "lost answer"),
        (b'{"order_id":"00000000-0000-0000-0000-00000000ffff","status":200}\n', Unknown("lost answer"), "lost answer"),
        ({"status": "200"}, Unknown("lost answer"), "lost answer"),
        ({"status": 31337}, Unknown("lost answer"), "lost answer"),
        ({"status": 302}, Unknown("lost answer"), "lost answer"),
        ({"status": 409}, Unknown("lost answer"), "lost answer"),
        ({"status": 409, "reason": "nul\x00"}, Unknown("lost answer"), "lost answer"),
    ],
)
async def test_what_a_line_is_answered_is_what_becomes_of_it(
    answer: dict[str, Any] | bytes | None, outcome: Outcome, counted: str
) -> None:
    """A refusal is a success of inventory; whatever is not understood is unknown, and a failure."""
    warehouse = Warehouse()
    warehouse.answer = lambda _: answer
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == outcome
    assert warehouse.breaker.window.outcomes() == {counted: 1}


async def test_a_line_says_all_that_inventory_has_to_know() -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    await warehouse.inventory.deduct(claim)
    assert warehouse.batches == [[{"order_id": str(claim.order_id), "item_id": "ps5", "quantity": 1, "attempt": 1}]]
    assert warehouse.headers[0]["authorization"] == "Bearer token-of-the-service"
    assert warehouse.headers[0]["content-type"] == "application/x-ndjson"


async def test_every_line_gets_its_own_answer_whatever_happens_to_the_others() -> None:
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


async def test_what_was_answered_before_a_garbled_line_stands() -> None:
    warehouse = Warehouse()
    wanted = claims(3)
    warehouse.answer = lambda line: b"garbled\n" if line["order_id"] == str(wanted[1].order_id) else {"status": 200}
    assert await together(warehouse.inventory.deduct, wanted) == [
        Deducted(repeated=False),
        Unknown("lost answer"),
        Unknown("lost answer"),
    ]


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (httpx.Response(500), "500"),
        (httpx.Response(503), "503"),
        (httpx.Response(401), "401"),
        (httpx.Response(302), "302"),
        (httpx.ReadError("reset"), "lost answer"),
        (httpx.RemoteProtocolError("closed"), "lost answer"),
        (httpx.WriteError("broken pipe"), "lost answer"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.WriteTimeout("slow"), "timeout"),
        (httpx.ConnectTimeout("slow"), "connection error"),
        (httpx.ConnectError("refused"), "connection error"),
        (RuntimeError("a bug of the client library"), "lost answer"),
    ],
)
async def test_a_call_that_fails_leaves_all_its_lines_unknown_and_counts_each(
    failure: httpx.Response | Exception, cause: str
) -> None:
    warehouse = Warehouse()
    warehouse.responses[DEDUCTIONS] = failure
    assert await together(warehouse.inventory.deduct, claims(3)) == [Unknown(cause)] * 3
    assert warehouse.breaker.window.outcomes() == {cause: 3}


async def test_a_line_that_is_not_answered_in_time_is_unknown_and_the_others_are_not() -> None:
    warehouse = Warehouse(patient=True, limit=0.05)
    wanted = claims(3)
    warehouse.release(wanted[1])
    assert await together(warehouse.inventory.deduct, wanted) == [
        Unknown("timeout"),
        Deducted(repeated=False),
        Unknown("timeout"),
    ]
    assert warehouse.breaker.window.outcomes() == {"success": 1, "timeout": 2}


async def test_a_slow_line_holds_up_neither_its_neighbours_nor_the_next_call() -> None:
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


async def test_one_order_twice_in_a_call_gets_the_answer_twice() -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    assert await together(warehouse.inventory.deduct, [claim, claim]) == [Deducted(repeated=False)] * 2
    assert warehouse.breaker.window.outcomes() == {"success": 2}


@pytest.mark.parametrize("gone", [httpx.ConnectError("refused"), httpx.ConnectTimeout("its machine is gone")])
async def test_a_replica_that_cannot_be_reached_is_passed_over(gone: Exception) -> None:
    warehouse = Warehouse(urls=("http://one", "http://two", "http://three"))
    warehouse.away, warehouse.gone = {"http://one", "http://three"}, gone
    warehouse.responses["/health/ready"] = httpx.Response(200)
    for claim in claims(6):
        assert await warehouse.inventory.deduct(claim) == Deducted(repeated=False)
    assert warehouse.breaker.window.outcomes() == {"success": 6}
    for _ in range(3):
        await warehouse.inventory.ping()
    assert set(warehouse.asked) == {f"http://two{DEDUCTIONS}", "http://two/health/ready"}


async def test_reaching_a_replica_may_take_a_third_of_the_limit_so_that_the_next_still_has_time() -> None:
    warehouse = Warehouse(limit=3)
    (claim,) = claims(1)
    await warehouse.inventory.deduct(claim)
    assert warehouse.timeouts == [{"connect": 1.0, "read": 3, "write": 3, "pool": 1.0}]


async def test_calls_take_turns_among_replicas() -> None:
    warehouse = Warehouse(urls=("http://one", "http://two"))
    for claim in claims(4):
        await warehouse.inventory.deduct(claim)
    assert sorted(warehouse.asked) == [f"http://one{DEDUCTIONS}"] * 2 + [f"http://two{DEDUCTIONS}"] * 2


async def test_when_nothing_listens_anywhere_it_is_unknown() -> None:
    warehouse = Warehouse(urls=("http://one", "http://two"))
    warehouse.away = {"http://one", "http://two"}
    (claim,) = claims(1)
    assert await warehouse.inventory.deduct(claim) == Unknown("connection error")


def open_up(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.admit().failed("timeout")
    assert breaker.state_name == "open"


async def test_while_the_breaker_is_open_nothing_is_sent_and_nothing_unknown() -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    outcomes = await together(warehouse.inventory.deduct, claims(3))
    assert all(isinstance(outcome, NotSent) and 9 < outcome.retry_in <= 10 for outcome in outcomes)
    assert warehouse.asked == []


async def test_of_a_batch_one_line_is_the_trial_and_the_others_are_held_back() -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    outcomes = await together(warehouse.inventory.deduct, claims(3))
    assert outcomes == [Deducted(repeated=False), *[NotSent("breaker-open", 0.3)] * 2]
    assert len(warehouse.batches) == len(warehouse.batches[0]) == 1
    assert warehouse.breaker.state_name == "closed"


@pytest.mark.parametrize(
    "failure",
    [httpx.Response(500), httpx.ReadError("reset"), httpx.ConnectError("refused"), RuntimeError("a bug")],
)
async def test_however_a_trial_ends_its_slot_is_not_lost(failure: httpx.Response | Exception) -> None:
    warehouse = Warehouse()
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    warehouse.responses[DEDUCTIONS] = failure
    (claim,) = claims(1)
    assert isinstance(await warehouse.inventory.deduct(claim), Unknown)
    assert warehouse.breaker.state_name == "open"


async def test_a_caller_that_goes_away_leaves_the_others_and_the_breaker_as_they_are() -> None:
    warehouse = Warehouse(patient=True)
    open_up(warehouse.breaker)
    warehouse.breaker.half_open()
    (claim,) = claims(1)
    leaving = asyncio.create_task(warehouse.inventory.deduct(claim))
    await turns()
    leaving.cancel()
    await turns()
    with pytest.raises(Rejected, match="a trial call is under way"):
        warehouse.breaker.admit()
    warehouse.release(claim)
    await warehouse.inventory.close()
    assert leaving.cancelled()
    assert warehouse.breaker.state_name == "closed"


async def test_closing_waits_for_every_line_under_way() -> None:
    warehouse = Warehouse(patient=True)
    wanted = claims(3)
    tasks = [asyncio.create_task(warehouse.inventory.deduct(claim)) for claim in wanted]
    await turns()
    warehouse.release(wanted[0])
    closing = asyncio.create_task(warehouse.inventory.close())
    await turns()
    assert not closing.done()
    warehouse.release(*wanted)
    await closing
    assert await asyncio.gather(*tasks) == [Deducted(repeated=False)] * 3


async def test_running_out_of_connections_of_ones_own_says_nothing_of_inventory() -> None:
    """On a real pool of one connection, which the first call keeps until its time is up."""

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    connected = asyncio.Event()
    breaker = Breaker()
    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as http:
            inventory = Inventory(http, (f"http://127.0.0.1:{port}",), "token", 0.4, breaker)
            first, second = claims(2)
            holding = asyncio.create_task(inventory.deduct(first))
            await connected.wait()
            assert await inventory.deduct(second) == NotSent("connections used up", 1.0)
            assert await holding == Unknown("timeout")
    assert breaker.window.outcomes() == {"timeout": 1}


@pytest.mark.parametrize(
    ("ledger", "outcome"),
    [
        ({"transactions": [], "refusal": None}, NothingThere()),
        ({"transactions": [{"transaction_type": "deduct"}], "refusal": None}, Deducted(repeated=True)),
        ({"transactions": [{"transaction_type": "release"}], "refusal": None}, NothingThere()),
        ({"transactions": [], "refusal": {"reason": "insufficient-stock"}}, Refused("insufficient-stock")),
        (
            {"transactions": [{"transaction_type": "deduct"}], "refusal": {"reason": "insufficient-stock"}},
            Deducted(repeated=True),
        ),
    ],
)
async def test_a_look_up_tells_what_the_ledger_says(ledger: dict[str, Any], outcome: Outcome) -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    path = f"/api/inventory/transactions/{claim.order_id}"
    warehouse.responses[path] = httpx.Response(200, content=json.dumps(ledger))
    assert await warehouse.inventory.look_up(claim.order_id) == outcome


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(404),
        httpx.Response(401),
        httpx.Response(500),
        httpx.Response(200, content=b"garbled"),
        httpx.Response(200, content=b"{}"),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
    ],
)
async def test_a_look_up_without_a_clear_answer_is_unknown_and_never_nothing(
    failure: httpx.Response | Exception,
) -> None:
    warehouse = Warehouse()
    (claim,) = claims(1)
    warehouse.responses[f"/api/inventory/transactions/{claim.order_id}"] = failure
    assert isinstance(await warehouse.inventory.look_up(claim.order_id), Unknown)
    assert warehouse.breaker.window.outcomes() == {}


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        (httpx.Response(200, json={}), False),
        (NO_SUCH_ITEM, True),
        (httpx.Response(404, json={"type": "urn:valerix:problem:not-found"}), False),
        (httpx.Response(404, json=[]), False),
        (httpx.Response(404, text="default backend - 404"), False),
        (httpx.Response(429), False),
        (httpx.Response(500), False),
        (httpx.ReadTimeout("slow"), False),
        (httpx.ConnectError("refused"), False),
    ],
)
async def test_only_a_clear_no_means_that_there_is_no_such_item(
    answer: httpx.Response | Exception, *, lacks: bool
) -> None:
    """Not a 404 of whatever stands in front of inventory: a misrouted call must refuse no order."""
    warehouse = Warehouse()
    warehouse.responses["/api/inventory/ps5"] = answer
    assert await warehouse.inventory.lacks("ps5") is lacks


async def test_an_item_once_seen_is_not_asked_for_again() -> None:
    warehouse = Warehouse()
    warehouse.responses["/api/inventory/ps5"] = httpx.Response(200, json={})
    for _ in range(3):
        assert await warehouse.inventory.lacks("ps5") is False
    assert len(warehouse.asked) == 1


@pytest.mark.parametrize("how", ["open", "half-open", "forced"])
async def test_while_the_breaker_holds_calls_back_no_item_is_asked_for(how: str) -> None:
    warehouse = Warehouse()
    warehouse.responses["/api/inventory/ps5"] = NO_SUCH_ITEM
    if how == "forced":
        warehouse.breaker.force("open")
    else:
        open_up(warehouse.breaker)
        if how == "half-open":
            warehouse.breaker.half_open()
    assert await warehouse.inventory.lacks("ps5") is False
    assert warehouse.asked == []
