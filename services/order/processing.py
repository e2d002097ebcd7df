"""Takes orders from acceptance to their end, for the request path and the worker alike.

Each step is a group commit: whatever arrives while one batch is being written goes into the next.
"""

import asyncio
from datetime import timedelta
from functools import partial
from random import Random
from typing import TypeAlias

import msgspec

from services.common.connections import HELD_UP, REFUSALS
from services.common.crash_points import crash_point
from services.common.group_commit import Flushed, GroupCommit
from services.common.postgres import OUTAGES, Pool, in_time
from services.common.redis import BestEffort
from services.common.refusals import DatabaseUnavailable, Refusal
from services.order import usecases, wakeups
from services.order.answers import Answers
from services.order.backlog import Backlog
from services.order.domain import (
    FINAL,
    Claim,
    NewOrder,
    Order,
    Outcome,
    Process,
    QueueFull,
    Replay,
    RequestInFlight,
    Unknown,
    UnknownItem,
    conclude,
)
from services.order.inventory import Inventory
from services.order.metrics import CONFLICTS, created
from services.order.settings import OrderSettings

LANES = 2  # commits of one step that may be in flight at once
COMMIT_LIMIT = 2.5  # seconds that a caller waits for its order to be stored, and again for it to be settled


class Placement(msgspec.Struct, frozen=True):
    """What a request for an order came to."""

    order: Order
    replayed: bool


class Begun(msgspec.Struct, frozen=True):
    """A new order that has been stored, and what inventory will say to it."""

    claim: Claim
    outcome: asyncio.Future[Outcome]


Accepted: TypeAlias = Begun | Replay | Refusal


class Processing:
    """The steps of an order, wired to one process's connections."""

    def __init__(
        self,
        settings: OrderSettings,
        pool: Pool,
        redis: BestEffort,
        inventory: Inventory,
        backlog: Backlog,
        patience: float | None,
    ) -> None:
        """`patience` is for how many seconds to wait for the database, None as long as it takes."""
        self._lease, self._by = timedelta(seconds=settings.lease_seconds), settings.replica
        self._pool = pool
        self._patience = patience
        self._inventory = inventory
        self._backlog = backlog
        self._max_attempts = settings.max_attempts
        self._random = Random()  # noqa: S311 - jitter, not a secret # nosec B311
        self._answers = Answers(redis, backlog.origin)
        self._accepting: GroupCommit[NewOrder, Accepted] = GroupCommit(
            "accept", self._accept, lanes=LANES, outages=OUTAGES, patience=patience
        )
        self._settling = GroupCommit(
            "settle", partial(usecases.settle, pool, self._by), lanes=LANES, outages=OUTAGES, patience=patience
        )
        self._announcing = GroupCommit("announce", partial(wakeups.announce, redis))

    async def place(self, wanted: NewOrder) -> Placement:
        """Answer a request for an order: place it, or say what its key already stands for.

        Raises the Refusal that applies; a stored failure is returned, not raised.
        """
        if (order := await self._answers.find(wanted.key, wanted.fingerprint)) is not None:
            return Placement(order, replayed=True)
        match await in_time(self._admit(wanted)):
            case Begun(claim, outcome):
                order = await self._finish(claim, await outcome)
                created(order.status).inc()
                return Placement(order, replayed=False)
            case Replay(order):
                self._remember(order)
                return Placement(order, replayed=True)
            case QueueFull() | UnknownItem() | DatabaseUnavailable() as refusal:
                raise refusal
            case refusal:
                CONFLICTS.labels("in-flight" if isinstance(refusal, RequestInFlight) else "reused").inc()
                raise refusal

    async def process(self, claim: Claim) -> Order:
        """Try one claimed order and write down what came of it. Returns the order as it stands then.

        Raises DatabaseUnavailable when writing it down takes longer than we have patience.
        """
        outcome: Outcome = Unknown("attempts-exhausted")
        if claim.attempt <= self._max_attempts:
            outcome = await self._inventory.deduct(claim)
        return await self._finish(claim, outcome)

    async def _finish(self, claim: Claim, outcome: Outcome) -> Order:
        if isinstance(outcome, Unknown) and claim.attempt >= self._max_attempts:
            outcome = await self._inventory.look_up(claim.order_id)
        crash_point("after-answer", "after-deduct")
        settlement = conclude(claim, outcome, self._random)
        crash_point("before-settle")
        order = await in_time(self._settling.submit(settlement))
        crash_point("after-settle")
        if order.status == "queued" and settlement.delay is not None:
            self._backlog.note_queued()
            self._announcing.submit((order.order_id, settlement.delay))  # which nobody waits for, but closing does
        self._remember(order)
        return order

    async def close(self) -> None:
        """Finish every order in hand, then flush what is to be told to Redis."""
        await self._accepting.close()
        await self._inventory.close()
        await self._settling.close()
        await self._announcing.close()
        await self._answers.close()

    async def _accept(self, wanted: list[NewOrder]) -> list[Accepted] | Flushed[Accepted]:
        """Store a batch of orders, and send what is new of it to inventory as one call, which the next batch waits for.

        So a batch stays together: the deductions of one commit are one call, and mostly one commit of inventory's.
        """
        if not self._backlog.origin.was_learned:  # the first batch of this process, before its first look
            await self._backlog.look()
        admissions = await usecases.accept(self._pool, self._lease, self._by, wanted)
        crash_point("after-accept")
        claims = [admission.claim for admission in admissions if isinstance(admission, Process)]
        if not claims:
            return [admission for admission in admissions if not isinstance(admission, Process)]
        call = self._inventory.begin(claims)
        outcomes = iter(call.outcomes)
        accepted: list[Accepted] = [
            Begun(admission.claim, next(outcomes)) if isinstance(admission, Process) else admission
            for admission in admissions
        ]
        return Flushed(accepted, call.answered())

    async def _admit(self, wanted: NewOrder) -> Accepted:
        """Store an order, unless there is a reason not to. Raises TimeoutError when all of it takes too long."""
        if self._inventory.knows(wanted.item_id) and not self._backlog.is_full and not self._pool.is_held_up:
            return await self._accepting.submit(wanted)  # has the same patience, and a timer for many
        async with asyncio.timeout(self._patience):
            refusal = await self._reason_to_refuse(wanted)
            if refusal is None:
                return await self._accepting.submit(wanted)
            return await usecases.recall(self._pool, wanted) or refusal  # whatever its key stands for, it stands for

    async def _reason_to_refuse(self, wanted: NewOrder) -> Refusal | None:
        """Why a new key would be refused at the door, with nothing stored."""
        if self._pool.is_held_up:
            REFUSALS.labels("held-up").inc()
            return DatabaseUnavailable(HELD_UP, retry_after=1)
        if self._backlog.is_full:
            return QueueFull(f"{self._backlog.cap} orders are waiting already", retry_after=5)
        if await self._inventory.lacks(wanted.item_id):
            return UnknownItem(f"{wanted.item_id} is not in the catalogue", item_id=wanted.item_id)
        return None

    def _remember(self, order: Order) -> None:
        if order.status in FINAL:
            self._answers.keep(order)
