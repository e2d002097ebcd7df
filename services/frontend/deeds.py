"""What an operator does from the page: what the services offer, with the dashboard's own token."""

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
from services.frontend.backends import DEED_LIMIT, NONSENSE, Answer, Backend, Refused, Unanswered, decode
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

REMEMBERED = 500  # orders of which we know how often they were sent
AUDIT_LIMIT = 120.0  # seconds
OURS = {"VALERIX_OPERATOR_TOKEN", "VALERIX_DASHBOARD_PASSWORD", "VALERIX_REDIS_URL"}  # an audit needs none of them

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


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Gremlins as the form has them: shares in percent, times in seconds."""

    preset: Literal["", "moderate", "seed-chaos"] = ""
    latency: Percent = 0
    delay: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5
    crash: Percent = 0
    partial_failure: Percent = 0
    ttl: Annotated[int, msgspec.Meta(ge=1, le=900)] = 60
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Sent(msgspec.Struct, frozen=True):
    """One send of an order: an order came back, or a problem, or (`fault`) nothing."""

    key: str
    item_id: str
    quantity: int
    replayed: bool = False
    milliseconds: float | None = None
    order: Order | None = None
    problem: Problem | None = None
    fault: str | None = None


class Trace(msgspec.Struct, frozen=True):
    """One order across both services; `unknown` says why inventory's part is missing."""

    order: Order
    steps: list["Step"]
    unknown: str | None


class Step(msgspec.Struct, frozen=True):
    """One thing that happened to an order, at one of the services."""

    at: datetime
    where: Literal["order", "inventory"]
    what: str
    detail: str


class AuditFailed(Exception):  # noqa: N818 - named for the reason, as the house does
    """There was no audit, or none that was understood."""


class Deeds:
    """`repeats` says how often an order was sent from here, where that is more than once."""

    def __init__(self, orders: Backend, inventory: Backend, audit_command: str | None) -> None:
        self._orders, self._inventory = orders, inventory
        self._audit_command = audit_command
        self._sends: OrderedDict[UUID, int] = OrderedDict()

    @property
    def repeats(self) -> Mapping[UUID, int]:
        return {order_id: sends for order_id, sends in self._sends.items() if sends > 1}

    @property
    def can_audit(self) -> bool:
        return self._audit_command is not None

    async def place(self, item_id: str, quantity: int, key: str) -> Sent:
        """Send an order. An answer that is lost is said, and the same key finds out."""
        sent = Sent(key, item_id, quantity)
        try:
            answer = await self._orders.ask(
                "POST",
                "/api/orders",
                json={"item_id": item_id, "quantity": quantity},
                headers={"Idempotency-Key": key},
                limit=DEED_LIMIT,
            )
            return self._counted(_read(sent, answer))
        except Unanswered as error:
            return msgspec.structs.replace(sent, fault=str(error))

    async def trace(self, order_id: UUID) -> Trace:
        """What happened to one order. Raises Unanswered or Refused where the order service does not say."""
        order, history = await asyncio.gather(
            self._orders.get(path("api", "orders", str(order_id)), Order),
            self._orders.get(path("api", "orders", str(order_id), "events"), OrderEvents),
        )
        steps, unknown = [_of_event(event) for event in history.events], None
        try:
            ledger = await self._inventory.get(path("api", "inventory", "transactions", str(order_id)), Ledger)
        except (Unanswered, Refused) as error:
            unknown = str(error)
        else:
            steps += [_of_line(line) for line in ledger.transactions]
            steps += [_of_refusal(ledger.refusal)] if ledger.refusal else []
        return Trace(order, sorted(steps, key=lambda step: step.at), unknown)

    async def restock(self, item_id: str, quantity: int) -> None:
        """Add to the stock of an item, once."""
        await self._do(
            self._inventory,
            "POST",
            path("api", "inventory", item_id, "restock"),
            {"quantity": quantity},
            {"Idempotency-Key": f"dashboard-{uuid.uuid4().hex}"},
        )

    async def unleash(self, wish: Wish) -> Activation:
        """Turn gremlins on, instead of those that are."""
        return decode(await self._do(self._inventory, "POST", "/api/admin/chaos", asked(wish)), Activation)

    async def calm(self) -> None:
        """Turn them off."""
        await self._do(self._inventory, "DELETE", "/api/admin/chaos")

    async def halt(self, *, halted: bool) -> Chaos:
        """Turn them off and refuse new ones, or allow them again."""
        answer = await self._do(self._inventory, "POST", "/api/admin/chaos/halt", {"halted": halted})
        return decode(answer, Chaos)

    async def force_breaker(self, state: Literal["open", "closed", "auto"]) -> None:
        await self._do(self._orders, "POST", "/api/admin/breaker", {"state": state})

    async def requeue(self) -> None:
        """Give dead orders their attempts back."""
        await self._do(self._orders, "POST", "/api/admin/queue/requeue", {"all": True})

    async def audit(self) -> Audit:
        """Run the audit, and count what it saw broken. Raises AuditFailed."""
        if self._audit_command is None:
            raise AuditFailed("This dashboard was not told how to audit; valerix audit does.")
        said, complained = b"", b""
        try:
            async with asyncio.timeout(AUDIT_LIMIT):
                process = await asyncio.create_subprocess_exec(
                    *shlex.split(self._audit_command),
                    env=_environment(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                try:
                    said, complained = await process.communicate()
                finally:
                    if process.returncode is None:
                        process.kill()
            found = msgspec.json.decode(said, type=Audit)
        except TimeoutError:
            raise AuditFailed(f"It was not done within {AUDIT_LIMIT:g} s.") from None
        except OSError as error:
            raise AuditFailed(f"It could not be started: {error.strerror}") from None
        except NONSENSE:
            raise AuditFailed(_first_line(complained) or "It said nothing.") from None
        AUDIT_BROKEN.set(sum(one.verdict == "violated" for one in found.invariants))
        AUDIT_FINISHED.set_to_current_time()
        return found

    @staticmethod
    async def _do(
        service: Backend, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = await service.ask(method, path, json=body, headers=headers, limit=DEED_LIMIT)
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors
            decode(answer, Problem)
        return answer

    def _counted(self, sent: Sent) -> Sent:
        if sent.order is not None:
            order_id = sent.order.order_id
            self._sends[order_id] = self._sends.pop(order_id, 0) + 1
            while len(self._sends) > REMEMBERED:
                self._sends.popitem(last=False)
        return sent


def _read(sent: Sent, answer: Answer) -> Sent:
    took = msgspec.structs.replace(
        sent,
        milliseconds=round(answer.milliseconds, 1),
        replayed=answer.headers.get("Idempotent-Replayed") == "true",
    )
    try:
        return msgspec.structs.replace(took, order=decode(answer, Order))
    except Refused as refused:
        return msgspec.structs.replace(took, problem=refused.problem)


def asked(wish: Wish) -> dict[str, Any]:
    """The request for what a form says."""
    if wish.preset:
        body = dict(PRESETS[wish.preset])
    else:
        body = {
            "latency": wish.latency > 0,
            "latency_ms": round(wish.delay * 1000),
            "latency_rate": wish.latency / 100,
            "crash_rate": wish.crash / 100,
            "partial_failure_rate": wish.partial_failure / 100,
            "ttl_seconds": wish.ttl,
        }
    given = {"seed": wish.seed, "reason": wish.reason or f"dashboard{': ' + wish.preset if wish.preset else ''}"}
    return body | {name: value for name, value in given.items() if value is not None}


def _of_event(event: OrderEvent) -> Step:
    what = f"{event.from_ or 'new'} → {event.to}" if event.from_ != event.to else f"claimed, still {event.to}"
    shown = {name: value for name, value in event.detail.items() if value is not None}
    return Step(event.at, "order", what, ", ".join(f"{name} {value}" for name, value in shown.items()))


def _of_line(line: LedgerLine) -> Step:
    return Step(
        line.created_at, "inventory", f"{line.transaction_type} {line.quantity_change:+}", f"ledger line {line.id}"
    )


def _of_refusal(refusal: LedgerRefusal) -> Step:
    return Step(refusal.created_at, "inventory", f"refused: {refusal.reason}", "stored, so it stays so")


def _environment() -> dict[str, str]:
    """What the audit's process is told: what we are, but for the secrets that are ours alone."""
    return {name: value for name, value in os.environ.items() if name not in OURS}


def _first_line(said: bytes) -> str:
    return next(iter(said.decode(errors="replace").strip().splitlines()), "")
