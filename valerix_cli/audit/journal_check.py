"""Compares a client's journal with the orders in the database: what it sent, and the responses it received."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from valerix_cli.audit.comparison import FindingBuilder
from valerix_cli.audit.model import Finding
from valerix_cli.journal import JournalReader, RequestSent, ResponseReceived, RunStarted

_OUTCOMES = {"confirmed": "confirmed", "failed": "failed"}
_REFUSALS = {"insufficient-stock": "failed", "unknown-item": "failed"}  # with an order id: it was stored and failed
_REUSED = "idempotency-key-reused"

T = TypeVar("T")
Body: TypeAlias = tuple[str, int]
"""Item id and quantity of an order."""


class ClientRecord(msgspec.Struct):
    """The responses that a client received for one key.

    `bodies` were answered with an order; `rejected_bodies` were refused because the key belongs to another body.
    """

    order_ids: list[str] = []
    outcomes: list[str] = []
    bodies: list[Body] = []
    rejected_bodies: list[Body] = []


class OrderRow(msgspec.Struct, frozen=True):
    """The stored order of a key."""

    key: str
    order_id: str
    status: str
    item_id: str
    quantity: int


class ClientJournal:
    """The entries of a journal file that were read so far."""

    def __init__(self, path: Path) -> None:
        self._reader = JournalReader(path)
        self.records: dict[str, ClientRecord] = {}
        self.sent: dict[str, list[Body]] = {}
        self.prefixes: set[str] = set()
        self.platforms: dict[str | None, str] = {}
        """The first run for each platform id; None is the id of runs that do not name their platform."""

    def read_new(self) -> None:
        """Read the entries added since the last call. Raises BadUsageError if the file is not a journal."""
        for entry in self._reader.entries():
            match entry:
                case RunStarted():
                    self.platforms.setdefault(entry.platform, entry.run)
                    if entry.key_prefix is not None:
                        self.prefixes.add(entry.key_prefix)
                case RequestSent(key=key):
                    _add_once(self.sent.setdefault(key, []), (entry.item_id, entry.quantity))
                case ResponseReceived(key=key, order_id=str(order_id)):
                    record = self.records.setdefault(key, ClientRecord())
                    outcome = _OUTCOMES.get(entry.order_status or "") or _REFUSALS.get(entry.problem or "")
                    bodies = record.rejected_bodies if entry.problem == _REUSED else record.bodies
                    _add_once(record.order_ids, order_id)
                    _add_once(record.outcomes, outcome)
                    _add_once(bodies, (entry.item_id, entry.quantity))


def compare(records: Mapping[str, ClientRecord], rows: Iterable[OrderRow]) -> Finding:
    """Compare the responses recorded for each key with the stored order of that key."""
    builder = FindingBuilder()
    builder.checked = len(records)
    missing = dict(records)
    for row in rows:
        record = missing.pop(row.key, None)
        if record is not None:
            _compare_record(builder, row, record)
    for key, record in missing.items():
        builder.add(key, f"the client received order {' and '.join(record.order_ids)}, which does not exist")
    return builder.finding


def unsent_keys(rows: Iterable[OrderRow]) -> Finding:
    """Report orders whose keys have the client's prefix but were never sent by it."""
    builder = FindingBuilder()
    for row in rows:
        builder.add(row.key, f"order {row.order_id} exists, and the client never sent this key")
    return builder.finding


def is_unsent_body(row: OrderRow, sent: Mapping[str, Sequence[Body]]) -> bool:
    """Return True if the order has a body that was not sent under its key."""
    return (row.item_id, row.quantity) not in sent[row.key]


def unsent_bodies(rows: Iterable[OrderRow]) -> Finding:
    """Report orders under the client's keys with bodies that it never sent."""
    builder = FindingBuilder()
    for row in rows:
        body = _format_body((row.item_id, row.quantity))
        builder.add(row.key, f"order {row.order_id} is for {body}, which the client never sent under this key")
    return builder.finding


def _compare_record(builder: FindingBuilder, row: OrderRow, record: ClientRecord) -> None:
    """Add the first difference between a record and its order."""
    stored = (row.item_id, row.quantity)
    wrong = [body for body in record.bodies if body != stored]
    if record.order_ids != [row.order_id]:
        builder.add(row.key, f"the client received order {' and '.join(record.order_ids)}, and it is {row.order_id}")
    elif any(outcome != row.status for outcome in record.outcomes):
        outcomes = " and ".join(record.outcomes)
        builder.add(row.key, f"the client received {outcomes}, and order {row.order_id} is {row.status}")
    elif wrong:
        bodies = " and ".join(_format_body(body) for body in wrong)
        builder.add(row.key, f"{bodies} was answered with order {row.order_id}, which is for {_format_body(stored)}")
    elif stored in record.rejected_bodies:
        body = _format_body(stored)
        builder.add(row.key, f"{body} was refused as another body, and order {row.order_id} is for exactly that body")


def _format_body(body: Body) -> str:
    item_id, quantity = body
    return f"{quantity} x {item_id}"


def _add_once(values: list[T], new: T | None) -> None:
    if new is not None and new not in values:
        values.append(new)
