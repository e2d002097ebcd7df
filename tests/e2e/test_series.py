"""Clients cannot increase the number of series that Prometheus scrapes."""

import asyncio
import uuid
from collections.abc import Iterable

import httpx
import pytest

from tests.e2e.shop import Shop
from tests.processes import eventually
from tests.streams import closing

MANY = 10_000
_TOGETHER = 200


@pytest.fixture(scope="module")
def shop(open_shop: Shop) -> Shop:
    open_shop.stock("counted", 10 * MANY)
    return open_shop


def series(shop: Shop) -> set[str]:
    """Return the series that the order and the inventory service export now.

    Series of failed dependencies are left out: their kinds are few and fixed, and Redis may be slow on a busy machine.
    """
    found = set()
    for service in (*shop.orders, shop.inventory):
        page = httpx.get(f"{service.url}/metrics").text
        found |= {f"{service.name} {line.rpartition(' ')[0]}" for line in page.splitlines() if _is_counted(line)}
    return found


def _is_counted(line: str) -> bool:
    return not line.startswith(("#", "dependency_failures_"))


def placing(key: str, item: str) -> bytes:
    body = b'{"item_id":"%s","quantity":1}' % item.encode()
    head = f"Host: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}"
    return f"POST /api/orders HTTP/1.1\r\n{head}\r\n\r\n".encode() + body


def asking(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def send(port: int, requests: Iterable[bytes]) -> int:
    """Send requests, pipelined over a few connections; return the number of responses."""
    waiting = list(requests)

    async def over_one(some: list[bytes]) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = 0
        async with closing(writer):
            for at in range(0, len(some), _TOGETHER):
                together = some[at : at + _TOGETHER]
                writer.write(b"".join(together))
                for _ in together:
                    head = await reader.readuntil(b"\r\n\r\n")
                    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    await reader.readexactly(int(lengths[0].partition(b":")[2]))
                    answered += 1
        return answered

    return sum(await asyncio.gather(*(over_one(waiting[number::8]) for number in range(8))))


@pytest.mark.parametrize("number", [1_000, pytest.param(MANY, marks=pytest.mark.long)])
async def test_thousands_of_invented_paths_items_and_keys_add_no_series(shop: Shop, number: int) -> None:
    def some(count: int) -> list[bytes]:
        made_up = [uuid.uuid4().hex for _ in range(count)]
        return [
            *(asking(f"/api/{name}") for name in made_up),
            *(placing(name, f"item-{name}") for name in made_up),
            *(placing(name, "counted") for name in made_up),
        ]

    async with asyncio.timeout(60):
        await send(shop.order.port, some(20))
        eventually(lambda: any('item_id="counted"' in one for one in series(shop)), what="stock is shown each second")
        before = series(shop)
        assert await send(shop.order.port, some(number // 3)) == number // 3 * 3
    assert series(shop) == before
