"""The audit from the command line."""

import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import TupleRow

from tests.cli.conftest import Valerix
from tests.processes import eventually
from valerix_cli.error_reference.invariants import INVARIANTS
from valerix_cli.local.stack import INVENTORY_DB, ORDER_DB, auditor_url, cache_url, read_secrets, read_stack


def spoil(valerix: Valerix, statement: LiteralString) -> None:
    """Change one row of inventory_db directly, bypassing the service."""
    with database(valerix, "inventory_db") as conn:
        assert conn.execute(statement).rowcount == 1


def database(valerix: Valerix, name: str) -> psycopg.Connection[TupleRow]:
    directory = valerix.directory / "state"
    stack, secrets = read_stack(directory), read_secrets(directory)
    assert stack is not None
    assert secrets is not None
    port, password = stack.databases["postgres"].port, secrets.postgres_admin_password
    return psycopg.connect(f"postgresql://postgres:{password}@127.0.0.1:{port}/{name}", autocommit=True)


@pytest.fixture
def miscounted(valerix: Valerix) -> Iterator[Valerix]:
    """The platform with one chair too many; the count is restored after a test."""
    spoil(valerix, "UPDATE inventory SET quantity = quantity + 1 WHERE item_id = 'chair'")
    yield valerix
    spoil(valerix, "UPDATE inventory SET quantity = quantity - 1 WHERE item_id = 'chair'")


def test_orders_with_a_journal_are_audited_clean(valerix: Valerix, tmp_path: Path) -> None:
    journal = str(tmp_path / "client.jsonl")
    valerix("order", "place", "monitor", "monitor:2", "--journal", journal)
    valerix("order", "place", "monitor:1000", "--journal", journal, code=5)
    done = valerix("audit", "--journal", journal)
    assert "Clean" in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("acknowledged-not-lost"))
    assert row.split() == ["acknowledged-not-lost", "ok", "3", "keys", "0"]
    found = valerix.json("audit", "--journal", journal)
    assert (found["verdict"], found["compared"]["journal_keys"]) == ("clean", 3)


def test_a_broken_invariant_exits_with_11_and_names_the_row(miscounted: Valerix) -> None:
    done = miscounted("audit", code=11)
    assert "stock-conserved           VIOLATED" in done.out
    assert "chair: its quantity is" in done.out
    what, why, hint = done.err.splitlines()
    assert what == "Error: An invariant is violated."
    assert "stock-conserved (1); first: chair" in why
    assert "valerix explain stock-conserved" in hint
    assert miscounted.json("audit", code=11)["verdict"] == "violated"


def test_a_watched_audit_prints_a_line_per_change_until_it_is_interrupted(valerix: Valerix) -> None:
    watching = valerix.start("audit", "--watch", "--every", "200ms")
    assert watching.stdout is not None
    first = [watching.stdout.readline() for _ in INVARIANTS]
    assert first[0].startswith("one-order-per-key ok")
    spoil(valerix, "UPDATE inventory SET quantity = quantity + 1 WHERE item_id = 'chair'")
    assert watching.stdout.readline().startswith("stock-conserved VIOLATED")
    spoil(valerix, "UPDATE inventory SET quantity = quantity - 1 WHERE item_id = 'chair'")
    assert watching.stdout.readline().startswith("stock-conserved ok")
    assert valerix.end(watching, signal.SIGINT).code == 130


def test_a_journal_names_its_platform_and_others_are_refused(valerix: Valerix, tmp_path: Path) -> None:
    with database(valerix, "order_db") as conn:
        ((platform,),) = conn.execute("SELECT id::text FROM platform_identity").fetchall()
    for name, command in (
        ("order", ["order", "place", "monitor"]),
        ("load", ["load", "--item", "monitor", "--rate", "20/s", "--for", "200ms"]),
    ):
        journal = tmp_path / f"{name}.jsonl"
        valerix(*command, "--journal", str(journal))
        began = json.loads(journal.read_text().splitlines()[0])
        assert (began["event"], began["platform"]) == ("began", platform)
        journal.write_text(journal.read_text().replace(platform, str(uuid.uuid4())))
        refused = valerix("audit", "--journal", str(journal), code=2)
        assert "belongs to another platform" in refused.err
        assert "lost" not in refused.out + refused.err


def test_a_file_that_is_not_a_journal_is_bad_usage(valerix: Valerix, tmp_path: Path) -> None:
    assert "cannot be read" in valerix("audit", "--journal", str(tmp_path / "nowhere"), code=2).err
    assert "--watch and --repair" in valerix("audit", "--watch", "--repair", code=2).err


def test_a_context_without_databases_is_refused_with_the_settings_to_add(valerix: Valerix) -> None:
    (valerix.directory / "config.toml").write_text(
        '[contexts.staging]\norder = ["http://127.0.0.1:9"]\ninventory = ["http://127.0.0.1:9"]\n'
    )
    assert "order_database_env" in valerix("audit", "--context", "staging", code=4).err


def test_a_remote_context_with_a_redis_url_has_its_cache_checked(valerix: Valerix) -> None:
    valerix("order", "place", "mouse", "--key", "cached-elsewhere")
    directory = valerix.directory / "state"
    stack, secrets = read_stack(directory), read_secrets(directory)
    assert stack is not None
    assert secrets is not None
    books = {"ORDERS": auditor_url(stack, secrets, ORDER_DB), "STOCK": auditor_url(stack, secrets, INVENTORY_DB)}
    (valerix.directory / "config.toml").write_text(
        '[contexts.staging]\norder = ["http://127.0.0.1:9"]\ninventory = ["http://127.0.0.1:9"]\n'
        'order_database_env = "ORDERS"\ninventory_database_env = "STOCK"\nredis_env = "CACHE"\n'
    )

    def audited(**cache: str | None) -> tuple[dict[str, Any], list[str]]:
        environ: dict[str, Any] = {name: str(url) for name, url in (books | cache).items()}
        found = json.loads(valerix("audit", "--context", "staging", "-o", "json", **environ).out)
        rules = {rule["name"]: rule for rule in found["invariants"]}
        return rules.get("cache-agrees", {}), [one for one in found["not_checked"] if "cached answers" in one]

    checked, left = audited(CACHE=cache_url(stack, secrets, {}))
    assert (checked["verdict"], checked["checked"] > 0, left) == ("held", True, [])
    for cache, why in (({}, "redis_env"), ({"CACHE": "redis://127.0.0.1:9/0"}, "cannot be read")):
        checked, [omitted] = audited(**cache)
        assert (checked, why in omitted) == ({}, True), omitted


def test_a_repair_sends_a_lost_deduction_again_and_never_edits_stock(valerix: Valerix) -> None:
    valerix("order", "place", "webcam", "--key", "restored")
    spoil(
        valerix,
        """
        WITH lost AS (
            DELETE FROM inventory_transactions WHERE item_id = 'webcam' AND transaction_type = 'deduct'
            RETURNING item_id, quantity_change
        )
        UPDATE inventory SET quantity = quantity - quantity_change FROM lost WHERE lost.item_id = inventory.item_id
        """,
    )
    assert "confirmed-means-deducted" in valerix("audit", code=11).err
    done = valerix("audit", "--repair")
    assert "the deduction of 1 x webcam" in done.err
    assert "Clean" in done.out
    assert valerix("audit", "--repair").err.strip() == "Retried: 0."


def test_a_repair_requeues_dead_orders_which_then_settle(valerix: Valerix) -> None:
    valerix("chaos", "on", "crash", "--ttl", "25s")
    [placed] = valerix.json("order", "place", "keyboard")
    with database(valerix, "order_db") as conn:
        eventually(lambda: is_dead_after_its_last_attempt(conn, placed["order_id"]), 20)
    valerix("chaos", "off")
    done = valerix("audit", "--repair")
    assert f"order {placed['order_id']} was dead and is queued again" in done.err
    assert valerix("order", "watch", placed["order_id"]).out.rstrip().endswith("confirmed")
    assert valerix.json("audit")["verdict"] == "clean"


def is_dead_after_its_last_attempt(conn: psycopg.Connection[TupleRow], order_id: str) -> bool:
    """Leave an order one attempt, due now; return True once it is dead."""
    conn.execute(
        """UPDATE orders SET attempts = 9, next_attempt_at = now()
           WHERE order_id = %s AND status = 'queued' AND lease_until IS NULL""",
        [order_id],
    )
    return bool(conn.execute("SELECT FROM orders WHERE order_id = %s AND status = 'dead'", [order_id]).rowcount)
