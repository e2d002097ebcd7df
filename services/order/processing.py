"""Processes orders from acceptance to their final state, for requests and for the worker.

Each step is a group commit: orders that arrive while one batch is written go into the next.
"""

import asyncio
from datetime import timedelta
from functools import partial
from random import Random
from typing import TypeAlias

import msgspec

from services.common.connections import HELD_UP, REFUSALS
from services.common.crash_points import crash_point
from services.common.group_commit import BatchResult, GroupCommit
from services.common.postgres import OUTAGES, Pool, in_time
from services.common.redis import BestEffort
from services.common.refusals import DatabaseUnavailable, Refusal
from services.order import usecases, wakeups
from services.order.backlog import Backlog
from services.order.domain import (
    FINAL,
    Admitted,
    Claim,
    NewOrder,
    Order,
    Outcome,
    QueueFull,
    Replay,
    RequestInFlight,
    Unknown,
    UnknownItem,
    decide,
)
from services.order.inventory_client import InventoryClient
from services.order.metrics import CONFLICTS, created
from services.order.response_cache import ResponseCache
from services.order.settings import OrderSettings

MAX_COMMITS_IN_FLIGHT = 2  # per step
COMMIT_TIMEOUT = 2.5  # seconds that a caller waits for its order to be stored, and again to be settled


class Placement(msgspec.Struct, frozen=True):
    """The result of a request for an order."""

    order: Order
    replayed: bool


class Started(msgspec.Struct, frozen=True):
    """A new order that is stored, and the future outcome of its deduction."""

    claim: Claim
    outcome: asyncio.Future[Outcome]


AcceptResult: TypeAlias = Started | Replay | Refusal


class Processing:
    """The steps of an order, wired to one process's connections."""

    def __init__(
        self,
        settings: OrderSettings,
        pool: Pool,
        redis: BestEffort,
        inventory: InventoryClient,
        backlog: Backlog,
        commit_timeout: float | None,
    ) -> None:
        """`commit_timeout` is in seconds; None waits without limit."""
        self._lease, self._by = timedelta(seconds=settings.lease_seconds), settings.replica
        self._pool = pool
        self._commit_timeout = commit_timeout
        self._inventory = inventory
        self._backlog = backlog
        self._max_attempts = settings.max_attempts
        self._random = Random()  # noqa: S311 - jitter, not a secret # nosec B311
        self._response_cache = ResponseCache(redis, backlog.origin)
        self._accepting: GroupCommit[NewOrder, AcceptResult] = GroupCommit(
            "accept", self._store_and_send, max_in_flight=MAX_COMMITS_IN_FLIGHT, outages=OUTAGES, timeout=commit_timeout
        )
        self._settling = GroupCommit(
            "settle",
            partial(usecases.settle, pool, self._by),
            max_in_flight=MAX_COMMITS_IN_FLIGHT,
            outages=OUTAGES,
            timeout=commit_timeout,
        )
        self._notifying = GroupCommit("notify", partial(wakeups.notify, redis))

    async def place(self, new_order: NewOrder) -> Placement:
        """Place the order of a request, or return the stored order of its key.

        Raises the Refusal that applies. A stored order that failed is returned, not raised.
        """
        if (order := await self._response_cache.get(new_order.key, new_order.fingerprint)) is not None:
            return Placement(order, replayed=True)
        match await in_time(self._accept_or_refuse(new_order)):
            case Started(claim, outcome):
                order = await self._settle_outcome(claim, await outcome)
                created(order.status).inc()
                return Placement(order, replayed=False)
            case Replay(order):
                self._cache_final(order)
                return Placement(order, replayed=True)
            case QueueFull() | UnknownItem() | DatabaseUnavailable() as refusal:
                raise refusal
            case refusal:
                CONFLICTS.labels("in-flight" if isinstance(refusal, RequestInFlight) else "reused").inc()
                raise refusal

    async def process(self, claim: Claim) -> Order:
        """Attempt one claimed order and store the outcome. Returns the order afterwards.

        Raises DatabaseUnavailable if storing the outcome takes longer than the commit timeout.
        """
        outcome: Outcome = Unknown("attempts-exhausted")
        if claim.attempt <= self._max_attempts:
            outcome = await self._inventory.deduct(claim)
        return await self._settle_outcome(claim, outcome)

    async def _settle_outcome(self, claim: Claim, outcome: Outcome) -> Order:
        if isinstance(outcome, Unknown) and claim.attempt >= self._max_attempts:
            outcome = await self._inventory.look_up(claim.order_id)
        crash_point("after-answer", "after-deduct")
        settlement = decide(claim, outcome, self._random)
        crash_point("before-settle")
        order = await in_time(self._settling.submit(settlement))
        crash_point("after-settle")
        if order.status == "queued" and settlement.delay is not None:
            self._backlog.increment()
            self._notifying.submit((order.order_id, settlement.delay))  # only close() waits for it
        self._cache_final(order)
        return order

    async def close(self) -> None:
        """Finish every order in flight, then pending writes to Redis."""
        await self._accepting.close()
        await self._inventory.close()
        await self._settling.close()
        await self._notifying.close()
        await self._response_cache.close()

    async def _store_and_send(self, new_orders: list[NewOrder]) -> list[AcceptResult] | BatchResult[AcceptResult]:
        """Store a batch of orders, and send the new ones to inventory in one call, which the next batch waits for.

        A batch thereby stays together: one commit here is one call, and usually one commit in inventory.
        """
        if not self._backlog.origin.was_learned:  # the first batch of this process, before the first refresh
            await self._backlog.refresh()
        admissions = await usecases.accept(self._pool, self._lease, self._by, new_orders)
        crash_point("after-accept")
        claims = [admission.claim for admission in admissions if isinstance(admission, Admitted)]
        if not claims:
            return [admission for admission in admissions if not isinstance(admission, Admitted)]
        call = self._inventory.start_call(claims)
        outcomes = iter(call.outcomes)
        accepted: list[AcceptResult] = [
            Started(admission.claim, next(outcomes)) if isinstance(admission, Admitted) else admission
            for admission in admissions
        ]
        return BatchResult(accepted, call.wait_for_first_outcome())

    async def _accept_or_refuse(self, new_order: NewOrder) -> AcceptResult:
        """Store an order unless there is a reason to refuse it. Raises TimeoutError after the commit timeout."""
        if self._inventory.is_known_item(new_order.item_id) and not self._backlog.is_full and not self._pool.is_held_up:
            return await self._accepting.submit(new_order)  # has the same timeout, with one timer for many items
        async with asyncio.timeout(self._commit_timeout):
            refusal = await self._reason_to_refuse(new_order)
            if refusal is None:
                return await self._accepting.submit(new_order)
            return await usecases.find_by_key(self._pool, new_order) or refusal  # a stored order wins over the refusal

    async def _reason_to_refuse(self, new_order: NewOrder) -> Refusal | None:
        """Return the reason to refuse a new key without storing anything, if any."""
        if self._pool.is_held_up:
            REFUSALS.labels("held-up").inc()
            return DatabaseUnavailable(HELD_UP, retry_after=1)
        if self._backlog.is_full:
            return QueueFull(f"{self._backlog.cap} orders are already queued", retry_after=5)
        if await self._inventory.is_unknown_item(new_order.item_id):
            return UnknownItem(f"{new_order.item_id} is not a known item", item_id=new_order.item_id)
        return None

    def _cache_final(self, order: Order) -> None:
        if order.status in FINAL:
            self._response_cache.put(order)
