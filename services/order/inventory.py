"""Calls to the inventory service: deductions in bulk through the breaker, and two look-ups.

Lines that arrive while a call is on its way out go into the next one. A call is over for its line as soon as
that line is answered, and lets the next call go as soon as its first line is, or has been waited for long enough,
so a slow line holds up no other.
"""

import asyncio
import itertools
import uuid
from typing import Annotated

import httpx
import msgspec
import structlog

from services.common.crash_points import crash_point
from services.common.group_commit import GroupCommit
from services.order.breaker import Breaker, Rejected, Ticket
from services.order.domain import Claim, Deducted, NothingThere, NotSent, Outcome, Refused, Unknown

log = structlog.get_logger()

LANES = 2  # calls that may wait for their first answer at once
PATIENCE = 0.05  # seconds that the next call waits for the first answer of one: then that one is slow, and on its own
CALLS = 256  # under way at once: more than there can be within their limit
LINES = 256  # per call: well under the body limit of 64 KiB
LOOKUP_LIMIT = 1.0  # seconds

UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout)
TIMEOUT, LOST, UNREACHABLE = "timeout", "lost answer", "connection error"


class _Line(msgspec.Struct, frozen=True):
    order_id: uuid.UUID
    status: int
    repeated: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]+$")] | None = (
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


class Inventory:
    """The inventory service as this process sees it. `limit` is the time a deduction may take, in seconds."""

    def __init__(
        self, http: httpx.AsyncClient, urls: tuple[str, ...], token: str, limit: float, breaker: Breaker
    ) -> None:
        self._http = http
        self._urls = [url.rstrip("/") for url in urls]
        self._turn = itertools.cycle(range(len(urls)))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._limit = limit
        # Reaching a replica and having a connection to spare end well before our own limit, which would hide why.
        self._timeout = httpx.Timeout(limit, connect=limit / 3, pool=limit / 3)
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
            response = await self._get(f"/api/inventory/transactions/{order_id}")
            response.raise_for_status()
            ledger = _ledger.decode(response.content)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
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
            response = await self._get(f"/api/inventory/{item_id}")
        except httpx.HTTPError:
            return False
        if response.is_success:
            self._known_items.add(item_id)
        return response.status_code == httpx.codes.NOT_FOUND and _is_about_the_item(response.content)

    async def ping(self) -> None:
        """Raise unless one replica says that it is ready."""
        (await self._get("/health/ready")).raise_for_status()

    async def close(self) -> None:
        """Wait until each line under way has its outcome."""
        await self._lanes.close()
        while self._calls:
            await asyncio.wait(self._calls)

    async def _get(self, path: str) -> httpx.Response:
        """Ask one replica, and the next when that one cannot be reached."""
        *others, last = self._in_turn()
        for url in others:
            try:
                return await self._http.get(url + path, headers=self._headers, timeout=LOOKUP_LIMIT)
            except UNREACHED:
                continue
        return await self._http.get(last + path, headers=self._headers, timeout=LOOKUP_LIMIT)

    def _in_turn(self) -> list[str]:
        first = next(self._turn)
        return self._urls[first:] + self._urls[:first]

    async def _send(self, claims: list[Claim]) -> list[asyncio.Future[Outcome]]:
        """Start one call with all the lines the breaker admits; return when its first line is answered, or is slow."""
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
                outcome.set_result(NotSent("breaker-open", rejected.retry_in))
        if sent:
            crash_point("before-send")
            call = asyncio.create_task(self._call(sent))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.wait([first], timeout=PATIENCE)
        return outcomes

    async def _call(self, lines: list[_Sent]) -> None:
        """Send `lines` and give each its outcome, whatever happens."""
        waiting: dict[uuid.UUID, list[_Sent]] = {}
        for line in lines:
            waiting.setdefault(line.claim.order_id, []).append(line)
        cause = LOST
        try:
            async with asyncio.timeout(self._limit):
                await self._exchange(lines, waiting)
        except httpx.PoolTimeout:
            _hold_back(waiting)
        except UNREACHED:
            cause = UNREACHABLE
        except (TimeoutError, httpx.TimeoutException):
            cause = TIMEOUT
        except httpx.HTTPStatusError as error:
            cause = str(error.response.status_code)
        except (httpx.HTTPError, msgspec.DecodeError):
            cause = LOST
        except Exception:
            log.exception("a call to inventory failed in a way nobody foresaw")
        except asyncio.CancelledError:
            _hold_back(waiting, sent=True)
            raise
        finally:
            for unanswered in itertools.chain.from_iterable(waiting.values()):
                unanswered.ticket.failed(cause)
                _resolve(unanswered, Unknown(cause))

    async def _exchange(self, lines: list[_Sent], waiting: dict[uuid.UUID, list[_Sent]]) -> None:
        content = b"\n".join(_encode(line.claim) for line in lines)
        headers = self._headers | {"Content-Type": "application/x-ndjson", "X-Request-ID": uuid.uuid4().hex}
        if traceparent := next((line.claim.traceparent for line in lines if line.claim.traceparent), None):
            headers["traceparent"] = traceparent
        *others, last = self._in_turn()
        for url in others:
            try:
                return await self._post(url, content, headers, waiting)
            except UNREACHED:  # so nothing was sent: the next replica may have it
                continue
        return await self._post(last, content, headers, waiting)

    async def _post(
        self, url: str, content: bytes, headers: dict[str, str], waiting: dict[uuid.UUID, list[_Sent]]
    ) -> None:
        async with self._http.stream(
            "POST", f"{url}/api/inventory/deductions", content=content, headers=headers, timeout=self._timeout
        ) as response:
            response.raise_for_status()
            async for text in response.aiter_lines():
                answer = _line.decode(text)
                for line in waiting.pop(answer.order_id, []):
                    _answer(line, answer)


def _encode(claim: Claim) -> bytes:
    return _encoder.encode(
        {
            "order_id": claim.order_id,
            "item_id": claim.item_id,
            "quantity": claim.quantity,
            "attempt": claim.attempt,
        }
    )


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


def _hold_back(waiting: dict[uuid.UUID, list[_Sent]], *, sent: bool = False) -> None:
    """End lines whose call says nothing about inventory: our own pool was used up, or we are being cancelled."""
    for line in itertools.chain.from_iterable(waiting.values()):
        line.ticket.withdrawn()
        _resolve(line, Unknown("cancelled") if sent else NotSent("connections used up", 1.0))
    waiting.clear()


def _resolve(line: _Sent, outcome: Outcome) -> None:
    if not line.outcome.done():
        line.outcome.set_result(outcome)
    if not line.first.done():
        line.first.set_result(None)
