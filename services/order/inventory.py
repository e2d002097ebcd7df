"""Calls to the inventory service: deductions in bulk through the breaker, and two look-ups.

Lines that arrive while a call is on its way out go into the next one. A call is over for its line as soon as
that line is answered, and lets the next call go as soon as its first line is, or has been waited for long enough,
so a slow line holds up no other.
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
from services.common.group_commit import Flushed, GroupCommit
from services.common.http import FAILURES, UNREACHED
from services.common.paths import path
from services.order.breaker import Breaker, Rejected, Ticket
from services.order.domain import Claim, Deducted, NothingThere, NotSent, Outcome, Refused, Unknown
from services.order.replicas import Replicas

log = structlog.get_logger()

LANES = 2  # calls that may wait for their first answer at once
PATIENCE = 0.05  # seconds that the next call waits for the first answer of one: then that one is slow, and on its own
CALLS = 256  # under way at once: more than there can be within their limit
LINES = 256  # per call: well under the body limit of 64 KiB
TIMEOUT, LOST, UNREACHABLE = "timeout", "lost answer", "connection error"


class _Wanted(msgspec.Struct, frozen=True):
    order_id: uuid.UUID
    item_id: str
    quantity: int
    attempt: int


class _Line(msgspec.Struct, frozen=True):
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
    """A call that has been started, with the outcome that each of its lines will have. `first` is done with one."""

    outcomes: list[asyncio.Future[Outcome]]
    first: asyncio.Future[None]

    async def answered(self) -> None:
        """Wait for the first answer, unless it is slow: then this call is on its own."""
        await asyncio.wait([self.first], timeout=PATIENCE)


class _Sent(msgspec.Struct):
    """A line under way. `first` is done once any line of its call has an outcome."""

    claim: Claim
    ticket: Ticket
    outcome: asyncio.Future[Outcome]
    first: asyncio.Future[None]


_encoder = msgspec.json.Encoder()
_line = msgspec.json.Decoder(_Line)
_ledger = msgspec.json.Decoder(_Ledger)
_problem = msgspec.json.Decoder(_Problem)


class NotReadyError(Exception):
    """Inventory answers, but not that it is ready."""


class Inventory:
    """The inventory service as this process sees it. `limit` is the time a deduction may take, in seconds."""

    def __init__(
        self, session: aiohttp.ClientSession, urls: tuple[str, ...], token: str, limit: float, breaker: Breaker
    ) -> None:
        self._replicas = Replicas(session, urls, token, limit)
        self._limit = limit
        self._breaker = breaker
        self._known_items: set[str] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._lanes = GroupCommit("deduct", self._send, lanes=LANES, limit=LINES)

    async def deduct(self, claim: Claim) -> Outcome:
        """Take the stock of one order, at most once however often it is asked."""
        return await (await self._lanes.submit(claim))

    async def look_up(self, order_id: uuid.UUID) -> Outcome:
        """Ask what became of an order: Deducted, Refused, NothingThere, or Unknown when there is no answer."""
        try:
            answer = await self._replicas.get(path("api", "inventory", "transactions", str(order_id)))
            if not answer.is_success:
                return Unknown(f"look-up failed: {answer.status}")
            ledger = _ledger.decode(answer.content)
        except (*FAILURES, msgspec.DecodeError) as error:
            return Unknown(f"look-up failed: {type(error).__name__}")
        if any(movement.transaction_type == "deduct" for movement in ledger.transactions):
            return Deducted(repeated=True)
        return Refused(ledger.refusal.reason) if ledger.refusal else NothingThere()

    def knows(self, item_id: str) -> bool:
        """Whether inventory has said before that there is such an item; known items never vanish."""
        return item_id in self._known_items

    async def lacks(self, item_id: str) -> bool:
        """Whether inventory says that there is no such item; each is asked for once.

        While inventory does not answer nobody is refused: the order will find out.
        """
        if self.knows(item_id) or self._breaker.shown != "closed":
            return False
        try:
            answer = await self._replicas.get(path("api", "inventory", item_id))
        except FAILURES:
            return False
        if answer.is_success:
            self._known_items.add(item_id)
        return answer.status == HTTPStatus.NOT_FOUND and _is_about_the_item(answer.content)

    async def ping(self) -> None:
        """Raise unless one replica says that it is ready."""
        answer = await self._replicas.get("/health/ready")
        if not answer.is_success:
            raise NotReadyError(f"inventory answers {answer.status}")

    async def close(self) -> None:
        """Wait until each line under way has its outcome."""
        await self._lanes.close()
        while self._calls:
            await asyncio.wait(self._calls)

    def begin(self, claims: list[Claim]) -> Call:
        """Start one call with all the lines that the breaker admits."""
        loop = asyncio.get_running_loop()
        first: asyncio.Future[None] = loop.create_future()
        outcomes: list[asyncio.Future[Outcome]] = []
        sent: list[_Sent] = []
        for claim in claims:
            outcome: asyncio.Future[Outcome] = loop.create_future()
            outcomes.append(outcome)
            try:
                sent.append(_Sent(claim, self._breaker.admit(), outcome, first))
            except Rejected as rejected:
                _settle(outcome, first, NotSent("breaker-open", rejected.retry_in))
        if len(self._calls) >= CALLS:
            _hold_back(sent, NotSent("connections used up", 1.0))
        elif sent:
            crash_point("before-send")
            call = spawn(self._call(sent))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return Call(outcomes, first)

    async def _send(self, claims: list[Claim]) -> Flushed[asyncio.Future[Outcome]]:
        call = self.begin(claims)
        return Flushed(call.outcomes, call.answered())

    async def _call(self, lines: list[_Sent]) -> None:
        """Send `lines` and give each its outcome, whatever happens."""
        waiting: dict[uuid.UUID, list[_Sent]] = {}
        for line in lines:
            waiting.setdefault(line.claim.order_id, []).append(line)
        cause = LOST
        try:
            async with asyncio.timeout(self._limit):
                cause = await self._exchange(lines, waiting)
        except UNREACHED:
            cause = UNREACHABLE
        except TimeoutError:
            cause = TIMEOUT
        except (aiohttp.ClientError, msgspec.DecodeError):
            cause = LOST
        except Exception as error:  # noqa: BLE001 - transports and parsers raise more than aiohttp declares
            note_failure("inventory", "unexpected", error, with_traceback=True)
        except asyncio.CancelledError:
            _hold_back(itertools.chain.from_iterable(waiting.values()), Unknown("cancelled"))
            waiting.clear()
            raise
        finally:
            for unanswered in itertools.chain.from_iterable(waiting.values()):
                unanswered.ticket.failed(cause)
                _resolve(unanswered, Unknown(cause))

    async def _exchange(self, lines: list[_Sent], waiting: dict[uuid.UUID, list[_Sent]]) -> str:
        """Take what is answered out of `waiting`; return why the rest is not."""
        content = _encoder.encode_lines([_wanted(line.claim) for line in lines])
        headers = {"X-Request-ID": uuid.uuid4().hex}
        traces = [line.claim.traceparent for line in lines if line.claim.traceparent]
        with tracing.span("deduct", "client", traces) as span:
            if span is not None:
                headers["traceparent"] = span.traceparent
                span.note(valerix__lines=len(lines))
            elif traces:
                headers["traceparent"] = traces[0]
            status = await self._replicas.deduct(content, headers, partial(_take, waiting))
        return LOST if status is None else str(status)


def _wanted(claim: Claim) -> _Wanted:
    return _Wanted(claim.order_id, claim.item_id, claim.quantity, claim.attempt)


def _take(waiting: dict[uuid.UUID, list[_Sent]], text: bytes) -> None:
    answer = _line.decode(text)
    for line in waiting.pop(answer.order_id, ()):
        _answer(line, answer)


def _is_about_the_item(content: bytes) -> bool:
    """Whether a 404 is inventory's own: one of whatever stands before it says nothing about the item."""
    try:
        return _problem.decode(content).type == "urn:valerix:problem:item-not-found"
    except msgspec.DecodeError:
        return False


def _answer(line: _Sent, answer: _Line) -> None:
    match answer:
        case _Line(status=200):
            line.ticket.succeeded()
            _resolve(line, Deducted(answer.repeated))
        case _Line(status=409 | 422, reason=str(reason)):
            line.ticket.succeeded()
            _resolve(line, Refused(reason, answer.available))
        case _:
            cause = str(answer.status) if 500 <= answer.status <= 599 else LOST  # noqa: PLR2004 - HTTP's server errors
            line.ticket.failed(cause)
            _resolve(line, Unknown(cause))


def _hold_back(lines: Iterable[_Sent], outcome: Outcome) -> None:
    """End lines in a way that says nothing about inventory: too many are under way, or we are being cancelled."""
    for line in lines:
        line.ticket.withdrawn()
        _resolve(line, outcome)


def _resolve(line: _Sent, outcome: Outcome) -> None:
    _settle(line.outcome, line.first, outcome)


def _settle(line: asyncio.Future[Outcome], first: asyncio.Future[None], outcome: Outcome) -> None:
    if not line.done():
        line.set_result(outcome)
    if not first.done():
        first.set_result(None)
