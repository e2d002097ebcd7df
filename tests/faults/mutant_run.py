"""One script of load and faults, for the original Valerix and for every mutant of it, followed by an audit.

result = run(databases, directory, mutant, seed=1) result.caught_by

The script never depends on the responses, so that it is the same for all mutants. It records them in a journal, and the
audit evaluates it.
"""

import itertools
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import msgspec
import psutil
import redis

from services.order.domain import fingerprint
from tests.conftest import PASSWORD, Databases
from tests.e2e.shop import Shop
from tests.faults.mutation import Mutant
from tests.processes import Service, eventually, open_directory, processes
from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.audit.model import Invariant
from valerix_cli.journal import JournalWriter
from valerix_cli.local.servers import ValkeyServer, running

LEASE = 1.0  # seconds
SETTLE_LIMIT = 5.0  # seconds: five leases
PATIENCE = 6.0  # seconds that a fault may take to occur
HEALED_WITHIN = 12.0  # seconds
BUYERS = 16  # at once
SLEEPER, MORTAL = 2, 3  # order services for the faults, each struck at its first order
SETTINGS = {
    "LEASE_SECONDS": str(LEASE),
    "INVENTORY_TIMEOUT_SECONDS": "1",
    "BREAKER_OPEN_SECONDS": "1",
    "BREAKER_WINDOW_SECONDS": "2",
    "BREAKER_THRESHOLD_PERCENT": "90",  # else gremlins would open it, and second attempts be rare
}

SetClock: TypeAlias = Callable[[float], None]
_numbers = itertools.count(1)


class Result(msgspec.Struct, frozen=True):
    """Result of one run. `missed` lists the faults that did not occur; such a run proves nothing."""

    name: str
    seconds: float
    sent: int
    audit: Audit
    missed: list[str]

    @property
    def broken(self) -> list[Invariant]:
        """The invariants that were violated."""
        return [rule for rule in self.audit.invariants if rule.broken]

    @property
    def is_clean(self) -> bool:
        """True if no invariant was violated although every fault occurred."""
        return self.audit.verdict == "clean" and not self.missed


class Send(msgspec.Struct, frozen=True):
    """An order to send: its key, and the replica that gets it."""

    key: str
    item: str
    quantity: int
    at: int


class Buyers:
    """Clients that record the requests that they send and the responses."""

    def __init__(self, shop: Shop, journal: JournalWriter, pool: ThreadPoolExecutor) -> None:
        self._shop, self._journal, self._pool = shop, journal, pool
        self.sent = 0

    def send(self, wanted: Send) -> httpx.Response | None:
        """Send one order. Returns None without a response."""
        entry = self._journal.sent(wanted.key, wanted.item, wanted.quantity)
        self.sent += 1
        try:
            response = self._shop.place(wanted.item, wanted.quantity, key=wanted.key, at=wanted.at)
        except httpx.TransportError as error:
            self._journal.unknown(entry, repr(error))
            return None
        content: dict[str, Any] = response.json()
        self._journal.answered(
            entry,
            response.status_code,
            content.get("order_id"),
            content.get("status") if response.is_success else None,
            None if response.is_success else content["type"].removeprefix("urn:valerix:problem:"),
            replayed="Idempotent-Replayed" in response.headers,
        )
        return response

    def start(self, wanted: Iterable[Send]) -> list[Future[httpx.Response | None]]:
        return [self._pool.submit(self.send, each) for each in wanted]

    def send_all(self, wanted: Iterable[Send]) -> list[httpx.Response | None]:
        return [sending.result() for sending in self.start(wanted)]


class Gauntlet:
    """The script, step by step, on a platform with two order services, two more for the faults, and two workers."""

    def __init__(self, shop: Shop, redis_url: str, buyers: Buyers, prefix: str, set_clock: SetClock | None) -> None:
        """`set_clock` sets the database's clock forward by a number of seconds; without it, that step is skipped."""
        self.shop, self.redis_url, self.buyers, self.prefix = shop, redis_url, buyers, prefix
        self.set_clock = set_clock
        self.missed: list[str] = []

    def play(self, seed: int) -> None:
        early = self.keys("early", 8)
        racing = self.keys("racing", 24)
        wanting = self.keys("scarce", 36)
        unlucky = self.keys("unlucky", 24)
        refused = self.keys("refused", 6)
        stopped = self.keys("stopped", 6)
        self.buyers.send_all(self.each(early))
        self.buyers.send_all(send for key in racing for send in self.each([key] * 4))
        self.change_bodies(early)
        self.buyers.send_all(self.each(wanting, "scarce"))
        self.forget()
        self.forge(self.keys("forged", 2))
        self.buyers.send_all(self.each(early, shift=1))
        self.lose_answers(unlucky, seed)
        self.lose_refusals(refused, seed)
        self.put_the_clock_ahead(self.keys("tomorrow", 6), seed)
        self.stop_past_the_lease(stopped, seed)
        self.kill_at_an_accept(self.keys("accepted", BUYERS))
        self.heal()
        self.buyers.send_all(self.each(early + racing + unlucky + stopped, shift=1))
        self.buyers.send_all(self.each(wanting, "scarce", shift=1))
        self.buyers.send_all(self.each(refused, "rare", shift=1))
        self.expect(lambda: not self.unfinished(), "everything settled after the last repeats", 3 * LEASE)

    def keys(self, name: str, count: int) -> list[str]:
        return [f"{self.prefix}{name}-{number}" for number in range(count)]

    def each(self, keys: Sequence[str], item: str = "plenty", shift: int = 0) -> list[Send]:
        """Return an order of `item` per key, for both replicas in turn."""
        return [Send(key, item, 1, (number + shift) % 2) for number, key in enumerate(keys)]

    def change_bodies(self, keys: Sequence[str]) -> None:
        """Send different bodies under keys that are in use."""
        others = [Send(key, "plenty", 2, number % 2) for number, key in enumerate(keys)]
        self.buyers.send_all(others)

    def forget(self) -> None:
        """Delete all keys in Redis."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def forge(self, keys: Sequence[str]) -> None:
        """Store forged responses in Redis under unused keys, then send these keys."""
        with redis.Redis.from_url(self.redis_url) as client:
            for send in self.each(keys):
                client.set(f"idempotency:{send.key}", _forged(send))
        self.buyers.send_all(self.each(keys))

    def lose_answers(self, keys: Sequence[str], seed: int) -> None:
        """Delay some responses and lose others, until some orders have been attempted three times.

        Meanwhile a worker is stopped with the orders it has claimed, until after the next step, and wake-ups are lost.
        """
        self.shop.chaos(
            latency=True, latency_ms=1500, latency_rate=0.3, partial_failure_rate=0.6, seed=seed, ttl_seconds=60
        )
        sending = self.buyers.start(self.each(keys))
        self.expect(self.some_are_tried_again, "second attempts while answers are lost")
        self.shop.worker.signal(signal.SIGSTOP)
        self.expect(lambda: all(future.done() for future in sending), "answers to those who lost theirs")
        hits = self.shop.calm()["counts"]
        self.missed += [f"{name} hit nobody" for name in ("latency", "partial_failure") if not hits[name]["hits"]]
        self.forget()

    def some_are_tried_again(self) -> bool:
        return bool(self.shop.order_rows(b"SELECT FROM orders WHERE attempts > 2"))

    def lose_refusals(self, keys: Sequence[str], seed: int) -> None:
        """Lose refusals, and add stock before the next attempt."""
        self.shop.chaos(partial_failure_rate=1.0, seed=seed, ttl_seconds=60)
        refusals = self.refusals()
        self.buyers.send_all(self.each(keys, "rare"))
        self.expect(lambda: self.refusals() > refusals, "refusals that nobody hears of")
        self.shop.restock("rare", 100)
        self.shop.calm()

    def refusals(self) -> int:
        return len(self.shop.inventory_rows(b"SELECT FROM refusals"))

    def put_the_clock_ahead(self, keys: Sequence[str], seed: int) -> None:
        """Queue orders while the database's clock is a day ahead, then reset the clock."""
        if self.set_clock is None:
            return
        self.shop.chaos(partial_failure_rate=1.0, seed=seed, ttl_seconds=60)
        self.set_clock(24 * 3600.0)
        self.buyers.send_all(self.each(keys))
        self.set_clock(0.0)
        self.shop.calm()

    def stop_past_the_lease(self, keys: Sequence[str], seed: int) -> None:
        """Stop an order service before it settles unanswered orders; continue it once others have settled them."""
        sleeper = self.shop.orders[SLEEPER]
        self.shop.chaos(partial_failure_rate=1.0, seed=seed, ttl_seconds=60)
        sending = self.buyers.start(Send(key, "plenty", 1, SLEEPER) for key in keys)
        self.expect(lambda: is_stopped(sleeper), "an order service that stops with an order in hand")
        self.shop.calm()
        self.expect(lambda: not self.unfinished(keys), "others to finish what the sleeper had in hand")
        sleeper.signal(signal.SIGCONT)
        self.shop.worker.signal(signal.SIGCONT)
        for future in sending:
            future.result()

    def kill_at_an_accept(self, keys: Sequence[str]) -> None:
        """Send to an order service that is killed when it stores its first order; these keys are not repeated."""
        self.buyers.send_all(Send(key, "plenty", 1, MORTAL) for key in keys)
        self.expect(lambda: not self.shop.orders[MORTAL].is_alive, "death at an accept")

    def heal(self) -> None:
        """Wait until no work is left; then delete all keys in Redis again."""
        self.expect(lambda: not self.unfinished(), "everything settled", HEALED_WITHIN)
        self.forget()

    def expect(self, look: Callable[[], object], what: str, within: float = PATIENCE) -> None:
        """Wait for an expected condition, and record a failure."""
        try:
            eventually(look, within)
        except AssertionError:
            self.missed.append(f"not within {within:g} s: {what}")

    def unfinished(self, of: Sequence[str] | None = None) -> int:
        return self.count("pending", "queued", of=of)

    def count(self, *statuses: str, of: Sequence[str] | None = None) -> int:
        """Return the number of orders with one of `statuses`, of these keys if given."""
        (row,) = self.shop.order_rows(
            b"""SELECT count(*) FROM orders
                WHERE status = ANY(%s) AND (%s::text[] IS NULL OR idempotency_key = ANY(%s))""",
            [list(statuses), of, of],
        )
        return int(row[0])


def run(databases: Databases, directory: Path, mutant: Mutant | None, seed: int) -> Result:
    """Run the script on the original, or on a mutant. The journal and the services' logs are left in `directory`."""
    began = time.monotonic()
    name = mutant.name if mutant else "control"
    prefix = f"gauntlet-{seed}-"  # the same for all, so that the gremlins are the same
    journal = directory / "journal.jsonl"
    with _shop(databases, directory, mutant) as (shop, redis_url), ThreadPoolExecutor(BUYERS) as pool:
        with JournalWriter(journal, name, prefix) as writer:
            set_clock = getattr(databases.server, "set_clock", None)
            gauntlet = Gauntlet(shop, redis_url, Buyers(shop, writer, pool), prefix, set_clock)
            gauntlet.play(seed)
        sources = Sources(shop.order_database, shop.inventory_database, redis_url)
        return Result(
            name,
            round(time.monotonic() - began, 1),
            gauntlet.buyers.sent,
            audit(sources, journal=journal, settle_limit=SETTLE_LIMIT),
            gauntlet.missed,
        )


def is_stopped(service: Service) -> bool:
    return bool(psutil.Process(service.process.pid).status() == psutil.STATUS_STOPPED)


@contextmanager
def _shop(databases: Databases, directory: Path, mutant: Mutant | None) -> Iterator[tuple[Shop, str]]:
    """Yield a running platform on new databases and Valkey, with the mutation in the processes that it applies to."""
    number = next(_numbers)
    order_database = databases.make(f"gauntlet_{number}_orders", "order_template")
    inventory_database = databases.make(f"gauntlet_{number}_inventory", "inventory_template")
    with (
        open_directory("gauntlet") as place,
        running(ValkeyServer.at(place, password=PASSWORD)) as valkey,
        processes(directory, order_database, inventory_database, valkey.url()) as services,
    ):
        shop = Shop(services, order_database, inventory_database, orders=4, **SETTINGS)
        shop.orders[SLEEPER].environ |= {"VALERIX_CRASH_AT": "before-settle", "VALERIX_CRASH_SIGNAL": "stop"}
        shop.orders[MORTAL].environ |= {"VALERIX_CRASH_AT": "after-accept"}
        everyone = [*shop.everyone, services.worker(shop.inventory, **SETTINGS)]
        shop.stock("plenty", 1000)
        shop.stock("scarce", 12)
        shop.stock("rare", 1)
        if mutant is not None:
            _break(shop, mutant, everyone)
        services.start(*everyone)
        yield shop, valkey.url()
    databases.drop(f"gauntlet_{number}_orders")
    databases.drop(f"gauntlet_{number}_inventory")


def _forged(send: Send) -> bytes:
    """Return a response as a service would store it, but signed with another secret."""
    order = {
        "order_id": uuid.uuid5(uuid.NAMESPACE_OID, send.key),
        "item_id": send.item,
        "quantity": send.quantity,
        "status": "confirmed",
        "reason": None,
        "idempotency_key": send.key,
        "attempts": 1,
        "created_at": datetime.now(UTC),
        "updated_at": datetime.now(UTC),
    }
    body = fingerprint(send.item, send.quantity)
    return msgspec.json.encode({"fingerprint": body, "order": order, "origin": "0" * 32, "signature": "0" * 32})


def _break(shop: Shop, mutant: Mutant, everyone: Sequence[Service]) -> None:
    mutant.alter(shop.order_database, shop.inventory_database)
    for service in everyone:
        if service.name in mutant.only or not mutant.only:
            service.environ |= mutant.environ(shop.inventory_database)
