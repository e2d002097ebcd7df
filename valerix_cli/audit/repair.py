"""Driving again what can be driven again without harm: every step is one that the services answer once and for all.

Nothing here writes to a database, and stock changes only by the deductions that confirmed orders are owed.
"""

from collections.abc import Callable, Sequence

import httpx

from valerix_cli.audit import queries
from valerix_cli.audit.examine import compare
from valerix_cli.audit.lines import Missing
from valerix_cli.audit.sources import Sources, snapshots
from valerix_cli.clients.orders import OrderClient

Deduct = Callable[[Missing], httpx.Response]


def drive_again(sources: Sources, orders: OrderClient, deduct: Deduct | None) -> list[str]:
    """Requeue dead and misdated orders, and ask for the deductions that confirmed orders lack. Returns sentences."""
    with snapshots(sources) as moments:
        missing = compare(moments).missing
        misdated = queries.orders.misdated(moments.after)
        dead = queries.orders.orders_by_status(moments.after).get("dead", 0)
    return [
        *(_requeue(orders, misdated) if dead or misdated else []),
        *(_deduct_all(missing, deduct) if missing else []),
    ]


def _requeue(orders: OrderClient, misdated: frozenset[str]) -> list[str]:
    return [
        f"order {order_id} was due too late and is tried in time"
        if str(order_id) in misdated
        else f"order {order_id} was dead and is queued again"
        for order_id in orders.requeue(None).requeued
    ]


def _deduct_all(missing: Sequence[Missing], deduct: Deduct | None) -> list[str]:
    if deduct is None:
        return [f"{len(missing)} confirmed orders lack their deduction: no service token is known to ask for it with"]
    return [_said(order, deduct(order)) for order in missing]


def _said(order: Missing, answer: httpx.Response) -> str:
    what = f"the deduction of {order.quantity} x {order.item_id} for order {order.order_id}"
    return f"{what} was asked for again" if answer.is_success else f"{what} was refused: {answer.text}"
