"""Any reply of Redis to any command is handled as a failure of Redis: never a bug."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.common.redis import FAILURES, BestEffort, Redis, closing, open_redis
from services.common.settings import read
from services.frontend.revocations import Revocations
from services.inventory import chaos_store
from services.inventory.chaos_store import Counts, Report
from services.inventory.gremlins import ActivationRequest, Hit, build_activation
from services.order.breaker_sync import BreakerSync
from services.order.settings import OrderSettings
from tests.e2e.strange_redis import ANSWERS, StrangeRedis
from tests.unit.common.environment import ENVIRON
from valerix_cli.local.servers import ValkeyServer

HIT = Hit("crash", UUID(int=1), 1)
GREMLINS = build_activation(ActivationRequest(crash_rate=1, script=[HIT]), "activation", 1, datetime.now(UTC))
EXCHANGES: dict[str, Callable[[Redis], Awaitable[Any]]] = {
    "look": lambda redis: chaos_store.sync_replica(redis, "inventory-1", "process", None),
    "report": lambda redis: chaos_store.write_report(
        redis, "inventory-1", "process", None, [Report(GREMLINS, Counts(), 0, [HIT])]
    ),
    "time_and_halt": chaos_store.time_and_halt,
    "activate": lambda redis: chaos_store.set_live(redis, GREMLINS, [HIT]),
    "script": lambda redis: chaos_store.read_script(redis, GREMLINS.id),
    "end": chaos_store.clear_live,
    "followed": chaos_store.followers,
    "view": chaos_store.read_view,
    "hits": lambda redis: chaos_store.read_hits(redis, GREMLINS.id),
}


@pytest.fixture(scope="module")
def strange(valkey_server: ValkeyServer) -> Iterator[StrangeRedis]:
    with StrangeRedis(valkey_server.port) as strange:
        yield strange


@pytest.fixture
async def redis(strange: StrangeRedis, valkey_server: ValkeyServer) -> AsyncIterator[Redis]:
    client = open_redis(valkey_server.url(5).replace(f":{valkey_server.port}", f":{strange.port}"), name="test")
    strange.answer = None
    async with closing(client):
        yield client


@pytest.mark.parametrize("what", ANSWERS)
async def test_the_breaker_view_survives_any_redis_answer_about_other_replicas(
    strange: StrangeRedis, redis: Redis, what: str
) -> None:
    strange.answer = ANSWERS[what]
    breaker_sync = BreakerSync(
        read(OrderSettings, ENVIRON | {"VALERIX_REPLICA": "order-1"}), "order", BestEffort(redis)
    )
    view = await breaker_sync.view()
    assert [replica.replica for replica in view.replicas] == ["order-1"]


@pytest.mark.parametrize("what", ANSWERS)
async def test_a_session_survives_any_redis_answer_about_sign_outs(
    strange: StrangeRedis, redis: Redis, what: str
) -> None:
    strange.answer = ANSWERS[what]
    ledger = Revocations(BestEffort(redis), 60)
    await ledger.sync()
    assert ledger.accepts(ledger.generation, "session")


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_any_redis_answer_about_gremlins_is_a_failure_or_ignored(
    strange: StrangeRedis, redis: Redis, exchange: str
) -> None:
    for answer in ANSWERS.values():
        strange.answer = answer
        with contextlib.suppress(*FAILURES):
            await EXCHANGES[exchange](redis)
