"""Retries unfinished work through the services, whose operations are idempotent.

A repair never writes to a database. Stock changes only by the deductions that confirmed orders lack.
"""

from collections.abc import Callable, Sequence

import httpx

from valerix_cli.audit import queries
from valerix_cli.audit.comparison import MissingDeduction
from valerix_cli.audit.runner import compare
from valerix_cli.audit.sources import Sources, take_snapshots
from valerix_cli.clients.orders import OrderClient

Deduct = Callable[[MissingDeduction], httpx.Response]


def retry(sources: Sources, orders: OrderClient, deduct: Deduct | None) -> list[str]:
    """Requeue dead and misdated orders and request the deductions that confirmed orders lack. Returns sentences."""
    with take_snapshots(sources) as snapshots:
        missing = compare(snapshots).missing
        misdated = queries.orders.misdated(snapshots.after)
        dead = queries.orders.orders_by_status(snapshots.after).get("dead", 0)
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


def _deduct_all(missing: Sequence[MissingDeduction], deduct: Deduct | None) -> list[str]:
    if deduct is None:
        return [f"{len(missing)} confirmed orders lack their deduction: the service token is not known"]
    return [_describe(order, deduct(order)) for order in missing]


def _describe(order: MissingDeduction, response: httpx.Response) -> str:
    deduction = f"the deduction of {order.quantity} x {order.item_id} for order {order.order_id}"
    return f"{deduction} was requested again" if response.is_success else f"{deduction} was refused: {response.text}"
