"""Sending one key many times, and checking that it has one effect."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from valerix_cli.clients.order_input import MOST
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.errors import CliError, GuardError, InconclusiveError, InvariantError
from valerix_cli.output import print_result
from valerix_cli.output_models import PlacedOrder, Replay
from valerix_cli.quoting import command, word
from valerix_cli.session import Session
from valerix_cli.views.orders import replay_view

REUSED = "idempotency-key-reused"


def replay_key(
    session: Session, key: str, body: OrderRequest | None, *, times: int, concurrency: int, mutate: bool
) -> None:
    """Send `key` repeatedly, and show each response and the conclusion.

    Raises InvariantError if the key had more than one effect, or if another body was accepted under it, and
    InconclusiveError if another body was sent and none of its responses can be compared with the first one.
    """
    request = body or _stored(session, key)
    sent = mutated(request) if mutate else request
    with ThreadPoolExecutor(concurrency) as pool:
        sends = list(pool.map(session.orders.place, [sent] * times))
    result = summarize_replay(key, sends, mutated=mutate, deductions=_deductions(session, sends))
    print_result(result, replay_view, session.output)
    if not result.held:
        raise InvariantError(
            "The key had more than one effect.", result.conclusion, f"valerix order list; keep the key: {word(key)}"
        )
    if not result.order_ids:
        problem = sends[0].problem
        why = f"{problem.slug}: {problem.detail}" if problem else "no response had an order"
        raise CliError("No response contained an order.", why, "valerix status")
    if mutate and not any(one.reason == REUSED for one in result.sends):
        why = "no response says that the key is in use for another order"
        raise InconclusiveError("The key was not tested.", why, "valerix order replay KEY --mutate again")


def mutated(request: OrderRequest) -> OrderRequest:
    """Return the request with the same key and another quantity, which the service has to treat as another order."""
    quantity = request.quantity + 1 if request.quantity < MOST else request.quantity - 1
    return OrderRequest(request.item_id, quantity, request.key)


def summarize_replay(key: str, sends: list[OrderResponse], *, mutated: bool, deductions: int | None) -> Replay:
    """Return the conclusion from many sends of one key: `held` is True if it had at most one effect."""
    placed = [PlacedOrder.of(send) for send in sends]
    order_ids = sorted({one.order_id for one in placed if one.order_id})
    accepted = sum(send.order is not None for send in sends)
    held = len(order_ids) <= 1 and deductions in {None, 0, 1} and not (mutated and accepted)
    conclude = _of_mutated if mutated else _of_repeats
    return Replay(key, mutated, placed, order_ids, deductions, held, conclude(placed, order_ids, deductions, accepted))


def _of_repeats(placed: list[PlacedOrder], order_ids: list[str], deductions: int | None, _: int) -> str:
    parts = [_count(len(placed), "send"), _count(len(order_ids), "order")]
    if deductions is not None:
        parts.append(_count(deductions, "deduction"))
    replayed = sum(one.replayed for one in placed)
    in_flight = sum(one.reason == "request-in-flight" for one in placed)
    notes = [f"{replayed} answered with the stored response"] if replayed else []
    notes += [f"{in_flight} refused with 409 while the first was in progress"] if in_flight else []
    notes += ["the ledger could not be read, so deductions were not counted"] if deductions is None else []
    return ", ".join(parts) + (f" ({'; '.join(notes)})" if notes else "") + "."


def _of_mutated(placed: list[PlacedOrder], order_ids: list[str], _: int | None, accepted: int) -> str:
    if accepted:
        return f"{accepted} of {_count(len(placed), 'send')} with another quantity were accepted under the same key."
    refused = sum(one.reason == REUSED for one in placed)
    if not refused:
        sends = _count(len(placed), "send")
        return f"None of {sends} with another quantity was refused for it: the test is inconclusive."
    stands = f"; order {order_ids[0]} is unchanged" if order_ids else ""
    return f"{refused} of {_count(len(placed), 'send')} with another quantity refused, as they must be{stands}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _stored(session: Session, key: str) -> OrderRequest:
    order = session.orders.by_key(key)
    if order is None:
        raise CliError(
            f"No order has the key {key}.",
            "so it is not known which item and quantity to send",
            command("valerix order replay", key, item="ITEM:QTY"),
        )
    return OrderRequest(order.item_id, order.quantity, key)


def _deductions(session: Session, sends: list[OrderResponse]) -> int | None:
    """Return the number of deductions in the ledger for the orders; None if it cannot be read."""
    ids = {one.order_id for one in map(PlacedOrder.of, sends) if one.order_id}
    try:
        lines = [line for one in ids for line in session.inventory.ledger(UUID(one)).transactions]
    except GuardError:
        return None
    return sum(line.transaction_type == "deduct" for line in lines)
