"""What the warehouse decides: pure functions of the stock, of what was answered before, and of the lines asked for."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from services.common.refusals import Refusal

Reason: TypeAlias = Literal["insufficient-stock", "unknown-item"]


class InsufficientStock(Refusal):
    slug, status, title = "insufficient-stock", 409, "Not enough stock"


class UnknownItem(Refusal):
    slug, status, title = "unknown-item", 422, "There is no such item"


class OrderIdReused(Refusal):
    slug, status, title = "order-id-reused", 422, "This order was answered before, for something else"


class ItemNotFound(Refusal):
    slug, status, title = "item-not-found", 404, "There is no such item"


class Line(msgspec.Struct, frozen=True):
    """One order's claim on one item."""

    order_id: UUID
    item_id: str
    quantity: int


class Deducted(msgspec.Struct, frozen=True):
    """The order has its goods; `remaining` is what the item has left now."""

    remaining: int
    repeated: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The order gets nothing, for good. `available` is what the item had when the order was refused."""

    reason: Reason
    available: int | None = None
    repeated: bool = False


class Contradicted(msgspec.Struct, frozen=True):
    """The order was answered before, for another item or quantity: a bug of the caller. Nothing changed."""

    item_id: str
    quantity: int


Outcome: TypeAlias = Deducted | Refused | Contradicted


class Answered(msgspec.Struct, frozen=True):
    """What an order was answered before: its goods, or the stored refusal."""

    item_id: str
    quantity: int
    refusal: Refused | None = None


class Changes(msgspec.Struct, frozen=True):
    """What is new among the outcomes, and so has to be stored."""

    deductions: list[Line]
    refusals: list[tuple[Line, Refused]]


def decide(stock: Mapping[str, int], answered: Mapping[UUID, Answered], lines: Sequence[Line]) -> list[Outcome]:
    """Answer each line in order of arrival, as if the others after it did not exist.

    What one line takes is gone for those after it; a line that is refused takes nothing, so a smaller one
    after it may still be served. A repeat gets the answer of the first, also within `lines`.
    """
    left, known = dict(stock), dict(answered)
    outcomes: list[Outcome] = []
    for line in lines:
        earlier = known.get(line.order_id)
        if earlier is not None:
            outcomes.append(_recall(line, earlier, left))
            continue
        outcome = _take(line, left)
        known[line.order_id] = Answered(line.item_id, line.quantity, outcome if isinstance(outcome, Refused) else None)
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


def _take(line: Line, left: dict[str, int]) -> Deducted | Refused:
    available = left.get(line.item_id)
    if available is None:
        return Refused("unknown-item")
    if available < line.quantity:
        return Refused("insufficient-stock", available)
    left[line.item_id] = available - line.quantity
    return Deducted(available - line.quantity)


def _recall(line: Line, earlier: Answered, left: Mapping[str, int]) -> Outcome:
    if (earlier.item_id, earlier.quantity) != (line.item_id, line.quantity):
        return Contradicted(earlier.item_id, earlier.quantity)
    if earlier.refusal is not None:
        return Refused(earlier.refusal.reason, earlier.refusal.available, repeated=True)
    return Deducted(left[line.item_id], repeated=True)
