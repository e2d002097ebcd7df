"""Views of orders: lists, one order, and results of placing some."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Order
from valerix_cli.output_models import PlacedOrder, Replay
from valerix_cli.views.tables import clock, coloured, facts, table


def orders_view(orders: list[Order]) -> RenderableType:
    if not orders:
        return Text("No orders.")
    return table(
        "order",
        "item",
        "quantity",
        "status",
        "reason",
        "created",
        "key",
        rows=[
            [
                str(order.order_id),
                order.item_id,
                str(order.quantity),
                coloured(order.status),
                order.reason or "",
                clock(order.created_at),
                order.idempotency_key,
            ]
            for order in orders
        ],
        right=("quantity",),
        wrap=("reason",),
        spare=("key", "created"),
    )


def order_view(order: Order) -> RenderableType:
    return facts(
        [
            ("order", str(order.order_id)),
            ("item", order.item_id),
            ("quantity", str(order.quantity)),
            ("status", coloured(order.status)),
            *([("reason", order.reason)] if order.reason else []),
            ("attempts", str(order.attempts)),
            ("key", order.idempotency_key),
            ("created", clock(order.created_at)),
            ("updated", clock(order.updated_at)),
        ]
    )


def placed_view(placed: list[PlacedOrder]) -> RenderableType:
    return table(
        "order",
        "item",
        "quantity",
        "status",
        "reason",
        "http",
        "ms",
        "key",
        rows=[
            [
                one.order_id or "",
                one.item_id,
                str(one.quantity),
                coloured(one.status or "refused") if not one.replayed else Text(f"{one.status or 'refused'}, replayed"),
                one.reason or "",
                str(one.http_status),
                f"{one.milliseconds:.0f}",
                one.idempotency_key,
            ]
            for one in placed
        ],
        right=("quantity", "ms"),
        wrap=("reason",),
        spare=("http", "ms", "key"),
    )


def replay_view(replay: Replay) -> RenderableType:
    sends = table(
        "send",
        "http",
        "answer",
        "replayed",
        "order",
        "ms",
        rows=[
            [
                str(number),
                str(send.http_status),
                coloured(send.status) if send.status else Text(send.reason or ""),
                "yes" if send.replayed else "no",
                send.order_id or "",
                f"{send.milliseconds:.0f}",
            ]
            for number, send in enumerate(replay.sends, start=1)
        ],
        right=("send", "ms"),
    )
    return Group(sends, Text(""), Text(replay.conclusion, style="green" if replay.held else "bold red"))


def order_line(order: Order) -> str:
    """Return a change of one order in one line."""
    why = f" ({order.reason})" if order.reason else ""
    return f"{clock(order.updated_at)}  {order.order_id}  {order.quantity} x {order.item_id}  {order.status}{why}"
