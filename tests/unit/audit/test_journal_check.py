"""The audit compares a client's journal with the stored orders."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.unit.audit.buckets import violations
from valerix_cli.audit import journal_check
from valerix_cli.audit.journal_check import ClientJournal, ClientRecord, OrderRow
from valerix_cli.journal import JournalWriter, ResponseReceived

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROW = OrderRow("a-key", "id-1", "confirmed", "ps5", 1)
MATCHING = ClientRecord(["id-1"], ["confirmed"], [("ps5", 1)], [])


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (MATCHING, None),
        (ClientRecord(["id-1"], [], [], []), None),
        (ClientRecord(["id-1"], ["confirmed"], [("ps5", 1)], [("xbox", 1)]), None),
        (
            ClientRecord(["id-2"], ["confirmed"], [("ps5", 1)], []),
            "the client received order id-2, and it is id-1",
        ),
        (ClientRecord(["id-1", "id-2"], [], [], []), "the client received order id-1 and id-2, and it is id-1"),
        (
            ClientRecord(["id-1"], ["failed"], [("ps5", 1)], []),
            "the client received failed, and order id-1 is confirmed",
        ),
        (
            ClientRecord(["id-1"], ["confirmed", "failed"], [], []),
            "the client received confirmed and failed, and order id-1 is confirmed",
        ),
        (
            ClientRecord(["id-1"], [], [("ps5", 1), ("ps5", 2)], []),
            "2 x ps5 was answered with order id-1, which is for 1 x ps5",
        ),
        (
            ClientRecord(["id-1"], [], [], [("ps5", 1)]),
            "1 x ps5 was refused as another body, and order id-1 is for exactly that body",
        ),
    ],
)
def test_a_recorded_response_that_differs_from_its_order_is_a_violation(
    record: ClientRecord, wrong: str | None
) -> None:
    rows = [ROW, msgspec.structs.replace(ROW, key="of another client")]
    found = journal_check.compare({"a-key": record}, rows)
    assert (found.checked, violations(found)) == (1, [("a-key", wrong)] if wrong else [])


def test_an_acknowledged_order_that_does_not_exist_is_a_violation() -> None:
    assert violations(journal_check.compare({"a-key": MATCHING}, [])) == [
        ("a-key", "the client received order id-1, which does not exist")
    ]


def test_an_order_with_a_key_or_body_that_was_never_sent_is_a_violation() -> None:
    assert violations(journal_check.unsent_keys([ROW])) == [
        ("a-key", "order id-1 exists, and the client never sent this key")
    ]
    assert violations(journal_check.unsent_bodies([ROW])) == [
        ("a-key", "order id-1 is for 1 x ps5, which the client never sent under this key")
    ]
    assert journal_check.is_unsent_body(ROW, {"a-key": [("xbox", 1)]})
    assert not journal_check.is_unsent_body(ROW, {"a-key": [("xbox", 1), ("ps5", 1)]})


def response(
    key: str, *, status: str | None = None, problem: str | None = None, order_id: str | None = "id-1"
) -> ResponseReceived:
    return ResponseReceived(
        at=NOON, key=key, item_id="ps5", quantity=1, http_status=201, order_id=order_id, order_status=status,
        problem=problem, replayed=False,
    )  # fmt: skip


def test_a_journal_yields_bodies_sent_and_responses_received_by_key(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "journal", "load", "k-", "here") as journal:
        for key in ("k-1", "k-1", "k-2", "k-3", "k-4", "k-5"):
            journal.sent(key, "ps5", 1)
        journal.write(
            response("k-1", status="queued"),
            response("k-1", status="confirmed"),
            response("k-2", problem="insufficient-stock"),
            response("k-3", problem="idempotency-key-reused"),
            response("k-4", problem="queue-full", order_id=None),
            response("k-5", problem="unknown-item"),
        )
    client = ClientJournal(tmp_path / "journal")
    client.read_new()
    assert client.prefixes == {"k-"}
    assert client.platforms == {"here": "load"}
    assert client.sent == {f"k-{number}": [("ps5", 1)] for number in range(1, 6)}
    body = [("ps5", 1)]
    assert client.records == {
        "k-1": ClientRecord(["id-1"], ["confirmed"], body, []),
        "k-2": ClientRecord(["id-1"], ["failed"], body, []),
        "k-3": ClientRecord(["id-1"], [], [], body),
        "k-5": ClientRecord(["id-1"], ["failed"], body, []),
    }


def test_a_journal_without_a_prefix_claims_no_keys(tmp_path: Path) -> None:
    JournalWriter(tmp_path / "journal", "order place").close()
    client = ClientJournal(tmp_path / "journal")
    client.read_new()
    assert client.prefixes == set()
