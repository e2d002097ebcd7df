"""Placing orders, showing each result, and exiting with the most severe error."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from valerix_cli import error_reference
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.problems import error_of
from valerix_cli.clients.wire import FINAL, Order
from valerix_cli.errors import BadUsageError, CliError, DomainError, UnreachableError
from valerix_cli.journal import JournalWriter
from valerix_cli.options import Format
from valerix_cli.output import info, naming_keys, print_result, write_line
from valerix_cli.output_models import PlacedOrder
from valerix_cli.polling import poll, until
from valerix_cli.quoting import command
from valerix_cli.session import Session
from valerix_cli.views.orders import placed_view


def place_all(
    session: Session,
    requests: list[OrderRequest],
    *,
    retries: int,
    concurrency: int,
    wait: bool,
    journal: JournalWriter | None = None,
) -> None:
    """Place each order and show its result; an error that ends the run comes after the earlier results.

    With a `journal`, each request and each response is on disk before the next step.

    Raises DomainError if an order was refused, another CliError if one could not be placed.
    """
    line_by_line = session.output.format is Format.JSONL
    done: list[OrderResponse] = []
    try:
        orders = session.orders.recorded(journal) if journal else session.orders
        for one in _each(orders, requests, retries, concurrency):
            sent = _with_stock(session, _settled(session, one) if wait else one)
            done.append(sent)
            if line_by_line:
                with naming_keys(sent.request.key for sent in done):
                    write_line(PlacedOrder.of(sent), session.output)
    finally:
        if done and not line_by_line:
            keys = [sent.request.key for sent in done]
            print_result([PlacedOrder.of(sent) for sent in done], placed_view, session.output, keys=keys)
    _say_what_next(session, done)
    error = error_among(done)
    if error is not None:
        raise error


def error_among(done: list[OrderResponse]) -> CliError | None:
    """Return the error to exit with; None if each order was placed.

    Refusals of the domain come before other problems.
    """
    errors = [error for sent in done if (error := _error(sent)) is not None]
    if not errors:
        return None
    first = next((error for error in errors if isinstance(error, DomainError)), errors[0])
    if len(done) == 1:
        return first
    slugs = Counter(error.why.partition(":")[0] for error in errors)
    kinds = ", ".join(f"{count} {slug}" for slug, count in slugs.items())
    return type(first)(f"{len(errors)} of {len(done)} orders were not placed.", f"{kinds}; {first.why}", first.hint)


def _each(orders: OrderClient, requests: list[OrderRequest], retries: int, concurrency: int) -> Iterator[OrderResponse]:
    place = partial(_place, orders, retries=retries)
    if concurrency == 1:
        yield from map(place, requests)
        return
    pool = ThreadPoolExecutor(concurrency)
    try:
        yield from pool.map(place, requests)
    finally:
        pool.shutdown(cancel_futures=True)


def _place(orders: OrderClient, request: OrderRequest, *, retries: int) -> OrderResponse:
    """Place one order. If its outcome is unknown, the error has the command that retries it with its key."""
    try:
        return orders.place(request, retries=retries)
    except (UnreachableError, BadUsageError):  # no request was sent
        raise
    except CliError as error:
        again = command("valerix order place", f"{request.item_id}:{request.quantity}", key=request.key)
        raise type(error)(error.what, error.why, f"{again} (the same key, so never a second order)") from error


def _settled(session: Session, sent: OrderResponse) -> OrderResponse:
    if sent.order is None or sent.order.status in FINAL:
        return sent
    order_id = sent.order.order_id
    snapshots = until(
        poll(lambda: session.orders.order(order_id), session.output),
        _is_final,
        limit=session.wait,
        what=f"Order {order_id} is not settled yet.",
        hint=command("valerix order watch", order_id),
    )
    *_, last = snapshots
    return msgspec.structs.replace(sent, order=last)


def _with_stock(session: Session, sent: OrderResponse) -> OrderResponse:
    """Add the available quantity to an `insufficient-stock` problem, if it can be read."""
    problem = sent.problem
    if problem is None or problem.slug != "insufficient-stock" or "available" in problem.facts:
        return sent
    try:
        available = session.inventory.item(sent.request.item_id).quantity
    except CliError:
        return sent
    facts = {**problem.facts, "available": available}
    return msgspec.structs.replace(sent, problem=msgspec.structs.replace(problem, facts=facts))


def _is_final(order: Order) -> bool:
    return order.status in FINAL


def _error(sent: OrderResponse) -> CliError | None:
    """Return the error if the order was not placed, including a failure found while waiting."""
    request, order = sent.request, sent.order
    what = f"{request.quantity} x {request.item_id}: not ordered."
    if sent.problem is not None:
        return error_of(sent.problem, what)
    if order is None or order.status not in {"failed", "dead"}:
        return None
    slug = order.reason or order.status
    why = f"{slug}: {error_reference.meaning(slug)}"
    if order.status == "failed":
        return DomainError(what, why, command("valerix order trace", order.order_id))
    return CliError(what, why, command("valerix queue requeue", order.order_id))


def _say_what_next(session: Session, done: list[OrderResponse]) -> None:
    queued = [sent.order for sent in done if sent.order is not None and sent.order.status not in FINAL]
    if queued:
        next_ = command("valerix order watch", queued[0].order_id)
        info(f"The order is queued; the worker will finish it: {next_}", session.output)
    placed = [sent for sent in done if sent.order is not None]
    if placed:
        again = command("valerix order replay", placed[0].request.key)
        info(f"An order cannot be undone; retrying is safe: {again}", session.output)
