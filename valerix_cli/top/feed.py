"""New and changed orders, newest first. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from valerix_cli.clients.order_models import OrderResponse
from valerix_cli.clients.wire import Order

PAGE = 100
"""The number of orders per request."""
_KEPT = 200  # lines
_FIRST = 3  # lines of this session
_REMEMBERED = 1000  # orders


class FeedLine(msgspec.Struct, frozen=True):
    """One order that is new or has changed, or a request of this session without a new or changed order.

    `before` is its previous status. `ours` was sent by this session, `replayed` returned a stored response.
    """

    at: datetime
    item_id: str
    quantity: int
    status: str
    key: str
    before: str | None = None
    reason: str | None = None
    ours: bool = False
    replayed: bool = False


class Feed(msgspec.Struct, frozen=True):
    """`known` has the last status of each order. `skipped`: more orders were new than one request returns."""

    lines: Sequence[FeedLine] = ()
    known: Mapping[UUID, str] = {}
    skipped: bool = False


def fold(feed: Feed, orders: Sequence[Order]) -> Feed:
    """Return the feed with the changes among the newest `orders`."""
    new = [order for order in orders if feed.known.get(order.order_id) != order.status]
    lines = sorted((_line(order, feed.known.get(order.order_id)) for order in new), key=_at, reverse=True)
    met_before = any(order.order_id in feed.known for order in orders)
    known = {**feed.known, **{order.order_id: order.status for order in reversed(orders)}}
    return Feed(
        [*lines, *feed.lines][:_KEPT],
        dict(list(known.items())[-_REMEMBERED:]),
        skipped=bool(feed.known) and len(orders) >= PAGE and not met_before,
    )


def with_ours(lines: Iterable[FeedLine], sends: Sequence[OrderResponse]) -> list[FeedLine]:
    """Return `lines` with the orders of this session marked, and a line for each send that has none.

    The newest of them come first, since under load other lines scroll away quickly.
    """
    keys = {sent.request.key for sent in sends}
    marked = [msgspec.structs.replace(line, ours=line.key in keys) for line in lines]
    shown = {line.key for line in marked if line.ours}
    apart = [_of_send(sent) for sent in sends if sent.replayed or sent.request.key not in shown]
    ours = sorted([*(line for line in marked if line.ours), *apart], key=_at, reverse=True)[:_FIRST]
    return [*ours, *(line for line in marked if not line.ours)]


def _line(order: Order, before: str | None) -> FeedLine:
    return FeedLine(
        order.updated_at, order.item_id, order.quantity, order.status, order.idempotency_key, before, order.reason
    )


def _of_send(sent: OrderResponse) -> FeedLine:
    order, problem = sent.order, sent.problem
    return FeedLine(
        sent.sent_at,
        sent.request.item_id,
        sent.request.quantity,
        order.status if order else "refused",
        sent.request.key,
        reason=problem.slug if problem else None,
        ours=True,
        replayed=sent.replayed,
    )


def _at(line: FeedLine) -> datetime:
    return line.at
