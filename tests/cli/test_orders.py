"""Placing, repeating and tracing orders from the command line."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import httpx

from tests.cli.conftest import Valerix


def left(valerix: Valerix, item: str) -> int:
    """Return the stock of an item."""
    [inventory] = valerix.stack()["services"]["inventory"]
    return int(httpx.get(f"{inventory['url']}/api/inventory/{item}").raise_for_status().json()["quantity"])


def test_an_order_is_placed_with_the_next_commands_on_stderr(valerix: Valerix) -> None:
    before = left(valerix, "switch")
    placed = valerix("order", "place", "switch:2", "--key", "a-first-one")
    assert "confirmed" in placed.out
    assert "valerix order replay a-first-one" in placed.err
    assert left(valerix, "switch") == before - 2


def test_several_items_are_several_orders(valerix: Valerix) -> None:
    placed = valerix.json("order", "place", "switch", "mouse:2", "--concurrency", "2")
    assert [one["item_id"] for one in placed] == ["switch", "mouse"]
    assert len({one["order_id"] for one in placed}) == 2


def test_a_file_of_orders_gives_one_json_line_per_order(valerix: Valerix) -> None:
    lines = '# morning\nswitch:1\n{"item_id": "mouse", "quantity": 2, "idempotency_key": "from-a-file"}\n'
    placed = valerix("order", "place", "-f", "-", "-o", "jsonl", stdin=lines).out.splitlines()
    assert [json.loads(line)["quantity"] for line in placed] == [1, 2]
    assert json.loads(placed[1])["idempotency_key"] == "from-a-file"


def test_a_file_with_one_bad_line_places_nothing(valerix: Valerix, tmp_path: Path) -> None:
    before = left(valerix, "mouse")
    (tmp_path / "orders.txt").write_text("mouse:1\nmouse:many\n")
    done = valerix("order", "place", "-f", str(tmp_path / "orders.txt"), code=2)
    assert "line 2" in done.err
    assert left(valerix, "mouse") == before


def test_an_order_beyond_the_stock_exits_with_5_and_shows_both_quantities(valerix: Valerix) -> None:
    have = left(valerix, "chair")
    done = valerix("order", "place", f"chair:{have + 5}", code=5)
    what, why, hint = done.err.splitlines()
    assert what == f"Error: {have + 5} x chair: not ordered."
    assert f"requested {have + 5}, available {have}" in why
    assert "valerix stock restock chair 5" in hint
    assert left(valerix, "chair") == have


def test_an_unknown_item_exits_with_5(valerix: Valerix) -> None:
    assert "unknown-item" in valerix("order", "place", "unicorn", code=5).err


def test_a_key_for_another_order_exits_with_5_and_changes_nothing(valerix: Valerix) -> None:
    [first] = valerix.json("order", "place", "mouse:1", "--key", "taken")
    before = left(valerix, "mouse")
    assert "idempotency-key-reused" in valerix("order", "place", "mouse:2", "--key", "taken", code=5).err
    assert left(valerix, "mouse") == before
    assert valerix.json("order", "get", first["order_id"])["quantity"] == 1


def test_five_sends_of_a_key_give_one_order_and_one_deduction(valerix: Valerix) -> None:
    before = left(valerix, "xbox")
    replay = valerix.json("order", "replay", "five-times", "--item", "xbox:2", "--times", "5", "--concurrency", "5")
    assert len(replay["sends"]) == 5
    assert len(replay["order_ids"]) == 1
    assert replay["deductions"] == 1
    assert {send["http_status"] for send in replay["sends"]} <= {201, 409}
    assert left(valerix, "xbox") == before - 2

    again = valerix("order", "replay", "five-times")
    assert again.out.count("yes") == 5
    assert "5 sends, 1 order, 1 deduction (5 answered with the stored response)." in again.out


def test_a_key_sent_with_another_quantity_is_refused(valerix: Valerix) -> None:
    valerix("order", "place", "xbox", "--key", "to-mutate")
    mutated = valerix.json("order", "replay", "to-mutate", "--mutate", "--times", "2")
    assert [send["http_status"] for send in mutated["sends"]] == [422, 422]
    assert mutated["held"]


def test_an_unused_key_cannot_be_replayed_without_an_item(valerix: Valerix) -> None:
    assert "--item" in valerix("order", "replay", "never-used", code=1).err


def test_orders_are_listed_newest_first_and_filtered(valerix: Valerix) -> None:
    [newest] = valerix.json("order", "place", "webcam")
    listed = valerix.json("order", "list", "--limit", "3", "--item", "webcam", "--status", "confirmed")
    assert listed[0]["order_id"] == newest["order_id"]
    assert {one["item_id"] for one in listed} == {"webcam"}


def test_a_trace_shows_the_steps_of_an_order_across_both_services(valerix: Valerix) -> None:
    [placed] = valerix.json("order", "place", "webcam:2")
    traced = valerix.json("order", "trace", placed["order_id"])
    steps = traced["steps"]
    assert len(bytes.fromhex(traced["trace_id"])) == 16
    assert [(step["where"], step["detail"].get("to") or step["detail"].get("type")) for step in steps] == [
        ("order", "pending"),
        ("inventory", "deduct"),
        ("order", "confirmed"),
    ]
    output = valerix("order", "trace", placed["order_id"]).out
    assert "before anything was sent to inventory" in output
    assert "inventory took 2 x webcam from stock" in output


def test_watching_an_order_ends_when_it_is_settled(valerix: Valerix) -> None:
    [placed] = valerix.json("order", "place", "webcam")
    assert valerix("order", "watch", placed["order_id"]).out.rstrip().endswith("1 x webcam  confirmed")


def test_watching_stock_prints_a_line_per_change_until_it_is_interrupted(valerix: Valerix) -> None:
    watching = valerix.start("stock", "watch")
    assert watching.stdout is not None
    first = [watching.stdout.readline() for _ in range(12)]  # the catalogue
    assert any("headset" in line for line in first)
    valerix("order", "place", "headset:3")
    assert watching.stdout.readline().rstrip().endswith("(-3)")
    assert valerix.end(watching, signal.SIGINT).code == 130


def test_an_unknown_order_gives_a_plain_error(valerix: Valerix) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    assert "order-not-found" in valerix("order", "get", nobody, code=1).err


def test_stock_is_added_once_per_key(valerix: Valerix) -> None:
    before = left(valerix, "laptop")
    assert not valerix.json("stock", "restock", "laptop", "5", "--key", "delivery-7")["repeated"]
    assert valerix.json("stock", "restock", "laptop", "5", "--key", "delivery-7")["repeated"]
    reused = valerix("stock", "restock", "laptop", "6", "--key", "delivery-7", code=5).err
    assert "The key stands for another delivery already; nothing was added." in reused
    assert left(valerix, "laptop") == before + 5


def test_stock_below_a_number_is_listed(valerix: Valerix) -> None:
    assert all(one["quantity"] < 30 for one in valerix.json("stock", "list", "--below", "30"))


def test_an_order_with_an_unknown_outcome_shows_its_key_for_a_repeat(valerix: Valerix) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never responds
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (valerix.directory / "config.toml").write_text(f'[contexts.silent]\norder = ["{url}"]\ninventory = ["{url}"]\n')
        done = valerix("order", "place", "mouse:2", "--context", "silent", "--yes", "--timeout", "500ms", code=124)
    assert re.search(r"try: valerix order place mouse:2 --key [0-9a-f-]{36} ", done.err)


def test_a_killed_replica_is_skipped(valerix: Valerix) -> None:
    first = valerix.stack()["services"]["order"][0]
    os.kill(first["pid"], signal.SIGKILL)
    placed = valerix.json("order", "place", "mouse", "mouse", "mouse", "mouse")
    assert [one["status"] for one in placed] == ["confirmed"] * 4
