"""Operator actions, sent to the services with the dashboard's token; order traces; audits."""

import asyncio
import os
import shlex
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from services.common.paths import path
from services.frontend.backends import (
    ACTION_TIMEOUT,
    DECODE_ERRORS,
    Backend,
    NoResponse,
    Refused,
    ServiceResponse,
    decode,
)
from services.frontend.metrics import AUDIT_BROKEN, AUDIT_FINISHED
from services.frontend.wire import (
    Activation,
    Audit,
    Chaos,
    Ledger,
    LedgerLine,
    LedgerRefusal,
    Order,
    OrderEvent,
    OrderEvents,
    Problem,
)

MAX_COUNTED_ORDERS = 500  # orders whose sends are counted
AUDIT_TIMEOUT = 120.0  # seconds
SECRET_VARIABLES = {"VALERIX_OPERATOR_TOKEN", "VALERIX_DASHBOARD_PASSWORD", "VALERIX_REDIS_URL"}  # not for the audit

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]

PRESETS: dict[str, dict[str, Any]] = {
    "moderate": {"latency": True, "latency_ms": 500, "latency_rate": 0.3, "crash_rate": 0.05, "ttl_seconds": 60},
    "seed-chaos": {
        "latency": True,
        "latency_ms": 5000,
        "latency_rate": 1.0,
        "crash_rate": 0.3,
        "partial_failure_rate": 0.2,
        "ttl_seconds": 60,
    },
}


class ChaosForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form for gremlins: rates in percent, times in seconds."""

    preset: Literal["", "moderate", "seed-chaos"] = ""
    latency: Percent = 0
    delay: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5
    crash: Percent = 0
    partial_failure: Percent = 0
    ttl: Annotated[int, msgspec.Meta(ge=1, le=900)] = 60
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class OrderResult(msgspec.Struct, frozen=True):
    """The result of sending an order: the order, or a problem, or the reason (`fault`) for no response."""

    key: str
    item_id: str
    quantity: int
    replayed: bool = False
    milliseconds: float | None = None
    order: Order | None = None
    problem: Problem | None = None
    fault: str | None = None


class Trace(msgspec.Struct, frozen=True):
    """The history of one order in both services. `unknown` is the reason if inventory's part is missing."""

    order: Order
    steps: list["TraceEntry"]
    unknown: str | None


class TraceEntry(msgspec.Struct, frozen=True):
    """One event of an order at one of the services."""

    at: datetime
    service: Literal["order", "inventory"]
    what: str
    detail: str


class AuditFailed(Exception):  # noqa: N818 - named for the reason, like all refusals
    """The audit did not run, or its output is invalid."""


class OperatorActions:
    """Sends actions to the order and inventory services, and runs the audit command."""

    def __init__(self, orders: Backend, inventory: Backend, audit_command: str | None) -> None:
        self._orders, self._inventory = orders, inventory
        self._audit_command = audit_command
        self._sends: OrderedDict[UUID, int] = OrderedDict()

    @property
    def resend_counts(self) -> Mapping[UUID, int]:
        """Number of sends of each order that was sent more than once from here."""
        return {order_id: sends for order_id, sends in self._sends.items() if sends > 1}

    @property
    def can_audit(self) -> bool:
        return self._audit_command is not None

    async def place(self, item_id: str, quantity: int, key: str) -> OrderResult:
        """Send an order. A lost response is reported as `fault`; sending the same key again shows the outcome."""
        result = OrderResult(key, item_id, quantity)
        try:
            answer = await self._orders.request(
                "POST",
                "/api/orders",
                json={"item_id": item_id, "quantity": quantity},
                headers={"Idempotency-Key": key},
                limit=ACTION_TIMEOUT,
            )
            return self._count_send(_with_response(result, answer))
        except NoResponse as error:
            return msgspec.structs.replace(result, fault=str(error))

    async def trace(self, order_id: UUID) -> Trace:
        """Return the history of one order. Raises NoResponse or Refused if the order service fails."""
        order, history = await asyncio.gather(
            self._orders.get(path("api", "orders", str(order_id)), Order),
            self._orders.get(path("api", "orders", str(order_id), "events"), OrderEvents),
        )
        steps, unknown = [_event_entry(event) for event in history.events], None
        try:
            ledger = await self._inventory.get(path("api", "inventory", "transactions", str(order_id)), Ledger)
        except (NoResponse, Refused) as error:
            unknown = str(error)
        else:
            steps += [_ledger_entry(line) for line in ledger.transactions]
            steps += [_refusal_entry(ledger.refusal)] if ledger.refusal else []
        return Trace(order, sorted(steps, key=lambda step: step.at), unknown)

    async def restock(self, item_id: str, quantity: int) -> None:
        """Add to the stock of an item, with a new idempotency key."""
        await self._send(
            self._inventory,
            "POST",
            path("api", "inventory", item_id, "restock"),
            {"quantity": quantity},
            {"Idempotency-Key": f"dashboard-{uuid.uuid4().hex}"},
        )

    async def enable_chaos(self, form: ChaosForm) -> Activation:
        """Replace the live gremlins."""
        return decode(await self._send(self._inventory, "POST", "/api/admin/chaos", chaos_request(form)), Activation)

    async def disable_chaos(self) -> None:
        """Turn gremlins off."""
        await self._send(self._inventory, "DELETE", "/api/admin/chaos")

    async def halt_chaos(self, *, halted: bool) -> Chaos:
        """Turn gremlins off and refuse new ones, or allow them again."""
        answer = await self._send(self._inventory, "POST", "/api/admin/chaos/halt", {"halted": halted})
        return decode(answer, Chaos)

    async def force_breaker(self, state: Literal["open", "closed", "auto"]) -> None:
        """Force all breakers, or return them to automatic operation."""
        await self._send(self._orders, "POST", "/api/admin/breaker", {"state": state})

    async def requeue(self) -> None:
        """Reset the attempts of all dead orders."""
        await self._send(self._orders, "POST", "/api/admin/queue/requeue", {"all": True})

    async def audit(self) -> Audit:
        """Run the audit and update its metrics. Raises AuditFailed."""
        if self._audit_command is None:
            raise AuditFailed("VALERIX_AUDIT_COMMAND is not set. Run valerix audit instead.")
        stdout, stderr = b"", b""
        try:
            async with asyncio.timeout(AUDIT_TIMEOUT):
                process = await asyncio.create_subprocess_exec(
                    *shlex.split(self._audit_command),
                    env=_environment(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                try:
                    stdout, stderr = await process.communicate()
                finally:
                    if process.returncode is None:
                        process.kill()
            found = msgspec.json.decode(stdout, type=Audit)
        except TimeoutError:
            raise AuditFailed(f"It did not finish within {AUDIT_TIMEOUT:g} s.") from None
        except OSError as error:
            raise AuditFailed(f"It could not be started: {error.strerror}") from None
        except DECODE_ERRORS:
            raise AuditFailed(_first_line(stderr) or "It printed nothing.") from None
        AUDIT_BROKEN.set(sum(one.verdict == "violated" for one in found.invariants))
        AUDIT_FINISHED.set_to_current_time()
        return found

    @staticmethod
    async def _send(
        service: Backend, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> ServiceResponse:
        answer = await service.request(method, path, json=body, headers=headers, limit=ACTION_TIMEOUT)
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors
            decode(answer, Problem)
        return answer

    def _count_send(self, result: OrderResult) -> OrderResult:
        if result.order is not None:
            order_id = result.order.order_id
            self._sends[order_id] = self._sends.pop(order_id, 0) + 1
            while len(self._sends) > MAX_COUNTED_ORDERS:
                self._sends.popitem(last=False)
        return result


def _with_response(result: OrderResult, answer: ServiceResponse) -> OrderResult:
    timed = msgspec.structs.replace(
        result,
        milliseconds=round(answer.milliseconds, 1),
        replayed=answer.headers.get("Idempotent-Replayed") == "true",
    )
    try:
        return msgspec.structs.replace(timed, order=decode(answer, Order))
    except Refused as refused:
        return msgspec.structs.replace(timed, problem=refused.problem)


def chaos_request(form: ChaosForm) -> dict[str, Any]:
    """Return the request body for a form."""
    if form.preset:
        body = dict(PRESETS[form.preset])
    else:
        body = {
            "latency": form.latency > 0,
            "latency_ms": round(form.delay * 1000),
            "latency_rate": form.latency / 100,
            "crash_rate": form.crash / 100,
            "partial_failure_rate": form.partial_failure / 100,
            "ttl_seconds": form.ttl,
        }
    given = {"seed": form.seed, "reason": form.reason or f"dashboard{': ' + form.preset if form.preset else ''}"}
    return body | {name: value for name, value in given.items() if value is not None}


def _event_entry(event: OrderEvent) -> TraceEntry:
    what = f"{event.from_ or 'new'} → {event.to}" if event.from_ != event.to else f"claimed, still {event.to}"
    shown = {name: value for name, value in event.detail.items() if value is not None}
    return TraceEntry(event.at, "order", what, ", ".join(f"{name} {value}" for name, value in shown.items()))


def _ledger_entry(line: LedgerLine) -> TraceEntry:
    return TraceEntry(
        line.created_at, "inventory", f"{line.transaction_type} {line.quantity_change:+}", f"ledger line {line.id}"
    )


def _refusal_entry(refusal: LedgerRefusal) -> TraceEntry:
    return TraceEntry(refusal.created_at, "inventory", f"refused: {refusal.reason}", "stored, permanent")


def _environment() -> dict[str, str]:
    """Return the audit process's environment: this process's without its own secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}


def _first_line(output: bytes) -> str:
    return next(iter(output.decode(errors="replace").strip().splitlines()), "")
