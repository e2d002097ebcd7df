"""Orders sent at a given rate whatever the responses: the load on the platform while faults occur.

The orders are a function of the seed. Each order is repeated with the same key until it has a final response or no
attempts are left, on one replica after the other. The journal has each request before it is sent, and each response.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Literal, ParamSpec, TypeAlias, TypeVar

import httpx
import msgspec

from valerix_cli.journal import JournalWriter

P = ParamSpec("P")
T = TypeVar("T")
Kind: TypeAlias = Literal["new", "twin", "repeat", "changed"]
"""A new key; the same key twice at once; the same key later; a key in use, with another body."""

STOCK = {"ps5": 200_000, "xbox": 200_000, "switch": 200_000, "laptop": 300, "chair": 150, "webcam": 20}
"""The stock that the load needs. The last three items have too little for all orders."""

TRIES = 5
AT_ONCE = 128  # concurrent requests; others wait: with a thousand, the client itself needs seconds for each
TIMEOUT = 4.0  # seconds per request: slightly longer than the order service takes to report a timeout
PAUSE = (0.1, 0.8)  # seconds between two attempts
LATEST = 5  # most recent keys, which get half of all repeats: their first requests may still be in flight
WRITERS = 16  # threads for the journal, so that its writes to disk are batched
TWINS = 0.08  # share of the new keys that are sent twice at once
SHOWN = 20

_PROBLEM = "urn:valerix:problem:"
_DONE = {"confirmed", "insufficient-stock"}  # final results of an order
_REUSED = "idempotency-key-reused"


class Send(msgspec.Struct, frozen=True):
    """One order to send, `at` seconds after the start."""

    number: int
    at: float
    kind: Kind
    key: str
    item_id: str
    quantity: int


class Body(msgspec.Struct, frozen=True):
    """The fields that are read from a response: of an order, or of a problem document."""

    order_id: str | None = None
    item_id: str | None = None
    quantity: int | None = None
    requested: int | None = None
    status: str | int | None = None
    type: str | None = None


class Fate(msgspec.Struct):
    """The result of one key as its client knows it. Times are seconds since the epoch; `answer` is None if unknown."""

    sent_at: float
    answered_at: float | None = None
    answer: str | None = None
    order_id: str | None = None


class Tally(msgspec.Struct, frozen=True):
    """Requests by kind; responses by status or problem; the result of each key; contradictions between responses."""

    sent: dict[str, int]
    answers: dict[str, int]
    fates: dict[str, Fate]
    contradictions: list[str]

    @property
    def acknowledged(self) -> int:
        """Number of keys with an order or a refusal that their client knows of."""
        return sum(fate.answered_at is not None for fate in self.fates.values())

    @property
    def unknown(self) -> int:
        """Number of keys that their client gave up on."""
        return len(self.fates) - self.acknowledged


class Load:
    """Sends `rate` orders per second for `seconds` to `urls`, independently of each other.

    Keys begin with `prefix`. `clock` returns the time of day in seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        journal: JournalWriter,
        *,
        seed: int,
        rate: float,
        seconds: float,
        prefix: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._urls = urls
        self._journal = journal
        self._seed = seed
        self._sends = plan(seed, rate, seconds, prefix)
        self._clock = clock
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._writing = ThreadPoolExecutor(WRITERS, "journal")
        self._sent: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._fates: dict[str, Fate] = {}
        self._witness = Witness()

    @property
    def tally(self) -> Tally:
        """The tally so far."""
        return Tally(
            dict(self._sent), dict(self._answers.most_common()), dict(self._fates), list(self._witness.contradictions)
        )

    async def run(self) -> None:
        """Send everything, and return when each order is answered or given up."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        began = time.monotonic()
        with self._writing:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False) as client,
                asyncio.TaskGroup() as under_way,
            ):
                for send in self._sends:
                    await asyncio.sleep(max(0.0, began + send.at - time.monotonic()))
                    under_way.create_task(self._send(client, send))

    async def _send(self, client: httpx.AsyncClient, send: Send) -> None:
        """Send one order until it has a final response or no attempts are left."""
        dice = Random(f"{self._seed} {send.number}")  # noqa: S311 - spreads retries, not a secret
        fate = self._fates.setdefault(send.key, Fate(self._clock()))
        self._sent[send.kind] += 1
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(dice.uniform(*PAUSE))
            async with self._turn:
                answer = await self._try(client, send, self._urls[(send.number + attempt) % len(self._urls)])
            if answer is not None:
                if fate.answered_at is None and answer != _REUSED:
                    fate.answered_at, fate.answer = self._clock(), answer
                return

    async def _try(self, client: httpx.AsyncClient, send: Send, url: str) -> str | None:
        """Send one request. Return the final response, or None if there is none yet."""
        entry = await self._write(self._journal.sent, send.key, send.item_id, send.quantity)
        asked = time.monotonic()
        try:
            response = await client.post(
                f"{url}/api/orders",
                json={"item_id": send.item_id, "quantity": send.quantity},
                headers={"Idempotency-Key": send.key},
            )
            body = msgspec.json.decode(response.content, type=Body)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            self._answers[type(error).__name__] += 1
            await self._write(self._journal.unknown, entry, repr(error))
            return None
        order_status = body.status if isinstance(body.status, str) else None
        problem = body.type.removeprefix(_PROBLEM) if body.type else None
        outcome = order_status or problem or "nothing"
        self._answers[f"{response.status_code} {outcome}"] += 1
        self._witness.record_outcome(send, outcome, body, asked)
        await self._write(
            self._journal.answered,
            entry,
            response.status_code,
            body.order_id,
            order_status,
            problem,
            replayed="Idempotent-Replayed" in response.headers,
        )
        if body.order_id is not None:
            self._fates[send.key].order_id = body.order_id
        return outcome if outcome in {*_DONE, "queued", "pending", _REUSED} else None

    async def _write(self, write: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, lambda: write(*args, **kwargs))


class KeyState(msgspec.Struct):
    """All responses to one key. `done_at` is the time of the first final response."""

    order_id: str | None = None
    accepted: set[tuple[str, int]] = msgspec.field(default_factory=set)
    refused: set[tuple[str, int]] = msgspec.field(default_factory=set)
    done: str | None = None
    done_at: float = 0.0


class Witness:
    """Checks every response, and records contradictions, whatever the order in which they arrived."""

    def __init__(self) -> None:
        self.contradictions: list[str] = []
        self._states: dict[str, KeyState] = {}

    def record_outcome(self, send: Send, outcome: str, body: Body, asked: float) -> None:
        """Record the `outcome` of `send`, which was sent at `asked` by the monotonic clock."""
        state = self._states.setdefault(send.key, KeyState())
        wanted = (send.item_id, send.quantity)
        if body.order_id is not None:
            if state.order_id not in {None, body.order_id}:
                self._note(send, f"is order {state.order_id} and order {body.order_id}")
            state.order_id = body.order_id
        if outcome == _REUSED:
            state.refused.add(wanted)
        elif outcome in {*_DONE, "queued", "pending", "dead"}:
            self._accepted(state, send, outcome, body, asked)
        if both := state.accepted & state.refused:
            self._note(send, f"stands for {both}, and does not")
        if len(state.accepted) > 1:
            self._note(send, f"stands for several orders: {state.accepted}")

    def _accepted(self, state: KeyState, send: Send, outcome: str, body: Body, asked: float) -> None:
        wanted = (send.item_id, send.quantity)
        state.accepted.add(wanted)
        if (body.item_id, body.quantity or body.requested) != wanted:
            self._note(send, f"was answered for {body.quantity or body.requested} of {body.item_id}")
        if state.done is None:
            if outcome in _DONE:
                state.done, state.done_at = outcome, time.monotonic()
        elif outcome != state.done and (outcome in _DONE or asked > state.done_at):
            self._note(send, f"came to {state.done}, and then to {outcome}")

    def _note(self, send: Send, what: str) -> None:
        if len(self.contradictions) < SHOWN:
            self.contradictions.append(f"{send.key} ({send.kind}, {send.quantity} of {send.item_id}) {what}")


def plan(seed: int, rate: float, seconds: float, prefix: str) -> Iterator[Send]:
    """Yield the orders in order of time: `rate` per second on average, at random moments."""
    dice = Random(seed)  # noqa: S311 - a seed is the point
    earlier: list[Send] = []
    moments = iter(enumerate(sorted(dice.uniform(0, seconds) for _ in range(round(rate * seconds)))))
    for number, at in moments:
        send = _next(dice, earlier, number, at, prefix)
        yield send
        if send.kind == "new":
            earlier.append(send)
            if dice.random() < TWINS and (twin := next(moments, None)):
                yield msgspec.structs.replace(send, number=twin[0], kind="twin")


def _next(dice: Random, earlier: list[Send], number: int, at: float, prefix: str) -> Send:
    kinds: tuple[Kind, ...] = ("new", "repeat", "changed")
    kind = dice.choices(kinds, (75, 16, 9))[0] if earlier else "new"
    if kind == "new":
        item_id = dice.choices(list(STOCK), (40, 20, 15, 12, 8, 5))[0]
        return Send(number, at, kind, f"{prefix}{number}", item_id, dice.choice((1, 1, 1, 2, 3, 7)))
    first = dice.choice(earlier[-LATEST:] if dice.random() < 0.5 else earlier)
    more = dice.randint(1, 3) if kind == "changed" else 0
    return msgspec.structs.replace(first, number=number, at=at, kind=kind, quantity=first.quantity + more)
