"""The lease that reserves a platform for a drill: two running replicas, and foreign values in Redis."""

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from services.inventory.drill_lease import LEASE_KEY, MAX_TTL
from tests.integration.inventory.service import Inventory
from tests.processes import OPERATOR, eventually

TAKEN, REFUSED = 200, 409


@pytest.fixture
def store(warehouse: Inventory) -> Iterator[redis.Redis]:
    """The inventory's Redis, without a drill lease."""
    with redis.Redis.from_url(warehouse.redis_url) as client:
        client.delete(LEASE_KEY)
        yield client
        client.delete(LEASE_KEY)


def take(warehouse: Inventory, run: str, at: int = 0, **terms: Any) -> httpx.Response:
    body = {"run": run, "drill": "small", "by": "us", "ttl_seconds": 30} | terms
    return warehouse.http.put(f"{warehouse.replicas[at].url}/api/admin/chaos/drill", json=body, headers=OPERATOR)


def give_back(warehouse: Inventory, run: str) -> Any:
    url = f"{warehouse.replicas[1].url}/api/admin/chaos/drill/{run}"
    return warehouse.http.delete(url, headers=OPERATOR).json()


def new_run() -> str:
    return uuid.uuid4().hex


@pytest.mark.usefixtures("store")
def test_a_second_drill_is_refused_with_the_details_of_the_first(warehouse: Inventory) -> None:
    assert take(warehouse, "first", by="ann@laptop").status_code == TAKEN
    refused = take(warehouse, "second", at=1)
    problem = refused.json()
    assert (refused.status_code, problem["type"]) == (REFUSED, "urn:valerix:problem:drill-running")
    assert (problem["run"], "ann@laptop" in problem["detail"], "small" in problem["detail"]) == ("first", True, True)
    assert 0 < problem["remaining_seconds"] <= 30


@pytest.mark.usefixtures("store")
def test_the_chaos_view_shows_the_running_drill(warehouse: Inventory) -> None:
    taken = take(warehouse, "first").json()
    seen = warehouse.chaos()["drill"]
    assert {name: seen[name] for name in ("run", "drill", "by", "since")} == {
        name: taken[name] for name in ("run", "drill", "by", "since")
    }


@pytest.mark.usefixtures("store")
def test_one_of_many_concurrent_drills_starts(warehouse: Inventory) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda at: take(warehouse, new_run(), at % 2).status_code, range(16)))
    assert sorted(codes) == [TAKEN] + 15 * [REFUSED]


def test_a_renewal_extends_the_lease_and_keeps_its_start(warehouse: Inventory, store: redis.Redis) -> None:
    first = take(warehouse, "first", ttl_seconds=5).json()
    again = take(warehouse, "first", at=1, ttl_seconds=60)
    assert (again.status_code, again.json()["since"]) == (TAKEN, first["since"])
    assert store.pttl(LEASE_KEY) > 5000


@pytest.mark.usefixtures("store")
def test_the_lease_of_a_killed_drill_expires(warehouse: Inventory) -> None:
    take(warehouse, "killed", ttl_seconds=1)
    eventually(lambda: take(warehouse, "next").status_code == TAKEN, what="the end of the lease")


@pytest.mark.usefixtures("store")
def test_a_lease_is_released_only_by_its_holder(warehouse: Inventory) -> None:
    take(warehouse, "first")
    assert give_back(warehouse, "second") == {"returned": False}
    assert take(warehouse, "second").status_code == REFUSED
    assert give_back(warehouse, "first") == {"returned": True}
    assert take(warehouse, "second").status_code == TAKEN


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda store: store.hset(LEASE_KEY, "a", "b"), id="a hash"),
        pytest.param(lambda store: store.rpush(LEASE_KEY, "a"), id="a list"),
        pytest.param(lambda store: store.set(LEASE_KEY, b"other {}"), id="a lease without an end"),
        pytest.param(
            lambda store: store.set(LEASE_KEY, b"other {}", ex=MAX_TTL + 60), id="a lease that is longer than any"
        ),
    ],
)
def test_an_invalid_lease_value_blocks_no_drill(
    warehouse: Inventory, store: redis.Redis, spoil: Callable[[redis.Redis], object]
) -> None:
    spoil(store)
    assert take(warehouse, "first").status_code == TAKEN
    assert 0 < store.pttl(LEASE_KEY) <= 30_000


@pytest.mark.parametrize("raw", [b"other", b"other {}", b"\xff\xfe garbage", b"", b" "])
def test_an_unreadable_lease_blocks_other_drills_until_it_expires(
    warehouse: Inventory, store: redis.Redis, raw: bytes
) -> None:
    store.set(LEASE_KEY, raw, px=2000)
    assert take(warehouse, "first").status_code == REFUSED
    assert warehouse.http.get(f"{warehouse.replicas[0].url}/api/admin/chaos", headers=OPERATOR).is_success
    eventually(lambda: take(warehouse, "first").status_code == TAKEN, what="the end of the lease")


@pytest.mark.parametrize(
    "terms",
    [
        {"run": ""},
        {"run": "a b"},
        {"run": "a\n"},
        {"run": "a" * 101},
        {"run": None},
        {"drill": ""},
        {"by": "a" * 201},
        {"ttl_seconds": 0},
        {"ttl_seconds": MAX_TTL + 1},
        {"more": 1},
    ],
    ids=json.dumps,
)
def test_invalid_lease_terms_are_refused(warehouse: Inventory, store: redis.Redis, terms: dict[str, Any]) -> None:
    assert take(warehouse, **({"run": "first"} | terms)).json()["type"] == "urn:valerix:problem:invalid-body"
    assert not store.exists(LEASE_KEY)
