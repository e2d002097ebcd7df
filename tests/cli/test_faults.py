"""Gremlins, the breaker and the queue from the command line."""

import json
import uuid
from collections.abc import Iterator

import pytest
import redis

from tests.cli.conftest import Valerix
from valerix_cli.local.stack import read_secrets


@pytest.fixture
def calm(valerix: Valerix) -> Iterator[Valerix]:
    """The platform; gremlins are turned off after a test."""
    yield valerix
    valerix("chaos", "off")


@pytest.fixture
def automatic(valerix: Valerix) -> Iterator[Valerix]:
    """The platform; breakers are set to automatic after a test."""
    yield valerix
    valerix("breaker", "auto")


def test_a_live_gremlin_is_announced_on_stderr_and_json_stays_json(calm: Valerix) -> None:
    calm("chaos", "on", "latency", "--delay", "10ms", "--rate", "50%", "--ttl", "60s")
    listed = calm("order", "list", "-o", "json")
    json.loads(listed.out)
    assert listed.err.startswith("A gremlin is live: latency 10 ms on 50 %; ")
    assert listed.err.rstrip().endswith("Off: valerix chaos off")
    assert calm("order", "list", "-q").err == ""


def test_a_second_gremlin_keeps_the_first(calm: Valerix) -> None:
    calm("chaos", "on", "latency", "--delay", "10ms", "--seed", "7", "--reason", "a rehearsal")
    both = calm.json("chaos", "on", "crash", "--rate", "0.25", "--ttl", "30s")
    assert (both["latency"], both["latency_ms"], both["crash_rate"], both["seed"]) == (True, 10, 0.25, 7)
    off = calm("chaos", "off")
    assert "Undo: valerix chaos on latency --rate 1 --delay 10ms --ttl 30s --seed 7" in off.err
    status = calm.json("chaos", "status")
    assert status["live"] is None
    assert status["recent"][0]["reason"] == "a rehearsal"


def test_hits_are_listed_while_live_after_the_end_and_by_id(calm: Valerix) -> None:
    calm("chaos", "on", "partial-failure", "--ttl", "60s")
    [placed] = calm.json("order", "place", "monitor")
    live = calm.json("chaos", "hits")
    assert live["hits"][0] == {"gremlin": "partial_failure", "order_id": placed["order_id"], "attempt": 1}
    assert live["complete"] is True
    calm("chaos", "off")
    ended = calm("chaos", "hits")
    assert ended.out.splitlines()[0].split() == ["GREMLIN", "ORDER", "ATTEMPT"]
    assert ended.out.splitlines()[1].split() == ["partial-failure", placed["order_id"], "1"]
    assert ended.err == ""
    calm("chaos", "on", "crash", "--rate", "0")
    assert calm("chaos", "hits").out == "No attempt was hit.\n"
    assert calm.json("chaos", "hits", live["activation_id"])["activation_id"] == live["activation_id"]
    assert "valerix chaos status" in calm("chaos", "hits", "0123456789ab", code=1).err


def test_an_incomplete_hit_list_is_reported_on_stderr(calm: Valerix) -> None:
    calm("chaos", "on", "partial-failure", "--ttl", "60s")
    calm("order", "place", "monitor")
    calm("chaos", "off")
    last = calm.json("chaos", "hits")["activation_id"]
    server, secrets = calm.stack()["databases"]["redis"], read_secrets(calm.directory / "state")
    assert secrets is not None
    with redis.Redis(server["host"], server["port"], password=secrets.redis_password) as client:
        client.delete(f"chaos:hits:{last}")
    incomplete = calm("chaos", "hits", "-o", "json")
    assert (json.loads(incomplete.out)["hits"], json.loads(incomplete.out)["complete"]) == ([], False)
    assert incomplete.err.startswith("The list is incomplete: ")


def test_a_live_script_is_shown_and_no_other_gremlin_can_be_turned_on(calm: Valerix) -> None:
    hit = {"gremlin": "crash", "order_id": str(uuid.uuid4()), "attempt": 1}
    wish = json.dumps({"crash_rate": 0.5, "script": [hit, hit | {"attempt": 2}]})
    calm("api", "POST", "/api/admin/chaos", "-d", wish)
    assert "scripted: 2 attempts (crash)" in calm("chaos", "status").out
    assert calm.json("chaos", "status")["live"]["script_length"] == 2
    refused = calm("chaos", "on", "latency", code=4)
    assert "follow a script" in refused.err
    assert "Undo: none, its script ended with it" in calm("chaos", "off").err


def test_a_halt_ends_gremlins_and_refuses_new_ones_until_it_is_lifted(valerix: Valerix) -> None:
    valerix("chaos", "on", "crash", "--rate", "1%")
    assert valerix.json("chaos", "halt")["live"] is None
    refused = valerix("chaos", "on", "crash", code=4)
    assert "valerix chaos halt --resume" in refused.err
    assert not valerix.json("chaos", "halt", "--resume")["halted"]


@pytest.mark.parametrize(
    "typed", [["latency", "--rate", "2"], ["crash", "--delay", "5s"], ["gravity"], ["latency", "--ttl", "soon"]]
)
def test_an_invalid_gremlin_is_bad_usage(valerix: Valerix, typed: list[str]) -> None:
    assert len(valerix("chaos", "on", *typed, code=2).err.splitlines()) == 3


def test_a_partial_failure_queues_the_order_and_the_worker_confirms_it_with_one_deduction(calm: Valerix) -> None:
    calm("chaos", "on", "partial-failure", "--ttl", "60s")
    [placed] = calm.json("order", "place", "monitor:2", "--key", "in-the-box")
    assert (placed["http_status"], placed["status"]) == (202, "queued")
    calm("chaos", "off")
    calm("order", "watch", placed["order_id"])
    assert calm.json("order", "replay", "in-the-box")["deductions"] == 1
    output = calm("order", "trace", placed["order_id"]).out
    assert "order-1 queued the order" in output or "order-2 queued the order" in output
    assert "worker-1 confirmed the order" in output


def test_an_open_breaker_queues_orders_until_it_is_automatic(automatic: Valerix) -> None:
    opened = automatic("breaker", "open")
    assert "Undo: valerix breaker auto" in opened.err
    states = {one["replica"]: one["state"] for one in automatic.json("breaker", "status")["replicas"]}
    assert states["order-1"] == states["order-2"] == "open"
    [placed] = automatic.json("order", "place", "keyboard")
    assert (placed["status"], placed["reason"]) == ("queued", "breaker-open")
    assert automatic.json("queue", "status")["depth"] >= 1
    late = automatic("order", "watch", placed["order_id"], "--timeout", "1s", code=124)
    assert "not settled" in late.err
    automatic("breaker", "auto")
    automatic("order", "watch", placed["order_id"])
    moves = [(one["to"], one["reason"]) for one in automatic.json("breaker", "history")]
    assert ("open", "forced open by an operator") in moves


def test_a_forced_breaker_is_marked_in_its_table(automatic: Valerix) -> None:
    table = automatic("breaker", "close").out.splitlines()
    assert table[0].split() == ["REPLICA", "STATE", "SINCE", "WINDOW", "NEXT", "TRIAL", "WHY"]
    assert all("forced closed by an operator" in line for line in table[1:])


def test_only_dead_orders_are_requeued(valerix: Valerix) -> None:
    assert valerix.json("queue", "dead") == []
    assert valerix.json("queue", "requeue", "--all") == {"requeued": []}
    valerix("queue", "requeue", code=2)
    [placed] = valerix.json("order", "place", "keyboard")
    assert "order-not-dead" in valerix("queue", "requeue", placed["order_id"], code=5).err
