"""Client of the inventory service: bulk deductions through the circuit breaker, and two look-ups.

Lines that arrive while a call is being sent go into the next call. Each line gets its outcome as soon as its response
line arrives. The next call starts once the first response line has arrived or is late, so a slow line delays no other.
"""

import asyncio
import itertools
import uuid
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Annotated

import aiohttp
import msgspec
import structlog

from services.common import tracing
from services.common.background import spawn
from services.common.crash_points import crash_point
from services.common.dependencies import note_failure
from services.common.group_commit import BatchResult, GroupCommit
from services.common.http_client import CONNECT_ERRORS, REQUEST_ERRORS
from services.common.paths import path
from services.order.breaker import Breaker, CallNotPermitted, Permit
from services.order.domain import Claim, Deducted, NoRecord, NotSent, Outcome, Refused, Unknown
from services.order.inventory_http import ReplicaPool

log = structlog.get_logger()

MAX_CALLS_BEFORE_FIRST_OUTCOME = 2
FIRST_OUTCOME_TIMEOUT = 0.05  # seconds to wait for a call's first outcome before starting the next call
MAX_CALLS = 256  # in flight; more than the timeout allows to accumulate
MAX_LINES = 256  # per call, well under the body limit of 64 KiB
TIMEOUT, LOST, UNREACHABLE = "timeout", "lost answer", "connection error"


class _RequestLine(msgspec.Struct, frozen=True):
    order_id: uuid.UUID
    item_id: str
    quantity: int
    attempt: int


class _ResponseLine(msgspec.Struct, frozen=True):
    order_id: uuid.UUID
    status: int
    repeated: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]+$(?!\n)")] | None = (
        None  # the database takes no NUL
    )
    available: int | None = None


class _Movement(msgspec.Struct, frozen=True):
    transaction_type: str


class _Refusal(msgspec.Struct, frozen=True):
    reason: str


class _Ledger(msgspec.Struct, frozen=True):
    transactions: list[_Movement]
    refusal: _Refusal | None


class _Problem(msgspec.Struct, frozen=True):
    type: str


class Call(msgspec.Struct, frozen=True):
    """A started call and the future outcome of each line. `first_outcome` is done once any line has one."""

    outcomes: list[asyncio.Future[Outcome]]
    first_outcome: asyncio.Future[None]

    async def wait_for_first_outcome(self) -> None:
        """Wait for the first outcome, at most FIRST_OUTCOME_TIMEOUT."""
        await asyncio.wait([self.first_outcome], timeout=FIRST_OUTCOME_TIMEOUT)


class _InFlightLine(msgspec.Struct):
    """A line whose outcome is pending, with the breaker's permit for it."""

    claim: Claim
    permit: Permit
    outcome: asyncio.Future[Outcome]
    first_outcome: asyncio.Future[None]


_encoder = msgspec.json.Encoder()
_line = msgspec.json.Decoder(_ResponseLine)
_ledger = msgspec.json.Decoder(_Ledger)
_problem = msgspec.json.Decoder(_Problem)


class NotReadyError(Exception):
    """Inventory responds, but is not ready."""


class InventoryClient:
    """Client of all inventory replicas. `limit` is the timeout of a deduction in seconds."""

    def __init__(
        self, session: aiohttp.ClientSession, urls: tuple[str, ...], token: str, limit: float, breaker: Breaker
    ) -> None:
        self._replicas = ReplicaPool(session, urls, token, limit)
        self._limit = limit
        self._breaker = breaker
        self._known_items: set[str] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._batches = GroupCommit("deduct", self._send, max_in_flight=MAX_CALLS_BEFORE_FIRST_OUTCOME, limit=MAX_LINES)

    async def deduct(self, claim: Claim) -> Outcome:
        """Deduct the stock of one order. Inventory deducts at most once per order id."""
        return await (await self._batches.submit(claim))

    async def look_up(self, order_id: uuid.UUID) -> Outcome:
        """Look up an order's stored outcome: Deducted, Refused, NoRecord, or Unknown if inventory cannot be asked."""
        try:
            answer = await self._replicas.get(path("api", "inventory", "transactions", str(order_id)))
            if not answer.is_success:
                return Unknown(f"look-up failed: {answer.status}")
            ledger = _ledger.decode(answer.content)
        except (*REQUEST_ERRORS, msgspec.DecodeError) as error:
            return Unknown(f"look-up failed: {type(error).__name__}")
        if any(movement.transaction_type == "deduct" for movement in ledger.transactions):
            return Deducted(repeated=True)
        return Refused(ledger.refusal.reason) if ledger.refusal else NoRecord()

    def is_known_item(self, item_id: str) -> bool:
        """Return whether inventory has confirmed this item before. Items are never deleted."""
        return item_id in self._known_items

    async def is_unknown_item(self, item_id: str) -> bool:
        """Return whether inventory reports that the item does not exist. Existing items are looked up once.

        Returns False if inventory does not respond: the deduction will decide.
        """
        if self.is_known_item(item_id) or self._breaker.effective_state != "closed":
            return False
        try:
            answer = await self._replicas.get(path("api", "inventory", item_id))
        except REQUEST_ERRORS:
            return False
        if answer.is_success:
            self._known_items.add(item_id)
        return answer.status == HTTPStatus.NOT_FOUND and _is_about_the_item(answer.content)

    async def ping(self) -> None:
        """Raise NotReadyError unless a replica is ready."""
        answer = await self._replicas.get("/health/ready")
        if not answer.is_success:
            raise NotReadyError(f"inventory responds with {answer.status}")

    async def close(self) -> None:
        """Wait until each line in flight has its outcome."""
        await self._batches.close()
        while self._calls:
            await asyncio.wait(self._calls)

    def start_call(self, claims: list[Claim]) -> Call:
        """Start one call with the lines that the breaker admits."""
        loop = asyncio.get_running_loop()
        first: asyncio.Future[None] = loop.create_future()
        outcomes: list[asyncio.Future[Outcome]] = []
        lines: list[_InFlightLine] = []
        for claim in claims:
            outcome: asyncio.Future[Outcome] = loop.create_future()
            outcomes.append(outcome)
            try:
                lines.append(_InFlightLine(claim, self._breaker.admit(), outcome, first))
            except CallNotPermitted as refusal:
                _set_outcome(outcome, first, NotSent("breaker-open", refusal.retry_in))
        if len(self._calls) >= MAX_CALLS:
            _withdraw(lines, NotSent("connections used up", 1.0))
        elif lines:
            crash_point("before-send")
            call = spawn(self._call(lines))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return Call(outcomes, first)

    async def _send(self, claims: list[Claim]) -> BatchResult[asyncio.Future[Outcome]]:
        call = self.start_call(claims)
        return BatchResult(call.outcomes, call.wait_for_first_outcome())

    async def _call(self, lines: list[_InFlightLine]) -> None:
        """Send `lines` and set the outcome of each, also if the call fails."""
        waiting: dict[uuid.UUID, list[_InFlightLine]] = {}
        for line in lines:
            waiting.setdefault(line.claim.order_id, []).append(line)
        cause = LOST
        try:
            async with asyncio.timeout(self._limit):
                cause = await self._exchange(lines, waiting)
        except CONNECT_ERRORS:
            cause = UNREACHABLE
        except TimeoutError:
            cause = TIMEOUT
        except (aiohttp.ClientError, msgspec.DecodeError):
            cause = LOST
        except Exception as error:  # noqa: BLE001 - transports and parsers raise more than aiohttp declares
            note_failure("inventory", "unexpected", error, with_traceback=True)
        except asyncio.CancelledError:
            _withdraw(itertools.chain.from_iterable(waiting.values()), Unknown("cancelled"))
            waiting.clear()
            raise
        finally:
            for line in itertools.chain.from_iterable(waiting.values()):
                line.permit.fail(cause)
                _resolve(line, Unknown(cause))

    async def _exchange(self, lines: list[_InFlightLine], waiting: dict[uuid.UUID, list[_InFlightLine]]) -> str:
        """Send one call; removes answered lines from `waiting`. Returns the cause for the lines that remain."""
        content = _encoder.encode_lines([_request_line(line.claim) for line in lines])
        headers = {"X-Request-ID": uuid.uuid4().hex}
        traces = [line.claim.traceparent for line in lines if line.claim.traceparent]
        with tracing.span("deduct", "client", traces) as span:
            if span is not None:
                headers["traceparent"] = span.traceparent
                span.set_attributes(valerix__lines=len(lines))
            elif traces:
                headers["traceparent"] = traces[0]
            status = await self._replicas.deduct(content, headers, partial(_handle_line, waiting))
        return LOST if status is None else str(status)


def _request_line(claim: Claim) -> _RequestLine:
    return _RequestLine(claim.order_id, claim.item_id, claim.quantity, claim.attempt)


def _handle_line(waiting: dict[uuid.UUID, list[_InFlightLine]], text: bytes) -> None:
    answer = _line.decode(text)
    for line in waiting.pop(answer.order_id, ()):
        _handle_response(line, answer)


def _is_about_the_item(content: bytes) -> bool:
    """Return whether a 404 came from inventory itself and not from a proxy."""
    try:
        return _problem.decode(content).type == "urn:valerix:problem:item-not-found"
    except msgspec.DecodeError:
        return False


def _handle_response(line: _InFlightLine, answer: _ResponseLine) -> None:
    match answer:
        case _ResponseLine(status=200):
            line.permit.succeed()
            _resolve(line, Deducted(answer.repeated))
        case _ResponseLine(status=409 | 422, reason=str(reason)):
            line.permit.succeed()
            _resolve(line, Refused(reason, answer.available))
        case _:
            cause = str(answer.status) if 500 <= answer.status <= 599 else LOST  # noqa: PLR2004 - HTTP's server errors
            line.permit.fail(cause)
            _resolve(line, Unknown(cause))


def _withdraw(lines: Iterable[_InFlightLine], outcome: Outcome) -> None:
    """Set the outcome of lines without recording a result in the breaker."""
    for line in lines:
        line.permit.cancel()
        _resolve(line, outcome)


def _resolve(line: _InFlightLine, outcome: Outcome) -> None:
    _set_outcome(line.outcome, line.first_outcome, outcome)


def _set_outcome(line: asyncio.Future[Outcome], first: asyncio.Future[None], outcome: Outcome) -> None:
    if not line.done():
        line.set_result(outcome)
    if not first.done():
        first.set_result(None)
