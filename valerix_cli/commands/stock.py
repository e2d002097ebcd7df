"""`valerix stock`: list, restock, watch."""

from typing import Annotated
from uuid import uuid4

import typer

from valerix_cli.clients.order_input import checked_key
from valerix_cli.clients.wire import Item
from valerix_cli.options import MOST
from valerix_cli.output import follow, info, print_result
from valerix_cli.output_models import StockChange
from valerix_cli.polling import poll
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.views import stock as views

app = App("Show, restock and watch the stock.")


@app.command("list")
def list_stock(
    ctx: typer.Context,
    below: Annotated[int | None, typer.Option("--below", min=0, max=MOST, help="Only items with fewer left.")] = None,
) -> None:
    """List the items and their stock."""
    session: Session = ctx.obj
    print_result(session.inventory.items(below=below), views.stock_table, session.output)


@app.command("restock")
def restock(
    ctx: typer.Context,
    item: Annotated[str, typer.Argument(metavar="ITEM")],
    quantity: Annotated[int, typer.Argument(metavar="QTY", min=1, max=1_000_000)],
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key; generated if omitted.")] = None,
) -> None:
    """Add to the stock of an item, once per key."""
    session: Session = ctx.obj
    key = checked_key(str(uuid4()) if key is None else key)
    session.confirm_remote(f"add {quantity} to {item}")
    print_result(session.inventory.restock(item, quantity, key), views.restocked_view, session.output, keys=[key])
    again = command("valerix stock restock", item, quantity, key=key)
    info(f"A restock cannot be undone; retrying is safe: {again}", session.output)


@app.command("watch")
def watch(
    ctx: typer.Context,
    below: Annotated[int | None, typer.Option("--below", min=0, max=MOST, help="Only items with fewer left.")] = None,
) -> None:
    """Watch stock change, until Ctrl-C."""
    session: Session = ctx.obj
    follow(
        poll(lambda: session.inventory.items(below=below), session.output),
        screen=views.stock_table,
        changes=changed,
        line=views.stock_line,
        output=session.output,
    )


def changed(before: list[Item] | None, now: list[Item]) -> list[StockChange]:
    """Return the items that are new or whose stock has changed."""
    known = {item.item_id: item.quantity for item in before or []}
    return [
        StockChange(
            item.updated_at,
            item.item_id,
            item.quantity,
            item.quantity - known[item.item_id] if item.item_id in known else None,
        )
        for item in now
        if known.get(item.item_id) != item.quantity
    ]
