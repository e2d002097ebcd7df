"""valerix queue: status, dead, requeue."""

from typing import Annotated
from uuid import UUID

import typer

from valerix_cli.errors import BadUsageError
from valerix_cli.output import info, print_result
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.views.orders import orders_view
from valerix_cli.views.queue import queue_view, requeued_view

app = App("Show queued orders and requeue dead ones.")


@app.command("status")
def status(ctx: typer.Context) -> None:
    """Show the number of orders that wait for the worker, and since when."""
    session: Session = ctx.obj
    print_result(session.orders.queue(), queue_view, session.output)


@app.command("dead")
def dead(ctx: typer.Context) -> None:
    """List the orders that the worker gave up."""
    session: Session = ctx.obj
    print_result(session.orders.queue().dead_orders, orders_view, session.output)


@app.command("requeue")
def requeue(
    ctx: typer.Context,
    order_id: Annotated[UUID | None, typer.Argument(metavar="[ID]")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every dead or misdated order.")] = False,
) -> None:
    """Requeue a dead order, or all of them, with a new set of attempts."""
    session: Session = ctx.obj
    if every == (order_id is not None):
        why = "both an ID and --all were given" if every else "neither an ID nor --all was given"
        raise BadUsageError("Specify either an ID or --all.", why, "valerix queue dead")
    session.confirm_remote("requeue every dead order" if every else f"requeue {order_id}")
    requeued = session.orders.requeue(order_id)
    print_result(requeued, requeued_view, session.output)
    if requeued.requeued:
        info("Undo: not needed; an order that uses up its attempts is dead again", session.output)
