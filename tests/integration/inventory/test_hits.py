"""Lists of the attempts that gremlins hit, and scripts that hit the same attempts again."""

import json
import uuid
from typing import Any

import msgspec
import pytest
import redis

from services.inventory import gremlins
from services.inventory.gremlins import GREMLINS, MAX_SCRIPT_LENGTH, Activation, Gremlin
from tests.integration.inventory.faults import JSON, foretell_hits, fresh_lines, lines_of
from tests.integration.inventory.service import Inventory, line
from tests.processes import OPERATOR, OPERATOR_TOKEN, eventually
from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.contexts.model import Context


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
