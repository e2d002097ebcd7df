"""All operations on orders run concurrently for a while; then the database has to be consistent."""

import asyncio
from random import Random

import pytest

from services.common.postgres import Pool
from services.order import usecases
from services.order.domain import Admitted, Claim, Settlement, Status
from tests.integration.order.rows import LEASE, chance, end_leases, keys, rows, settlement, wanted

STEPS = 80
ENDS: dict[Status, int] = {"confirmed": 1, "failed": 1, "queued": 12, "dead": 6}  # relative frequencies
LAWFUL = {
    (None, "pending"),
    *(("pending", to) for to in ("queued", "confirmed", "failed", "dead")),
    *(("queued", to) for to in ("queued", "confirmed", "failed", "dead")),
    ("dead", "queued"),
}
CLAIMS = {("pending", "pending"), ("queued", "queued")}


class Somebody:
    """A process that accepts, claims and settles, and returns to its claims much later."""

    def __init__(self, name: str, pool: Pool, names: list[str]) -> None:
        self._name, self._pool, self._names = name, pool, names
        self._dice: Random = chance(name)
        self._held: list[Claim] = []

    async def live(self) -> None:
        actions = [self._accept, self._claim, self._settle, self._settle, self._settle, self._requeue, self._wait]
        for _ in range(STEPS):
            await self._dice.choice(actions)()

    async def _accept(self) -> None:
        batch = [wanted(name) for name in self._dice.sample(self._names, 5)]
        admissions = await usecases.accept(self._pool, LEASE, self._name, batch)
        self._held += [admission.claim for admission in admissions if isinstance(admission, Admitted)]

    async def _claim(self) -> None:
        self._held += await usecases.claim(self._pool, LEASE, self._name, self._dice.randint(1, 6))

    async def _settle(self) -> None:
        """Settle some of all claims that it ever had; most of them are stale."""
        some = self._dice.sample(self._held, min(len(self._held), 6))
        batch = [self._conclusion(claim) for claim in some]
        for settled, stored in zip(batch, await usecases.settle(self._pool, self._name, batch), strict=True):
            assert stored.order_id == settled.claim.order_id

    def _conclusion(self, claim: Claim) -> Settlement:
        (status,) = self._dice.choices(list(ENDS), list(ENDS.values()))
        return settlement(claim, status, self._name, delay=0 if status == "queued" else None)

    async def _requeue(self) -> None:
        await usecases.requeue(self._pool, self._name, None)

    async def _wait(self) -> None:
        await end_leases(self._pool)


@pytest.mark.parametrize("seed", range(4))
async def test_every_history_is_unbroken_however_processes_interleave(pool: Pool, seed: int) -> None:
    names = keys(25, f"story-{seed}")
    await asyncio.gather(*(Somebody(f"replica-{seed}-{number}", pool, names).live() for number in range(6)))

    assert await rows(pool, b"SELECT count(*) FROM orders") == [(len(names),)]
    lines = await rows(
        pool,
        b"""SELECT order_id, "from", "to", detail ? 'lease_seconds', (detail ->> 'token')::bigint,
                   lag("to") OVER mine, coalesce(lag((detail ->> 'token')::bigint) OVER mine, 0)
            FROM order_events WINDOW mine AS (PARTITION BY order_id ORDER BY id)""",
    )
    assert len(lines) > 4 * len(names)
    for order_id, before, after, taken, token, previous, previous_token in lines:
        assert before == previous, order_id
        assert (before, after) in (CLAIMS if taken and before else LAWFUL), order_id
        assert token == previous_token + (taken or before == "dead"), order_id
    last = await rows(
        pool,
        b"""SELECT status, "to", lease_token = (detail ->> 'token')::bigint
            FROM orders JOIN (SELECT DISTINCT ON (order_id) * FROM order_events ORDER BY order_id, id DESC) AS last
                 USING (order_id)""",
    )
    assert len(last) == len(names)
    assert all(status == to and is_the_last for status, to, is_the_last in last)
