"""The audit reports tampering with each column of each table, except those listed here with a reason."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Databases
from tests.integration.audit.tampered_databases import Books
from valerix_cli.journal import JournalWriter

pytestmark = pytest.mark.long

KINDS = {
    "orders": ("status", ["pending", "queued", "dead", "confirmed", "failed"]),
    "order_events": ("to", ["pending", "queued", "dead", "confirmed", "failed"]),
    "inventory_transactions": ("transaction_type", ["seed", "restock", "deduct"]),
}
"""Selections of rows that are tampered with separately; other tables are changed as a whole."""

UNFINISHED, FINISHED = ["pending", "queued"], ["dead", "confirmed", "failed"]
PEOPLE = "shown to people, and nothing is decided by it"
NOT_COVERED: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("orders", "id"): ("the order of lists, and nothing else", [*UNFINISHED, *FINISHED]),
    ("orders", "attempts"): ("it decides only when an operator is asked", [*UNFINISHED, *FINISHED]),
    ("orders", "traceparent"): ("a trace goes on there, and nothing is decided by it", [*UNFINISHED, *FINISHED]),
    ("orders", "next_attempt_at"): ("nothing is due when an order is not tried any more", FINISHED),
    ("orders", "lease_until"): ("unused once an order is not retried", FINISHED),
    ("orders", "lease_token"): ("unused once an order has ended", ["confirmed", "failed"]),
    ("orders", "created_at"): (PEOPLE, FINISHED),
    ("orders", "updated_at"): (PEOPLE, FINISHED),
    ("order_events", "detail"): (
        "for display; tokens count only if an order was claimed",
        ["confirmed", "failed"],
    ),
    ("order_events", "id"): (
        "what was last stays the last",
        ["dead", "confirmed", "failed"],
    ),
    ("order_events", "at"): (
        f"{PEOPLE}, except where a lease was cut short",
        ["pending", "queued", "dead", "confirmed", "failed"],
    ),
    ("inventory", "id"): ("the order of lists, and nothing else", [""]),
    ("inventory", "item_name"): (PEOPLE, [""]),
    ("inventory", "created_at"): (PEOPLE, [""]),
    ("inventory", "updated_at"): (PEOPLE, [""]),
    ("inventory_transactions", "id"): ("the order of lists, and nothing else", ["seed", "restock", "deduct"]),
    ("inventory_transactions", "idempotency_key"): ("which key it was, only the operator knows", ["restock"]),
    ("inventory_transactions", "created_at"): (PEOPLE, ["seed", "restock", "deduct"]),
    ("refusals", "available"): (PEOPLE, [""]),
    ("refusals", "created_at"): (PEOPLE, [""]),
    ("schema_migrations", "version"): ("the doctor compares it with the code", [""]),
    ("schema_migrations", "name"): ("the doctor goes by the version", [""]),
    ("schema_migrations", "applied_at"): (PEOPLE, [""]),
    ("platform_identity", "is_only"): ("it holds one row and can hold no other", [""]),
    ("platform_identity", "id"): ("it says which journals are about these orders, and nothing else", [""]),
    ("platform", "is_only"): ("it holds one row and can hold no other", [""]),
    ("platform", "secret"): ("the auditor may not read it; with another, cached answers are worth nothing", [""]),
}
CHANGES = {
    "bigint": sql.SQL("coalesce({}, 0) + 1000000"),
    "integer": sql.SQL("{} + 1"),
    "text": sql.SQL("coalesce({}, '') || 'x'"),
    "uuid": sql.SQL("gen_random_uuid()"),
    "bytea": sql.SQL("sha256({})"),
    "jsonb": sql.SQL("'{{}}'"),
    "boolean": sql.SQL("NOT {}"),
    "timestamp with time zone": sql.SQL("coalesce({}, now()) + interval '2 d'"),
}
"""The tampered value for each type."""

Service = Literal["order", "inventory"]


def columns(url: str) -> list[tuple[str, str, str, str]]:
    """Return schema, table, name and type of every column."""
    with psycopg.connect(url) as conn:
        return conn.execute(
            """
            SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
            WHERE table_schema IN ('public', 'private') ORDER BY table_name, ordinal_position
            """
        ).fetchall()


@pytest.fixture
def tampered(books: Books, tmp_path: Path) -> tuple[Books, Path]:
    """Books with an order in every status and a line of every type, no constraint, and the journal of its client."""
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path, "run", "run-") as journal:
        for kind, way in (
            ("pending", []),
            ("queued", ["queued"]),
            ("dead", ["queued", "dead"]),
            ("confirmed", ["confirmed"]),
            ("failed", ["failed"]),
        ):
            sent = journal.sent(f"run-{kind}", "ps5", 1)
            order_id = books.order(f"run-{kind}", *way, age=timedelta(seconds=20))
            if way:
                journal.answered(sent, 202, str(order_id), way[-1])
    books.book("ps5", 10, "restock", key="more")
    for url in (books.sources.orders, books.sources.inventory):
        _let_everything_be_written(url)
    return books, path


def _let_everything_be_written(url: str) -> None:
    with psycopg.connect(url) as conn:
        for schema, table, name in conn.execute(
            """
            SELECT nspname, relname, conname FROM pg_constraint
            JOIN pg_class ON pg_class.oid = conrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname IN ('public', 'private') AND contype <> 'n' ORDER BY contype = 'f' DESC
            """
        ).fetchall():
            drop = sql.SQL("ALTER TABLE {}.{} DROP CONSTRAINT IF EXISTS {} CASCADE")
            conn.execute(drop.format(*map(sql.Identifier, (schema, table, name))))
        for (index,) in conn.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
            " WHERE indisunique AND relnamespace = 'public'::regnamespace"
        ).fetchall():
            conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        for schema, table, column in conn.execute(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE is_identity = 'YES'"
        ).fetchall():
            drop = sql.SQL("ALTER TABLE {}.{} ALTER COLUMN {} DROP IDENTITY")
            conn.execute(drop.format(*map(sql.Identifier, (schema, table, column))))


def _urls(books: Books) -> dict[Service, str]:
    return {"order": books.sources.orders, "inventory": books.sources.inventory}


def is_named(books: Books, journal: Path) -> bool:
    return any(rule.broken for rule in books.audit(journal, settle_limit=600).invariants)


def change(url: str, table: str, column: str, to: sql.Composable, kind: str) -> int:
    which: sql.Composable = sql.SQL("true")
    if kind:
        which = sql.SQL("{} = {}").format(sql.Identifier(KINDS[table][0]), sql.Literal(kind))
    with psycopg.connect(url) as conn:
        schema = "private" if table == "platform" else "public"
        statement = sql.SQL("UPDATE {}.{} SET {} = {} WHERE {}").format(
            sql.Identifier(schema), sql.Identifier(table), sql.Identifier(column), to, which
        )
        return conn.execute(statement).rowcount


@pytest.mark.parametrize("service", ["order", "inventory"])
def test_each_tampered_column_is_reported_or_exempt(
    service: Service, tampered: tuple[Books, Path], databases: Databases
) -> None:
    books, journal = tampered
    assert not is_named(books, journal), books.broken(journal)
    url = _urls(books)[service]
    name = url.rpartition("/")[2]
    wrong = []
    for _, table, column, kind_of in columns(url):
        listed = NOT_COVERED.get((table, column), ("", []))[1]
        for kind in KINDS.get(table, ("", [""]))[1]:
            databases.make(f"{name}_kept", name)
            changed = change(url, table, column, CHANGES[kind_of].format(sql.Identifier(column)), kind)
            assert changed, (table, column, kind)
            if is_named(books, journal) == (kind in listed):
                wrong.append((table, column, kind, "is named" if kind in listed else "is not named"))
            databases.drop(name)
            databases.make(name, f"{name}_kept")
            databases.drop(f"{name}_kept")
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("table", ["orders", "order_events", "inventory", "inventory_transactions", "refusals"])
def test_deleted_rows_of_each_table_are_reported(table: str, tampered: tuple[Books, Path]) -> None:
    books, journal = tampered
    for url in _urls(books).values():
        with psycopg.connect(url) as conn:
            if conn.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone() == (True,):
                assert conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table))).rowcount
    assert is_named(books, journal)


def test_every_exempt_column_exists(books: Books) -> None:
    there = {(table, column) for url in _urls(books).values() for _, table, column, _ in columns(url)}
    assert NOT_COVERED.keys() <= there
    assert all(why for why, _ in NOT_COVERED.values())
