"""Stories that Hypothesis makes up, played on real processes and databases beside a dictionary of what was promised.

A longer run: VALERIX_STORIES=100 VALERIX_STORY_STEPS=20 pytest tests/faults/test_model.py
The same stories again: with the VALERIX_STORY_SEED that a failure shows. Who is faster than whom will differ.
"""

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import cycle

import httpx
import psutil
import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.inventory.app import CRASH_POINTS as INVENTORY_POINTS
from services.order.app import CRASH_POINTS as ORDER_POINTS
from services.order.worker import CRASH_POINTS as WORKER_POINTS
from tests.conftest import Databases
from tests.e2e.conftest import Builder
from tests.e2e.shop import Shop, new_key
from tests.faults.model import NONE_CAME, Answer, Body, Key, Restock, assert_each_key_has_one_effect
from tests.processes import OPERATOR, Service, eventually
from valerix_cli.local.servers import ValkeyServer

STORIES = int(os.environ.get("VALERIX_STORIES", "6"))
STEPS = int(os.environ.get("VALERIX_STORY_STEPS", "12"))
SEED = int(os.environ.get("VALERIX_STORY_SEED", random.randrange(2**32)))  # noqa: S311 - not a secret

HASTE = {
    "LEASE_SECONDS": "0.6",  # shorter than a call may take, so that leases are lost
    "INVENTORY_TIMEOUT_SECONDS": "0.8",
    "BREAKER_OPEN_SECONDS": "0.4",
    "MAX_ATTEMPTS": "2",
}
POINTS = {
    "inventory-1": INVENTORY_POINTS,
    "order-1": ORDER_POINTS,
    "order-2": ORDER_POINTS,
    "worker-1": WORKER_POINTS,
}

PATIENCE = 2.0  # seconds that a client waits for somebody who sleeps; within, an order may be taken over twice

PEOPLE = st.sampled_from(sorted(POINTS))
STRIKES = st.tuples(
    st.sampled_from([(who, point) for who, points in sorted(POINTS.items()) for point in sorted(points)]),
    st.sampled_from(["kill", "kill", "stop"]),
    st.integers(0, 2),
)
REPLICAS = st.integers(0, 1)
WANTS = st.tuples(
    st.sampled_from([0, 0, 0, 1, 1, 2]), st.integers(1, 5)
)  # which shelf, the last of them missing; how many
RATES = st.sampled_from([0.0, 0.3, 1.0])


@pytest.fixture(scope="module")
def shop(databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Two order replicas, a worker and an inventory, all in a hurry, for all stories."""
    builder = Builder(databases, valkey_server, tmp_path_factory)
    with builder.shop("stories", 4, orders=2, **HASTE) as shop:
        shop.services.start(*shop.everyone)
        yield shop


class Story(RuleBasedStateMachine):
    """One story with items and keys of its own. Rules do not ask how the shop is: that may differ when it is retold."""

    keys: Bundle[Key] = Bundle("keys")
    restocks: Bundle[Restock] = Bundle("restocks")

    def __init__(self, shop: Shop, redis_url: str) -> None:
        super().__init__()
        self.shop = shop
        self.redis_url = redis_url
        self.client = httpx.Client(timeout=PATIENCE, headers=OPERATOR)
        self.shelves: list[str] = []
        self.initial: dict[str, int] = {}
        self.every_key: list[Key] = []
        self.every_restock: list[Restock] = []
        self.armed: set[str] = set()

    @initialize(quantities=st.tuples(st.integers(1, 12), st.integers(1, 12)))
    def shelves_are_filled(self, quantities: tuple[int, int]) -> None:
        self.initial = {self.shop.new_item(quantity): quantity for quantity in quantities}
        self.shelves = [*self.initial, f"missing-{new_key()}"]

    @rule(target=keys, wants=WANTS, at=REPLICAS)
    def a_new_order_is_sent(self, wants: tuple[int, int], at: int) -> Key:
        key = self._new_key()
        self._send(key, self._body(wants), at)
        return key

    @rule(key=keys, at=REPLICAS)
    def a_key_is_repeated(self, key: Key, at: int) -> None:
        self._send(key, key.bodies[0], at)

    @rule(key=keys, wants=WANTS, at=REPLICAS)
    def a_key_comes_with_another_body(self, key: Key, wants: tuple[int, int], at: int) -> None:
        self._send(key, self._body(wants), at)

    @rule(target=keys, wants=st.lists(WANTS, min_size=1, max_size=3), killed=st.none() | PEOPLE)
    def a_new_key_is_raced(self, wants: list[tuple[int, int]], killed: str | None) -> Key:
        key = self._new_key()
        self._race(key, [self._body(each) for each in wants], killed)
        return key

    @rule(key=keys, killed=st.none() | PEOPLE)
    def a_key_is_raced(self, key: Key, killed: str | None) -> None:
        self._race(key, key.bodies, killed)

    @rule(target=restocks, shelf=st.integers(0, 1), quantity=st.integers(1, 9))
    def goods_arrive(self, shelf: int, quantity: int) -> Restock:
        restock = Restock(new_key(), self.shelves[shelf], quantity)
        self.every_restock.append(restock)
        assert self._restock(restock) in {200, None}
        return restock

    @rule(restock=restocks, more=st.integers(0, 1))
    def a_restock_is_repeated_and_then_altered(self, restock: Restock, more: int) -> None:
        if self._restock(restock) == 200:
            assert self._restock(restock._replace(quantity=restock.quantity + more)) in {422 if more else 200, None}

    @rule(who=PEOPLE)
    def somebody_is_killed(self, who: str) -> None:
        self._person(who).kill()

    @rule(who=PEOPLE)
    def somebody_is_killed_and_started_again(self, who: str) -> None:
        self._begin(who)

    @rule(strike=STRIKES)
    def somebody_is_doomed(self, strike: tuple[tuple[str, str], str, int]) -> None:
        (who, point), by, passes = strike
        self._begin(who, CRASH_AT=point, CRASH_SIGNAL=by, CRASH_SKIP=str(passes))

    @rule()
    def all_sleepers_are_woken(self) -> None:
        for person in self.shop.everyone:
            if person.is_alive:
                person.signal(signal.SIGCONT)

    @rule()
    def redis_forgets_everything(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    @rule(latency_ms=st.sampled_from([0, 50, 700]), crash=RATES, partial_failure=RATES, number=st.integers(0, 2**32))
    def gremlins_get_in(self, latency_ms: int, crash: float, partial_failure: float, number: int) -> None:
        wish = {
            "latency": latency_ms > 0,
            "latency_ms": latency_ms,
            "crash_rate": crash,
            "partial_failure_rate": partial_failure,
            "seed": number,
        }
        with suppress(httpx.TransportError):
            self.client.post(f"{self.shop.inventory.url}/api/admin/chaos", json=wish)

    @rule()
    def gremlins_are_shown_the_door(self) -> None:
        with suppress(httpx.TransportError):
            self.client.delete(f"{self.shop.inventory.url}/api/admin/chaos")

    @rule(target=keys, quantity=st.integers(1, 3), at=REPLICAS)
    def an_order_uses_up_its_attempts(self, quantity: int, at: int) -> Key:
        self._mend()
        self.shop.chaos(crash_rate=1.0)
        key = self._new_key()
        self._send(key, Body(self.shelves[0], quantity), at)
        eventually(lambda: self._statuses() <= {"confirmed", "failed", "dead"}, 20, f"an end of {key}")
        assert self.shop.order_rows(b"SELECT status FROM orders WHERE idempotency_key = %s", [key.name]) == [("dead",)]
        return key

    @rule(at=REPLICAS)
    def dead_orders_are_requeued(self, at: int) -> None:
        with suppress(httpx.TransportError):
            self._requeue(at)

    @rule(key=keys, at=REPLICAS)
    def all_is_mended_and_a_key_is_waited_for(self, key: Key, at: int) -> None:
        self._mend()
        self._wait_settled()
        self._send(key, key.bodies[0], at)

    @invariant()
    def the_books_balance(self) -> None:
        assert not self.shop.inventory_rows(
            b"""SELECT item_id, quantity FROM inventory
                LEFT JOIN (SELECT item_id, sum(quantity_change) AS booked FROM inventory_transactions GROUP BY item_id)
                     AS ledger USING (item_id)
                WHERE item_id = ANY(%s) AND (quantity IS DISTINCT FROM booked OR quantity < 0)""",
            [list(self.initial)],
        )

    def teardown(self) -> None:
        """Let the story come to its end, see that it is the right one, and that telling it again changes nothing."""
        with closing(self.client):
            self._come_to_the_end()

    def _come_to_the_end(self) -> None:
        self._mend()
        for restock in self.every_restock:
            assert self._restock(restock) == 200
        for key in self.every_key:
            self._insist(key)
        self._wait_settled()
        for _ in range(2):
            for key in self.every_key:
                for at in range(2):
                    self._send(key, key.bodies[0], at)
            assert_each_key_has_one_effect(self.shop, self.initial, self.every_key, self.every_restock)

    def _person(self, who: str) -> Service:
        return next(service for service in self.shop.everyone if service.name == who)

    def _begin(self, who: str, **environ: str) -> None:
        """Start somebody anew; who is doomed may be struck before anybody has seen it at work."""
        person = self._person(who)
        person.kill()
        person.start(**environ)
        (self.armed.add if environ else self.armed.discard)(who)
        eventually(lambda: _is_struck(person) or self._answers(person), 20, f"{who} at work; see {person.log}")

    def _answers(self, person: Service) -> bool:
        try:
            return self.client.get(f"{person.url}/health/live").is_success
        except httpx.TransportError:
            return False

    def _mend(self) -> None:
        """Have everybody alive and well, and no gremlins."""
        for who in POINTS:
            if who in self.armed or not self._person(who).is_alive:
                self._begin(who)
        chaos = f"{self.shop.inventory.url}/api/admin/chaos"
        eventually(lambda: self.client.delete(chaos).status_code == 200, what="the gremlins' end")

    def _new_key(self) -> Key:
        self.every_key.append(Key(new_key()))
        return self.every_key[-1]

    def _body(self, wants: tuple[int, int]) -> Body:
        return Body(self.shelves[wants[0]], wants[1])

    def _send(self, key: Key, body: Body, at: int) -> Answer:
        key.sent(body)
        answer = self._ask(key, body, at)
        key.told(body, answer)
        return answer

    def _race(self, key: Key, bodies: list[Body], killed: str | None) -> None:
        """Send the key eight times at once, to both replicas, while somebody may be killed."""
        racing = [
            (body, at) for (body, at), _ in zip(cycle([(b, a) for b in bodies for a in (0, 1)]), range(8), strict=False)
        ]
        for body in bodies:
            key.sent(body)
        with ThreadPoolExecutor(len(racing)) as pool:
            asked = [pool.submit(self._ask, key, body, at) for body, at in racing]
            if killed is not None:
                self._person(killed).kill()
        answers = [(body, future.result()) for (body, _), future in zip(racing, asked, strict=True)]
        for body, answer in sorted(answers, key=lambda each: each[1].is_final):  # none came before another
            key.told(body, answer)

    def _ask(self, key: Key, body: Body, at: int) -> Answer:
        try:
            response = self.client.post(
                f"{self.shop.orders[at].url}/api/orders", json=body._asdict(), headers={"Idempotency-Key": key.name}
            )
        except httpx.TransportError:
            return NONE_CAME
        return Answer.of(response)

    def _insist(self, key: Key) -> None:
        """Repeat a key, as clients do, until it is known what it stands for: nothing, if there is no such item."""

        def decided() -> bool:
            answers = [self._send(key, body, 0) for body in key.bodies]
            return key.is_decided or (key.order_id is None and all(answer.is_final for answer in answers))

        eventually(decided, what=f"an answer to {key}")

    def _restock(self, restock: Restock) -> int | None:
        """Book goods, which may have been booked before; None when inventory is not there."""
        try:
            response = self.client.post(
                f"{self.shop.inventory.url}/api/inventory/{restock.item_id}/restock",
                json={"quantity": restock.quantity},
                headers={"Idempotency-Key": restock.key},
            )
        except httpx.TransportError:
            return None
        return response.status_code

    def _statuses(self) -> set[str]:
        rows = self.shop.order_rows(
            b"SELECT DISTINCT status FROM orders WHERE idempotency_key = ANY(%s)",
            [[key.name for key in self.every_key]],
        )
        return {status for (status,) in rows}

    def _wait_settled(self) -> None:
        """Wait until every order has come to its end; the dead are raised."""

        def settled() -> bool:
            statuses = self._statuses()
            if "dead" in statuses:
                self._requeue(0)
            return statuses <= {"confirmed", "failed"}

        eventually(settled, 20, f"the end of every order: {self.every_key}")

    def _requeue(self, at: int) -> None:
        response = self.client.post(f"{self.shop.orders[at].url}/api/admin/queue/requeue", json={"all": True})
        assert response.status_code == 200, response.text


def _is_struck(person: Service) -> bool:
    return not person.is_alive or psutil.Process(person.process.pid).status() == psutil.STATUS_STOPPED


def test_in_every_story_each_key_has_one_effect(shop: Shop, valkey_server: ValkeyServer) -> None:
    @seed(SEED)
    def story() -> Story:
        return Story(shop, valkey_server.url())

    print(f"VALERIX_STORY_SEED={SEED}")  # noqa: T201 - pytest shows it when a story ends badly
    run_state_machine_as_test(
        story,  # type: ignore[arg-type]  # its documentation takes any function that makes one
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=False,
            print_blob=True,
            phases=[Phase.reuse, Phase.generate],  # a story that hangs on who was faster does not shrink
            suppress_health_check=[HealthCheck.too_slow],  # processes are started in it
        ),
    )
