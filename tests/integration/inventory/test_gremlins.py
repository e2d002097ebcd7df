"""Gremlins on two running replicas: they hit the attempts that the seed selects, have the right effect, and end."""

import asyncio
import functools
import json
import time
import uuid
from collections import Counter
from typing import Any

import httpx
import msgspec
import pytest
import redis

from services.inventory import gremlins
from services.inventory.gremlins import GREMLINS, MAX_SCRIPT_LENGTH, Activation, Gremlin
from tests.integration.inventory.service import NDJSON, Fate, Inventory, Line, line, ndjson
from tests.machine_load import slowdown
from tests.processes import OPERATOR, OPERATOR_TOKEN, SERVICE, eventually
from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.contexts.model import Context

JSON = SERVICE | {"Content-Type": "application/json"}
NAMES = uuid.UUID(int=7)


def lines_of(story: str, item: str, count: int) -> list[Line]:
    """Return lines with the same order ids in every run of that story."""
    return [line(item, order_id=str(uuid.uuid5(NAMES, f"{story}-{number}"))) for number in range(count)]


def fresh_lines(item: str, count: int) -> list[Line]:
    return [line(item) for _ in range(count)]


def foretell(activation: dict[str, Any], wanted: Line) -> Fate:
    """Return the result of an attempt as predicted from the activation alone."""
    terms = msgspec.convert(activation, Activation)
    order, attempt = uuid.UUID(wanted["order_id"]), wanted["attempt"]
    if gremlins.is_hit(terms, "crash", order, attempt):
        return gremlins.crash(terms, order, attempt).status or "lost"
    if gremlins.is_hit(terms, "partial_failure", order, attempt):
        return gremlins.partial_failure(terms, order, attempt).status or "lost"
    return 200


def is_slow(activation: dict[str, Any], wanted: Line) -> bool:
    terms = msgspec.convert(activation, Activation)
    return gremlins.is_hit(terms, "latency", uuid.UUID(wanted["order_id"]), wanted["attempt"])


def foretell_hits(activation: dict[str, Any], lines: list[Line]) -> list[dict[str, Any]]:
    """Return the predicted hits on these attempts: no other gremlin follows a crash."""
    terms = msgspec.convert(activation, Activation)
    hits = []
    for each in sorted(lines, key=lambda each: (each["order_id"], each["attempt"])):
        attempt = (uuid.UUID(each["order_id"]), each["attempt"])
        met = [gremlin for gremlin in GREMLINS if gremlins.is_hit(terms, gremlin, *attempt)]
        met = ["crash"] if "crash" in met else met
        hits += [{"gremlin": gremlin, "order_id": each["order_id"], "attempt": each["attempt"]} for gremlin in met]
    return hits


async def test_the_same_seed_and_orders_meet_the_same_faults_alone_together_and_in_bulk(
    warehouse: Inventory,
) -> None:
    lines = lines_of("same faults", warehouse.add_item(1000), 80)
    terms: dict[str, Any] = {"crash_rate": 0.3, "partial_failure_rate": 0.3, "seed": 42}
    activation = warehouse.activate(**terms)
    alone, first = await warehouse.fates(lines, concurrency=1), warehouse.deactivate()
    warehouse.activate(**terms)
    together, second = await warehouse.fates(lines, concurrency=50, at=1), warehouse.deactivate()
    warehouse.activate(**terms)
    answers, third = warehouse.deduct_many(lines), warehouse.deactivate()
    in_bulk = {
        each["order_id"]: answers[each["order_id"]]["status"] if each["order_id"] in answers else "lost"
        for each in lines
    }

    assert alone == together == in_bulk == {each["order_id"]: foretell(activation, each) for each in lines}
    assert set(alone.values()) == {200, 500, 503, "lost"}
    assert first is not None
    assert second is not None
    assert third is not None
    assert first["counts"] == second["counts"] == third["counts"]
    assert first["counts"]["crash"]["rolls"] == 80
    assert first["counts"]["partial_failure"]["rolls"] == 80 - first["counts"]["crash"]["hits"]
    injected = first["counts"]["crash"]["hits"] + first["counts"]["partial_failure"]["hits"]
    assert injected == sum(fate != 200 for fate in alone.values())


async def test_another_attempt_of_an_order_has_its_own_faults(warehouse: Inventory) -> None:
    lines = lines_of("another attempt", warehouse.add_item(1000), 30)
    warehouse.activate(crash_rate=0.5, seed=42)
    first = await warehouse.fates(lines, concurrency=10)
    second = await warehouse.fates([each | {"attempt": 2} for each in lines], concurrency=10)
    assert first != second


async def test_every_replica_has_a_changed_activation_when_the_response_is_sent(warehouse: Inventory) -> None:
    item = warehouse.add_item(1000)
    for _ in range(3):
        activation = warehouse.activate(crash_rate=1.0, reason="to see")
        assert activation["acknowledged"] == ["inventory-1", "inventory-2"]
        assert 200 not in (await warehouse.fates([line(item)], 1, at=1)).values()
        warehouse.deactivate()
        assert list((await warehouse.fates([line(item)], 1, at=1)).values()) == [200]


async def test_the_counts_of_all_replicas_are_summed_and_in_the_metrics(warehouse: Inventory) -> None:
    item = warehouse.add_item(1000)
    name = 'inventory_chaos_events_total{type="crash"}'
    before = [warehouse.metric(name, at) for at in (0, 1)]
    warehouse.activate(crash_rate=1.0)
    assert warehouse.metric('inventory_chaos_enabled{type="crash"}', 1) == 1
    assert warehouse.metric('inventory_chaos_enabled{type="latency"}', 1) == 0
    await warehouse.fates(fresh_lines(item, 5), 5, at=0)
    await warehouse.fates(fresh_lines(item, 7), 7, at=1)
    ended = warehouse.deactivate()
    assert ended is not None
    assert ended["counts"]["crash"] == {"rolls": 12, "hits": 12}
    assert [warehouse.metric(name, at) for at in (0, 1)] == [before[0] + 5, before[1] + 7]
    assert warehouse.metric('inventory_chaos_enabled{type="crash"}', 1) == 0


@pytest.mark.timed
def test_a_gremlin_expires_on_every_replica(warehouse: Inventory) -> None:
    def is_calm(at: int) -> bool:
        return warehouse.chaos(at)["live"] is None

    item = warehouse.add_item()
    began = time.monotonic()
    activation = warehouse.activate(crash_rate=1.0, ttl_seconds=1)
    for at in (0, 1):
        eventually(functools.partial(is_calm, at), 5)
        assert warehouse.deduct(line(item), at).status_code == 200
    assert time.monotonic() - began > 0.9
    recent = warehouse.chaos()["recent"][0]
    assert (recent["id"], recent["remaining_seconds"]) == (activation["id"], 0)


@pytest.mark.timed
async def test_flushing_redis_ends_the_gremlins_within_a_quarter_second_and_loses_no_counts(
    warehouse: Inventory,
) -> None:
    item = warehouse.add_item(1000)
    activations, waits = [], []
    for _ in range(3):
        activations.append(warehouse.activate(crash_rate=1.0, seed=1)["id"])
        await warehouse.fates(fresh_lines(item, 4), 4, at=0)
        await warehouse.fates(fresh_lines(item, 6), 6, at=1)
        with redis.Redis.from_url(warehouse.redis_url) as client:
            client.flushall()
        flushed = time.monotonic()
        while [fate for at in (0, 1) for fate in (await warehouse.fates([line(item)], 1, at)).values()] != [200, 200]:
            assert time.monotonic() - flushed < 5 * slowdown()
        waits.append(time.monotonic() - flushed)
    assert min(waits) < 0.25, waits  # the best of three, since the machine may be busy

    def told_again() -> bool:
        hits = {each["id"]: each["counts"]["crash"]["hits"] for each in warehouse.chaos()["recent"]}
        return all(hits.get(each, 0) >= 10 for each in activations)

    eventually(told_again, 2)


def test_a_halt_ends_live_gremlins_and_refuses_new_ones_until_lifted(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    live = warehouse.activate(crash_rate=1.0)
    view = warehouse.halt(halted=True)
    assert (view["halted"], view["live"], view["recent"][0]["id"]) == (True, None, live["id"])
    assert warehouse.deduct(line(item), at=1).status_code == 200
    refused = warehouse.http.post(
        f"{warehouse.replicas[1].url}/api/admin/chaos", json={"crash_rate": 1.0}, headers=OPERATOR
    )
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:valerix:problem:chaos-halted")
    assert warehouse.halt(halted=False)["halted"] is False
    assert warehouse.activate(crash_rate=1.0)["crash_rate"] == 1.0


def test_gremlins_that_slipped_past_a_halt_hit_nothing(warehouse: Inventory) -> None:
    def is_served(at: int) -> bool:
        try:
            return warehouse.deduct(line(item), at).status_code == 200
        except httpx.RemoteProtocolError:
            return False

    item = warehouse.add_item()
    warehouse.activate(crash_rate=1.0)
    with redis.Redis.from_url(warehouse.redis_url) as client:
        client.set("chaos:halted", "1")
    for at in (0, 1):
        eventually(functools.partial(is_served, at), 1)
    assert warehouse.chaos()["live"] is None


def test_new_gremlins_replace_live_ones(warehouse: Inventory) -> None:
    first, second = warehouse.activate(crash_rate=0.1), warehouse.activate(latency=True, latency_rate=0.2)
    view = warehouse.chaos(1)
    assert view["live"]["id"] == second["id"]
    assert view["recent"][0]["id"] == first["id"]
    assert warehouse.deactivate() is not None
    assert warehouse.deactivate() is None


async def test_a_partial_failure_commits_and_loses_the_response(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    lines = fresh_lines(item, 24)
    warehouse.activate(partial_failure_rate=1.0)
    fates = await warehouse.fates(lines[:12], concurrency=4)
    answers = warehouse.deduct_many(lines[12:])
    assert set(fates.values()) == {500, "lost"}
    assert {answer["status"] for answer in answers.values()} == {500}
    assert 0 < len(answers) < 12
    assert warehouse.quantity(item) == 100 - 24
    warehouse.deactivate()
    again = [warehouse.deduct(each | {"attempt": 2}).json() for each in lines]
    assert {answer["repeated"] for answer in again} == {True}
    assert warehouse.quantity(item) == 100 - 24


async def test_a_crash_comes_before_any_work(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    lines = fresh_lines(item, 40)
    warehouse.activate(crash_rate=1.0)
    fates = await warehouse.fates(lines[:20], concurrency=4)
    answers = warehouse.deduct_many(lines[20:])
    assert set(fates.values()) == {500, 503, "lost"}
    assert {answer["status"] for answer in answers.values()} == {500, 503}
    assert 0 < len(answers) < 20
    assert warehouse.quantity(item) == 100
    assert all(warehouse.ledger(each["order_id"])["transactions"] == [] for each in lines)


def test_a_problem_caused_by_a_gremlin_is_marked(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    activation = warehouse.activate(crash_rate=1.0)
    hit = next(each for each in iter(lambda: line(item), None) if foretell(activation, each) == 503)
    problem = warehouse.deduct(hit).json()
    assert (problem["type"], problem["gremlin"]) == ("urn:valerix:problem:injected-fault", "crash")


@pytest.mark.timed
async def test_a_slow_line_delays_no_other_and_results_arrive_in_order_of_completion(
    warehouse: Inventory,
) -> None:
    item = warehouse.add_item()
    activation = warehouse.activate(latency=True, latency_ms=600, latency_rate=0.3, seed=11)
    lines = lines_of("slow lines", item, 30)
    slow = {each["order_id"] for each in lines if is_slow(activation, each)}
    assert 0 < len(slow) < 30
    arrivals: dict[str, float] = {}
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream(
            "POST", f"{warehouse.url}/api/inventory/deductions", content=ndjson(lines), headers=NDJSON
        ) as response,
    ):
        began = time.monotonic()
        async for text in response.aiter_lines():
            arrivals[json.loads(text)["order_id"]] = time.monotonic() - began
    assert set(arrivals) == {each["order_id"] for each in lines}
    assert set([*arrivals][-len(slow) :]) == slow
    assert min(took for order, took in arrivals.items() if order in slow) > 0.5
    assert max(arrivals.values()) < 0.6 * len(slow), "they wait side by side"
    ended = warehouse.deactivate()
    assert ended is not None
    assert ended["counts"]["latency"] == {"rolls": 30, "hits": len(slow)}


@pytest.mark.timed
def test_a_stream_whose_results_are_all_lost_ends_at_once(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    activation = warehouse.activate(crash_rate=1.0)
    lost = next(each for each in iter(lambda: line(item), None) if foretell(activation, each) == "lost")
    began = time.monotonic()
    assert warehouse.deduct_many([lost]) == {}
    assert time.monotonic() - began < 5 * slowdown(), "it does not wait for more"


def test_a_disconnected_client_loses_only_its_responses(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    activation = warehouse.activate(latency=True, latency_ms=1500, latency_rate=0.5, seed=11)
    lines = lines_of("gives up", item, 20)
    slow = next(each for each in lines if is_slow(activation, each))
    for path, body, headers in (("deductions", ndjson(lines), NDJSON), ("deduct", ndjson([slow]), JSON)):
        with pytest.raises(httpx.ReadTimeout):
            warehouse.http.post(f"{warehouse.url}/api/inventory/{path}", content=body, headers=headers, timeout=0.4)
    assert warehouse.quantity(item) == 80
    warehouse.deactivate()
    warehouse.wait_for_metric("http_requests_in_flight", 1)  # this request
    assert {answer["repeated"] for answer in warehouse.deduct_many(lines).values()} == {True}


async def test_deactivating_latency_releases_delayed_responses(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    warehouse.activate(latency=True, latency_ms=30_000)
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=10) as client, asyncio.TaskGroup() as group:
        held = [
            group.create_task(client.post(f"{replica.url}/api/inventory/deduct", json=line(item), headers=SERVICE))
            for replica in warehouse.replicas
        ]
        done = await asyncio.to_thread(eventually, lambda: warehouse.quantity(item) == 98)
        assert done
        assert not any(task.done() for task in held)
        await asyncio.to_thread(warehouse.deactivate)
    assert [task.result().status_code for task in held] == [200, 200]
    assert time.monotonic() - began < 5 * slowdown()


def test_gremlins_affect_only_deductions(warehouse: Inventory) -> None:
    item = warehouse.add_item(5)
    warehouse.activate(crash_rate=1.0, latency=True, partial_failure_rate=1.0)
    for path in ("/health", "/health/live", "/health/deep", "/metrics", "/api/inventory", f"/api/inventory/{item}"):
        assert warehouse.http.get(warehouse.url + path).status_code == 200
    assert warehouse.restock(item, 1, f"mercy-{item}").status_code == 200
    assert warehouse.ledger(line(item)["order_id"])["transactions"] == []


async def test_the_kinds_of_faults_vary_by_order(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    warehouse.activate(crash_rate=1.0, seed=3)
    kinds = Counter((await warehouse.fates(lines_of("kinds", item, 30), 10)).values())
    assert min(kinds[500], kinds[503], kinds["lost"]) >= 3


@pytest.mark.parametrize(
    "wrong",
    [{"ttl_seconds": 0}, {"ttl_seconds": 901}, {"crash_rate": 2}, {"latency": "yes"}, {"seed": -1}, {"surprise": 1}],
)
def test_an_activation_out_of_bounds_is_refused_and_changes_nothing(
    warehouse: Inventory, wrong: dict[str, object]
) -> None:
    response = warehouse.http.post(f"{warehouse.url}/api/admin/chaos", json=wrong, headers=OPERATOR)
    assert (response.status_code, response.json()["type"]) == (422, "urn:valerix:problem:invalid-body")
    assert warehouse.chaos()["live"] is None


async def test_the_hit_list_matches_the_seed(warehouse: Inventory) -> None:
    item = warehouse.add_item(1000)
    alone, in_bulk = lines_of("alone", item, 40), lines_of("in bulk", item, 40)
    again = [each | {"attempt": 2} for each in alone]
    terms: dict[str, Any] = {"latency": True, "latency_ms": 1, "latency_rate": 0.3, "partial_failure_rate": 0.3}
    activation = warehouse.activate(**terms, crash_rate=0.3, seed=42)
    assert warehouse.hits(activation["id"]) == {"activation_id": activation["id"], "hits": [], "complete": True}
    await warehouse.fates(alone, 10)
    await warehouse.fates(again, 10, at=1)
    warehouse.deduct_many(in_bulk, at=1)
    ended = warehouse.deactivate()
    foretold = foretell_hits(activation, alone + again + in_bulk)
    assert {hit["gremlin"] for hit in foretold} == set(GREMLINS)
    for at in (0, 1):
        listed = warehouse.hits(activation["id"], at)
        assert (listed["hits"], listed["complete"]) == (foretold, True)
    assert ended is not None
    assert sum(tally["hits"] for tally in ended["counts"].values()) == len(foretold)


async def test_a_flush_neither_loses_nor_duplicates_a_hit(warehouse: Inventory) -> None:
    lines = lines_of("flushed", warehouse.add_item(1000), 60)
    activation = warehouse.activate(crash_rate=0.5, seed=42)
    await warehouse.fates(lines[:30], 10)
    await warehouse.fates(lines[30:], 10, at=1)
    foretold = foretell_hits(activation, lines)
    with redis.Redis.from_url(warehouse.redis_url) as client:
        client.flushall()

    def told_again() -> bool:
        url = f"{warehouse.url}/api/admin/chaos/{activation['id']}/hits"
        return bool(warehouse.http.get(url, headers=OPERATOR).json().get("hits") == foretold)

    eventually(told_again, 2)
    assert warehouse.hits(activation["id"])["complete"]


def test_more_hits_than_the_bound_give_an_incomplete_list(warehouse: Inventory) -> None:
    item = warehouse.add_item(1)
    activation = warehouse.activate(crash_rate=1.0)
    for number in range(21):
        warehouse.deduct_many(lines_of(f"too many, {number}", item, 480))
    ended = warehouse.deactivate()
    assert ended is not None
    assert ended["counts"]["crash"]["hits"] == 21 * 480 > 10_000

    def all_told() -> bool:
        return len(warehouse.hits(activation["id"])["hits"]) == 10_000

    eventually(all_told, 2)
    assert not warehouse.hits(activation["id"])["complete"]


def test_an_unknown_activation_has_no_hit_list(warehouse: Inventory) -> None:
    url = f"{warehouse.url}/api/admin/chaos/0123456789ab/hits"
    response = warehouse.http.get(url, headers=OPERATOR)
    assert (response.status_code, response.json()["type"]) == (404, "urn:valerix:problem:activation-not-found")


@pytest.mark.parametrize("rate", [0.001, 1.0])
@pytest.mark.parametrize("gremlin", GREMLINS)
async def test_a_script_overrides_the_rate_on_both_endpoints(
    warehouse: Inventory, gremlin: Gremlin, rate: float
) -> None:
    item = warehouse.add_item(1000)
    lines = lines_of(f"scripted {gremlin} {rate}", item, 40)
    script = [{"gremlin": gremlin, "order_id": each["order_id"], "attempt": 1} for each in lines[::4]]
    script += [{"gremlin": gremlin, "order_id": lines[1]["order_id"], "attempt": 2}]
    rates = {f"{each}_rate": rate for each in GREMLINS}
    wish: dict[str, Any] = {"latency": True, "latency_ms": 1, "seed": 42, "script": script, **rates}
    activation = warehouse.activate(**wish)
    assert (activation["script_length"], "script" in activation) == (11, False)
    alone = await warehouse.fates(lines, 10, at=1)
    first = warehouse.hits(activation["id"], at=1)
    in_bulk = warehouse.deduct_many([each | {"attempt": 2} for each in lines])
    second = warehouse.deactivate()

    kind = {"crash": gremlins.crash, "partial_failure": gremlins.partial_failure}.get(gremlin)
    terms = msgspec.convert(activation, Activation)
    listed = {each["order_id"] for each in script if each["attempt"] == 1}
    assert alone == {
        each["order_id"]: (kind(terms, uuid.UUID(each["order_id"]), 1).status or "lost")
        if kind and each["order_id"] in listed
        else 200
        for each in lines
    }
    assert {order: answer["status"] for order, answer in in_bulk.items() if order != lines[1]["order_id"]} == {
        each["order_id"]: 200 for each in lines if each is not lines[1]
    }
    by_order = sorted(script, key=lambda hit: str(hit["order_id"]))
    assert first["hits"] == [hit for hit in by_order if hit["attempt"] == 1]
    assert warehouse.hits(activation["id"])["hits"] == by_order
    assert second is not None
    assert second["counts"][gremlin] == {"rolls": 80, "hits": 11}
    assert sum(tally["hits"] for tally in second["counts"].values()) == 11


async def test_a_hit_list_replayed_as_a_script_reproduces_the_faults(
    warehouse: Inventory,
) -> None:
    lines = lines_of("repeated", warehouse.add_item(1000), 60)
    terms: dict[str, Any] = {"crash_rate": 0.3, "partial_failure_rate": 0.3, "seed": 42}
    diced = warehouse.activate(**terms)
    first = await warehouse.fates(lines, 10)
    hits = warehouse.hits(diced["id"])["hits"]
    scripted = warehouse.activate(**terms | {"crash_rate": 0.9}, script=hits)
    second = await warehouse.fates(lines, 10, at=1)
    assert first == second
    assert set(first.values()) == {200, 500, 503, "lost"}
    assert warehouse.hits(scripted["id"], at=1)["hits"] == hits


def test_a_disabled_gremlin_hits_nothing_of_its_script(warehouse: Inventory) -> None:
    wanted = line(warehouse.add_item())
    script = [{"gremlin": gremlin, "order_id": wanted["order_id"], "attempt": 1} for gremlin in GREMLINS]
    activation = warehouse.activate(script=script)
    assert warehouse.deduct(wanted).status_code == 200
    assert warehouse.hits(activation["id"])["hits"] == []


def test_a_script_lost_by_redis_hits_nothing(warehouse: Inventory) -> None:
    def is_followed() -> bool:
        return bool(warehouse.chaos()["live"]["acknowledged"] == ["inventory-1", "inventory-2"])

    item = warehouse.add_item(1000)
    script = [{"gremlin": "crash", "order_id": line(item)["order_id"], "attempt": 1}]
    activation = warehouse.activate(crash_rate=1.0, script=script)
    without_script = activation | {"id": uuid.uuid4().hex[:12]}
    with redis.Redis.from_url(warehouse.redis_url) as client:
        client.set("chaos:live", json.dumps(without_script), ex=60)
    eventually(is_followed, 2)
    answers = {**warehouse.deduct_many(fresh_lines(item, 20)), **warehouse.deduct_many(fresh_lines(item, 20), at=1)}
    assert [answer["status"] for answer in answers.values()] == [200] * 40
    assert [warehouse.deduct(line(item), at).status_code for at in (0, 1)] == [200, 200]
    ended = warehouse.deactivate()
    assert ended is not None
    assert (ended["id"], ended["counts"]["crash"]) == (without_script["id"], {"rolls": 42, "hits": 0})


def test_a_long_script_is_accepted_and_stays_out_of_the_polled_state(
    warehouse: Inventory,
) -> None:
    wanted = line(warehouse.add_item(), attempt=7)
    script = [{"gremlin": "partial_failure", "order_id": str(uuid.uuid4()), "attempt": 1}] * (MAX_SCRIPT_LENGTH - 1)
    script.append({"gremlin": "crash", "order_id": wanted["order_id"], "attempt": 7})
    body = json.dumps({"crash_rate": 1.0, "partial_failure_rate": 1.0, "script": script}).encode()
    assert 900_000 < len(body) < 1_048_576
    response = warehouse.http.post(f"{warehouse.url}/api/admin/chaos", content=body, headers=JSON | OPERATOR)
    activation = response.json()
    assert (response.status_code, activation["script_length"]) == (201, 10_000)
    assert activation["acknowledged"] == ["inventory-1", "inventory-2"]
    warehouse.deduct_many([wanted], at=1)
    assert warehouse.hits(activation["id"], at=1)["hits"] == [script[-1]]
    with redis.Redis.from_url(warehouse.redis_url) as client:
        assert client.strlen("chaos:live") < 500
        assert 0 < client.ttl(f"chaos:script:{activation['id']}") <= 60
        assert max(map(len, client.zrange("chaos:recent", 0, -1))) < 500


def test_the_command_line_reads_hits_and_replays_them_as_a_script(warehouse: Inventory) -> None:
    urls = tuple(replica.url for replica in warehouse.replicas)
    context = Context("local", {"inventory": urls}, OPERATOR_TOKEN, "a test", "a test")
    replicas = Replicas(context, "inventory")
    client = InventoryClient(replicas)
    lines = fresh_lines(warehouse.add_item(), 20)
    first = client.activate({"crash_rate": 0.5})
    warehouse.wait_until_followed()
    warehouse.deduct_many(lines)
    client.deactivate()
    eventually(lambda: client.hits(str(first.id)).complete)
    hit = client.hits(str(first.id))
    assert (hit.activation_id, first.script_length) == (first.id, None)
    assert 0 < len(hit.hits) < 20

    second = client.activate({"crash_rate": 0.1, "script": hit.hits})
    warehouse.wait_until_followed()
    warehouse.deduct_many(lines)
    client.deactivate()
    eventually(lambda: client.hits(str(second.id)).complete)
    assert second.script_length == len(hit.hits)
    assert client.hits(str(second.id)).hits == hit.hits
    replicas._client.close()  # noqa: SLF001 - commands leave this to the end of their process
