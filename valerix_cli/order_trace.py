"""The history of an order in sentences: the records of both services, merged by time. Pure."""

import heapq
from datetime import datetime
from typing import Any, TypeAlias

from valerix_cli.clients.wire import Ledger, LedgerLine, LedgerRefusal, Order, OrderEvent
from valerix_cli.output_models import Step, Trace
from valerix_cli.units import format_duration

_Event: TypeAlias = tuple[datetime, str, str, dict[str, Any]]

_CAUSES = {
    "timeout": "inventory did not answer in time",
    "breaker-open": "the breaker is open, so nothing was sent",
    "connection error": "inventory could not be reached",
    "lost answer": "inventory hung up before it answered",
    "connections used up": "every connection to inventory was busy, so nothing was sent",
    "cancelled": "the attempt was broken off",
    "attempts-exhausted": "all attempts were used up and inventory has no outcome",
    "insufficient-stock": "there was not enough in stock",
    "unknown-item": "unknown item",
    "requeued": "an operator asked for it",
    "due": "it was due",
    "lease-ended": "the previous holder let the lease expire",
    "clock-set-back": "the database's clock has been set back",
}


def build_trace(order: Order, events: list[OrderEvent], ledger: Ledger | None) -> Trace:
    """Merge the order's transitions with inventory's ledger; `ledger` is None if it could not be read.

    Transitions keep their order, even if the clock was set back between two of them.
    """
    transitions: list[_Event] = [(event.at, "order", _of_event(event, order), _facts(event)) for event in events]
    ledger_entries: list[_Event] = []
    if ledger is not None:
        ledger_entries = [
            (line.created_at, "inventory", _of_line(line), _facts_of_line(line)) for line in ledger.transactions
        ]
        if ledger.refusal is not None:
            ledger_entries.append((ledger.refusal.created_at, "inventory", _of_refusal(ledger.refusal), {}))
    entries = list(heapq.merge(transitions, ledger_entries, key=lambda step: step[0]))  # each list keeps its order
    steps = []
    before = entries[0][0] if entries else None
    for at, where, what, detail in entries:
        after = max(0.0, (at - before).total_seconds()) if before is not None else 0.0
        steps.append(Step(at, round(after, 6), where, what, detail))
        before = at
    traced = next((event.detail["trace_id"] for event in events if "trace_id" in event.detail), None)
    return Trace(order, steps, ledger is not None, traced)


def _of_event(event: OrderEvent, order: Order) -> str:
    by = event.detail.get("by", "the service")
    attempt = event.detail.get("attempt")
    nth = f" on attempt {attempt}" if attempt else ""
    cause = _cause(event)
    sentence = f"moved the order from {event.from_ or 'nothing'} to {event.to}"
    match event.from_, event.to:
        case None, "pending":
            sentence = "stored the order as pending, before anything was sent to inventory"
        case _, "confirmed":
            again = "; inventory had done it before" if event.detail.get("repeated") else ""
            sentence = f"confirmed the order{nth}: its {order.quantity} x {order.item_id} are deducted{again}"
        case _, "failed":
            sentence = f"failed the order{nth}: {cause}{_available(event)}"
        case "dead", "queued":
            sentence = f"queued the dead order again: {cause}"
        case _ if event.detail.get("cause") == "clock-set-back":
            ahead = format_duration(float(event.detail.get("ahead_seconds", 0)))
            sentence = f"moved the order's times back by {ahead}: {cause}"
        case _ if "lease_seconds" in event.detail:
            sentence = f"claimed the order{nth}{_lease(event)}: {cause}"
        case "queued", "queued":
            sentence = f"tried{nth} and left it queued: {cause}{_next(event)}"
        case _, "queued":
            sentence = f"queued the order{nth}: {cause}{_next(event)}"
        case _, "dead":
            sentence = f"gave the order up{nth}: {cause}"
    return f"{by} {sentence}"


def _cause(event: OrderEvent) -> str:
    cause = str(event.detail.get("cause") or "no cause is recorded")
    if cause.isdecimal():
        return f"inventory answered {cause}, so the outcome is not known"
    return f"{_CAUSES[cause]} ({cause})" if cause in _CAUSES else cause


def _lease(event: OrderEvent) -> str:
    return f" for {format_duration(float(event.detail['lease_seconds']))}"


def _available(event: OrderEvent) -> str:
    available = event.detail.get("available")
    return "" if available is None else f"; {available} were left"


def _next(event: OrderEvent) -> str:
    wait = event.detail.get("retry_in_seconds")
    return "" if wait is None else f"; next attempt in {format_duration(float(wait))}"


def _of_line(line: LedgerLine) -> str:
    count = abs(line.quantity_change)
    if line.transaction_type == "deduct":
        return f"inventory took {count} x {line.item_id} from stock (ledger line {line.id})"
    return f"inventory recorded a {line.transaction_type} of {count} x {line.item_id} (ledger line {line.id})"


def _of_refusal(refusal: LedgerRefusal) -> str:
    return f"inventory refused for good: {_CAUSES.get(refusal.reason, refusal.reason)} ({refusal.reason})"


def _facts(event: OrderEvent) -> dict[str, Any]:
    return {"from": event.from_, "to": event.to, **event.detail}


def _facts_of_line(line: LedgerLine) -> dict[str, Any]:
    return {"ledger_line": line.id, "type": line.transaction_type, "quantity_change": line.quantity_change}
