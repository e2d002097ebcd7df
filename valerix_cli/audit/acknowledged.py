"""What a client was told, held against what the database says."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from valerix_cli.audit.lines import Tally
from valerix_cli.audit.model import Found
from valerix_cli.journal import Answered, Began, JournalReader, Sent

_OUTCOMES = {"confirmed": "confirmed", "failed": "failed"}
_REFUSALS = {"insufficient-stock": "failed", "unknown-item": "failed"}  # with an id: the order was stored, and failed
_REUSED = "idempotency-key-reused"

T = TypeVar("T")
Body: TypeAlias = tuple[str, int]
"""What an order is for: an item, and how many."""


class Told(msgspec.Struct):
    """What a client was told of one key: the ids of its order, how it ended, and for which bodies it stands or not."""

    order_ids: list[str] = []
    outcomes: list[str] = []
    bodies: list[Body] = []
    others: list[Body] = []


class Row(msgspec.Struct, frozen=True):
    """The order that a key has in the database."""

    key: str
    order_id: str
    status: str
    item_id: str
    quantity: int


class Client:
    """A journal as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self._reader = JournalReader(path)
        self.told: dict[str, Told] = {}
        self.sent: dict[str, list[Body]] = {}
        self.prefixes: set[str] = set()
        self.platforms: dict[str | None, str] = {}
        """To which platforms it was sent, by the first run for each; None where a run does not say so."""

    def read_on(self) -> None:
        """Take in what has been added. Raises BadUsageError when it is no journal."""
        for entry in self._reader.entries():
            match entry:
                case Began():
                    self.platforms.setdefault(entry.platform, entry.run)
                    if entry.key_prefix is not None:
                        self.prefixes.add(entry.key_prefix)
                case Sent(key=key):
                    _note(self.sent.setdefault(key, []), (entry.item_id, entry.quantity))
                case Answered(key=key, order_id=str(order_id)):
                    told = self.told.setdefault(key, Told())
                    _note(told.order_ids, order_id)
                    _note(told.outcomes, _OUTCOMES.get(entry.order_status or "") or _REFUSALS.get(entry.problem or ""))
                    _note(told.others if entry.problem == _REUSED else told.bodies, (entry.item_id, entry.quantity))


def compare(told: Mapping[str, Told], rows: Iterable[Row]) -> Found:
    """Hold what was told of each key against its row."""
    tally = Tally()
    tally.checked = len(told)
    missing = dict(told)
    for row in rows:
        known = missing.pop(row.key, None)
        if known is not None:
            _compare_one(tally, row, known)
    for key, known in missing.items():
        tally.add(key, f"the client received order {' and '.join(known.order_ids)}, and there is none")
    return tally.found


def strangers(rows: Iterable[Row]) -> Found:
    """Orders whose keys belong to a client that never sent them."""
    tally = Tally()
    for row in rows:
        tally.add(row.key, f"order {row.order_id} exists, and the client never sent this key")
    return tally.found


def is_other(row: Row, sent: Mapping[str, Sequence[Body]]) -> bool:
    """Whether an order is for something else than what was sent under its key."""
    return (row.item_id, row.quantity) not in sent[row.key]


def never_sent(rows: Iterable[Row]) -> Found:
    """Orders under keys of a client, for what it never sent."""
    tally = Tally()
    for row in rows:
        what = _what((row.item_id, row.quantity))
        tally.add(row.key, f"order {row.order_id} is for {what}, which the client never sent under this key")
    return tally.found


def _compare_one(tally: Tally, row: Row, told: Told) -> None:
    is_for = (row.item_id, row.quantity)
    wrong = [body for body in told.bodies if body != is_for]
    if told.order_ids != [row.order_id]:
        tally.add(row.key, f"the client received order {' and '.join(told.order_ids)}, and it is {row.order_id}")
    elif any(outcome != row.status for outcome in told.outcomes):
        tally.add(
            row.key, f"the client received {' and '.join(told.outcomes)}, and order {row.order_id} is {row.status}"
        )
    elif wrong:
        asked = " and ".join(_what(body) for body in wrong)
        tally.add(row.key, f"{asked} was answered with order {row.order_id}, which is for {_what(is_for)}")
    elif is_for in told.others:
        tally.add(row.key, f"{_what(is_for)} was refused as another body, and order {row.order_id} is for just that")


def _what(body: Body) -> str:
    item_id, quantity = body
    return f"{quantity} x {item_id}"


def _note(known: list[T], new: T | None) -> None:
    if new is not None and new not in known:
        known.append(new)
