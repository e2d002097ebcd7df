"""valerix order: place, replay, get, list, watch, trace."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from valerix_cli import order_trace
from valerix_cli.clients import order_input as baskets
from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.clients.wire import FINAL, Ledger, Order, Status
from valerix_cli.commands.order_place import place_all
from valerix_cli.commands.order_replay import replay_key
from valerix_cli.errors import BadUsageError, GuardError
from valerix_cli.journal import JournalWriter, check_journal
from valerix_cli.options import MOST
from valerix_cli.output import follow, print_result
from valerix_cli.polling import poll, until
from valerix_cli.reasons import why
from valerix_cli.session import Session
from valerix_cli.typer_app import App
from valerix_cli.views import orders as views
from valerix_cli.views.trace import trace_view

app = App("Place, replay, list, watch and trace orders.")

_SHOWN = 20


@app.command("place")
def place(  # noqa: PLR0913 - a parameter per option
    ctx: typer.Context,
    items: Annotated[list[str] | None, typer.Argument(metavar="ITEM[:QTY]...", help="Items to order.")] = None,
    *,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key; generated if omitted.")] = None,
    retries: Annotated[
        int, typer.Option("--retries", min=0, max=MOST, help="Retry up to N times with the same key.")
    ] = 0,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE|-", help="One order per line: NDJSON or ITEM:QTY."),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Concurrent requests.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each order is settled.")] = False,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Record requests and responses for valerix audit --journal."),
    ] = None,
) -> None:
    """Place orders. Each item is a separate order with its own key."""
    session: Session = ctx.obj
    requests = _read_requests(items or [], file, key)
    check_journal(journal)
    session.confirm_remote(f"place {len(requests)} order{'s' if len(requests) > 1 else ''}")
    with (
        JournalWriter(journal, "order place", platform=session.orders.platform())
        if journal
        else nullcontext() as record
    ):
        place_all(session, requests, retries=retries, concurrency=concurrency, wait=wait, journal=record)


@app.command("replay")
def replay(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The idempotency key to send again.")],
    *,
    times: Annotated[int, typer.Option("--times", min=1, max=1000, help="Number of requests.")] = 5,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Concurrent requests.")] = 5,
    mutate: Annotated[bool, typer.Option("--mutate", help="Send another quantity, which has to be refused.")] = False,
    item: Annotated[
        str | None,
        typer.Option("--item", metavar="ITEM[:QTY]", help="The body, for a key that has not been used yet."),
    ] = None,
) -> None:
    """Send one key many times and show that it has one effect."""
    session: Session = ctx.obj
    baskets.checked_key(key)
    session.confirm_remote(f"send {key} {times} times")
    body = baskets.typed([item], key)[0] if item else None
    replay_key(session, key, body, times=times, concurrency=concurrency, mutate=mutate)


@app.command("get")
def get(ctx: typer.Context, order_id: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Show one order."""
    session: Session = ctx.obj
    print_result(session.orders.order(order_id), views.order_view, session.output)


@app.command("list")
def list_orders(
    ctx: typer.Context,
    *,
    status: Annotated[Status | None, typer.Option("--status", help="Only orders of this status.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="Only orders of this item.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MOST, help="Maximum number of rows.")] = _SHOWN,
) -> None:
    """List orders, newest first."""
    session: Session = ctx.obj
    print_result(session.orders.newest(limit=limit, status=status, item_id=item), views.orders_view, session.output)


@app.command("watch")
def watch(
    ctx: typer.Context,
    order_ids: Annotated[
        list[UUID] | None,
        typer.Argument(metavar="[ID]...", help="Watch until these are settled; omit to watch until Ctrl-C."),
    ] = None,
) -> None:
    """Watch orders change."""
    session: Session = ctx.obj
    orders = session.orders
    if order_ids:
        snapshots = until(
            poll(lambda: [orders.order(one) for one in order_ids], session.output),
            lambda found: all(order.status in FINAL for order in found),
            limit=session.wait,
            what="The orders are not settled yet.",
            hint="valerix queue status, or a longer --timeout",
        )
    else:
        snapshots = poll(lambda: orders.newest(limit=_SHOWN), session.output)
    follow(snapshots, screen=views.orders_view, changes=changed, line=views.order_line, output=session.output)


@app.command("trace")
def trace_order(ctx: typer.Context, order_id: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Show the life of an order, step by step, across both services."""
    session: Session = ctx.obj
    order = session.orders.order(order_id)
    events = session.orders.events(order_id).events
    print_result(order_trace.build_trace(order, events, _ledger(session, order_id)), trace_view, session.output)


def changed(before: list[Order] | None, now: list[Order]) -> list[Order]:
    """Return the orders that are new or have changed, oldest first."""
    known = {order.order_id: order for order in before or []}
    return [order for order in reversed(now) if known.get(order.order_id) != order]


def _ledger(session: Session, order_id: UUID) -> Ledger | None:
    try:
        return session.inventory.ledger(order_id)
    except GuardError:  # without an operator token the order service's part is still shown
        return None


def _read_requests(items: list[str], file: str | None, key: str | None) -> list[OrderRequest]:
    if bool(items) == bool(file):
        why = "both items and a file were given" if items else "neither an item nor a file was given"
        raise BadUsageError("Specify either items or --file.", why, "valerix order place ps5:2")
    if file is None:
        return baskets.typed(items, key)
    lines = sys.stdin.read().splitlines() if file == "-" else _lines(Path(file))
    found = baskets.read(lines, file, key)
    if not found:
        raise BadUsageError(f"{file} holds no order.", "every line is blank or a comment", "write one ITEM:QTY a line")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsageError(f"{path} cannot be read.", why(error), "name a file of lines, or - for stdin") from error
