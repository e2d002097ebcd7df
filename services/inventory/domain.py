"""Decides deductions: pure functions of the stock, the stored outcomes and the requested lines."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from services.common.refusals import Refusal

Reason: TypeAlias = Literal["insufficient-stock", "unknown-item"]


class InsufficientStock(Refusal):
    slug, status, title = "insufficient-stock", 409, "Not enough stock"


class UnknownItem(Refusal):
    slug, status, title = "unknown-item", 422, "Unknown item"


class OrderIdReused(Refusal):
    slug, status, title = "order-id-reused", 422, "This order id was used for another item or quantity"


class ItemNotFound(Refusal):
    slug, status, title = "item-not-found", 404, "Item not found"


class Line(msgspec.Struct, frozen=True):
    """One order's request for a quantity of one item."""

    order_id: UUID
    item_id: str
    quantity: int


class Deducted(msgspec.Struct, frozen=True):
    """The quantity was deducted; `remaining` is the item's stock now."""

    remaining: int
    repeated: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The order is refused, permanently. `available` is the item's stock at that time."""

    reason: Reason
    available: int | None = None
    repeated: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """The order id has an outcome for another item or quantity: a bug of the caller. Nothing is changed."""

    item_id: str
    quantity: int


Outcome: TypeAlias = Deducted | Refused | Conflict


class StoredOutcome(msgspec.Struct, frozen=True):
    """The outcome stored for an order id: a deduction, or a refusal."""

    item_id: str
    quantity: int
    refusal: Refused | None = None


class Changes(msgspec.Struct, frozen=True):
    """The new outcomes, which have to be stored."""

    deductions: list[Line]
    refusals: list[tuple[Line, Refused]]


def decide(stock: Mapping[str, int], stored: Mapping[UUID, StoredOutcome], lines: Sequence[Line]) -> list[Outcome]:
    """Decide each line in order of arrival.

    A deduction reduces the stock for later lines. A refusal does not, so a smaller line after it may still be deducted.
    A repeated order id gets the outcome of the first, also within `lines`.
    """
    left, known = dict(stock), dict(stored)
    outcomes: list[Outcome] = []
    for line in lines:
        earlier = known.get(line.order_id)
        if earlier is not None:
            outcomes.append(_repeat(line, earlier, left))
            continue
        outcome = _deduct(line, left)
        known[line.order_id] = StoredOutcome(
            line.item_id, line.quantity, outcome if isinstance(outcome, Refused) else None
        )
        outcomes.append(outcome)
    return outcomes


def changes(lines: Sequence[Line], outcomes: Sequence[Outcome]) -> Changes:
    """Return the lines whose outcome is new."""
    found = Changes([], [])
    for line, outcome in zip(lines, outcomes, strict=True):
        match outcome:
            case Deducted(repeated=False):
                found.deductions.append(line)
            case Refused(repeated=False):
                found.refusals.append((line, outcome))
    return found


def _deduct(line: Line, left: dict[str, int]) -> Deducted | Refused:
    available = left.get(line.item_id)
    if available is None:
        return Refused("unknown-item")
    if available < line.quantity:
        return Refused("insufficient-stock", available)
    left[line.item_id] = available - line.quantity
    return Deducted(available - line.quantity)


def _repeat(line: Line, earlier: StoredOutcome, left: Mapping[str, int]) -> Outcome:
    if (earlier.item_id, earlier.quantity) != (line.item_id, line.quantity):
        return Conflict(earlier.item_id, earlier.quantity)
    if earlier.refusal is not None:
        return Refused(earlier.refusal.reason, earlier.refusal.available, repeated=True)
    return Deducted(left[line.item_id], repeated=True)
