"""Availability of orders during each fault, and the recovery time after it. Reports figures, without a verdict.

python -m tests.faults.availability [--seconds 10] [--only WORDS]

Clients send orders one after the other to two replicas, and repeat each with the same key, at the other replica, until
it is accepted. For each fault it prints, as Markdown: the share of requests during the fault that got 201 or 202, their
statuses, the 99th percentile of response times, the longest time without an accepted order, and the time from the end
of the fault to the first order that was accepted (201 or 202) and to the first that was confirmed at once (201).

At the end every key must have exactly one effect, or it exits with 11.
"""

import argparse
import itertools
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import httpx
import psutil
import psycopg

from services.common.postgres import migrate
from tests.e2e.proxied_shop import WiredShop
from tests.e2e.shop import Shop, new_key
from tests.faults.platform import Mortal
from tests.faults.proxy import Kind
from tests.processes import Service, eventually, open_directory, processes
from valerix_cli.local.servers import PostgresServer, ValkeyServer

CLIENTS = 8
PAUSE = 0.05  # seconds between the orders of one client
RETRY = 0.2  # seconds before an order is repeated
LIMIT = 5.0  # seconds that a client waits for a response
SETTLE = 4.0  # seconds between two faults
ACCEPTED = {201, 202}
STANDBY = "ALTER SYSTEM SET synchronous_standby_names = '{}'"

Fault = Callable[[], None]


class Request(NamedTuple):
    """One request: the times when it was sent and answered, by the monotonic clock; status 0 means no response."""

    sent: float
    answered: float
    status: int


class Customers:
    """Clients that repeat an order until it is accepted."""

    def __init__(self, urls: list[str]) -> None:
        self.requests: list[Request] = []
        self.keys: list[str] = []
        self._urls = urls
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._shop, args=[number]) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _shop(self, at: int) -> None:
        with httpx.Client(timeout=LIMIT) as client:
            while not self._enough.wait(PAUSE):
                key = new_key()
                self.keys.append(key)
                while self._send(client, self._urls[at % len(self._urls)], key) not in ACCEPTED:
                    at += 1
                    if self._enough.wait(RETRY):
                        return

    def _send(self, client: httpx.Client, url: str, key: str) -> int:
        sent, status = time.monotonic(), 0
        body, headers = {"item_id": "ps5", "quantity": 1}, {"Idempotency-Key": key}
        with suppress(httpx.TransportError):
            status = client.post(f"{url}/api/orders", json=body, headers=headers).status_code
        self.requests.append(Request(sent, time.monotonic(), status))
        return status


class Ground(NamedTuple):
    """The platform with its databases."""

    shop: WiredShop
    postgres: Mortal
    valkey: Mortal


@contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    for name in ("postgres", "valkey", "logs"):
        (directory / name).mkdir()
    logs = directory / "logs"
    with ExitStack() as stack:
        database = PostgresServer.at(directory / "postgres", password="only-for-this-run")
        cache = ValkeyServer.at(directory / "valkey", password="only-for-this-run")
        postgres = stack.enter_context(Mortal(database, logs / "postgres.log"))
        valkey = stack.enter_context(Mortal(cache, logs / "valkey.log"))
        urls = (_migrated(database, "order"), _migrated(database, "inventory"), cache.url())
        services = stack.enter_context(processes(logs, *urls))
        shop = WiredShop(stack, services, *urls, orders=2)
        shop.stock("ps5", 10_000_000)
        services.start(*shop.everyone)
        yield Ground(shop, postgres, valkey)


def _migrated(server: PostgresServer, service: str) -> str:
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{service}"'.encode())
    migrate(server.url(service), f"services.{service}")
    return server.url(service)


def faults(on: Ground) -> dict[str, tuple[Fault, Fault]]:
    """Return each fault by its name: functions that begin and end it."""
    shop = on.shop
    first = shop.orders[0]

    def backends() -> list[int]:
        return [pid for service in shop.orders for pid in shop.backends(service.name)]

    return {
        "PostgreSQL killed": (partial(on.postgres.kill, signal.SIGKILL), on.postgres.start),  # type: ignore[dict-item]  # its result is not used
        "PostgreSQL stopped, all of it": frozen(partial(tree, on.postgres)),
        "PostgreSQL's backends of the order service stopped": frozen(backends),
        "order to PostgreSQL: old connections dead": spoiled(shop, "order", "postgres", "swallow"),
        "order to PostgreSQL: answers of old connections lost": spoiled(shop, "order", "postgres", "swallow-answers"),
        "order to PostgreSQL: accepts and says nothing": spoiled(shop, "order", "postgres", "stall"),
        "inventory to PostgreSQL: old connections dead": spoiled(shop, "inventory", "postgres", "swallow"),
        "synchronous standby gone": (partial(tell, on, STANDBY.format("gone")), partial(tell, on, STANDBY.format(""))),
        "PostgreSQL read-only": (
            partial(tell, on, "ALTER SYSTEM SET default_transaction_read_only = on"),
            partial(tell, on, "ALTER SYSTEM SET default_transaction_read_only = off"),
        ),
        "Redis killed": (partial(on.valkey.kill, signal.SIGKILL), on.valkey.start),  # type: ignore[dict-item]  # its result is not used
        "Redis stopped": frozen(partial(tree, on.valkey)),
        "order to Redis: old connections dead": spoiled(shop, "order", "redis", "swallow"),
        "inventory killed": restarted(shop.inventory),
        "inventory stopped": frozen(partial(pids, shop.inventory)),
        "order to inventory: old connections dead": spoiled(shop, "order", "inventory", "swallow"),
        "worker killed": restarted(shop.worker),
        "one of two order replicas killed": restarted(first),
        "one of two order replicas stopped": frozen(partial(pids, first)),
    }


def tree(server: Mortal) -> list[int]:
    process = server._process  # noqa: SLF001 - ours as well
    assert process is not None
    return [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]


def pids(service: Service) -> list[int]:
    assert service.process.pid is not None
    return [service.process.pid]


def frozen(who: Callable[[], list[int]]) -> tuple[Fault, Fault]:
    """Return functions that stop and continue processes."""
    stopped: list[int] = []

    def stop() -> None:
        stopped[:] = who()
        _signal(stopped, signal.SIGSTOP)

    return stop, lambda: _signal(stopped, signal.SIGCONT)


def _signal(who: list[int], number: signal.Signals) -> None:
    for pid in who:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def spoiled(shop: WiredShop, caller: str, callee: str, kind: Kind) -> tuple[Fault, Fault]:
    names = [name for name in shop.proxies if name.startswith(caller) and name.endswith(f"to {callee}")]
    assert names

    def spoil() -> None:
        for name in names:
            shop.proxies[name].set(kind)

    return spoil, shop.heal


def restarted(service: Service) -> tuple[Fault, Fault]:
    return service.kill, service.start


def tell(on: Ground, statement: str) -> None:
    url = on.postgres.server.url("postgres")  # type: ignore[attr-defined]  # it is PostgreSQL
    options = "-c synchronous_commit=local -c default_transaction_read_only=off"
    with psycopg.connect(url, autocommit=True, options=options) as conn:
        conn.execute(statement.encode())
        conn.execute("SELECT pg_reload_conf()")


def measure(shop: Shop, name: str, begin: Fault, end: Fault, seconds: float) -> str:
    """Measure one fault and return its row of the table."""
    with Customers([service.url for service in shop.orders]) as customers:
        eventually(lambda: sum(request.status == 201 for request in customers.requests) > CLIENTS, 15, "load")
        began = time.monotonic()
        begin()
        time.sleep(max(seconds - (time.monotonic() - began), 0))
        ended = time.monotonic()
        end()
        eventually(lambda: _first(customers, ended, {201}) is not None, 30, f"orders after: {name}")
        time.sleep(SETTLE)
    return _line(name, customers, began, ended)


def _is_well(shop: Shop) -> bool:
    """Return True if every process is up and each replica confirms orders."""
    with suppress(httpx.TransportError):
        ready = all(httpx.get(f"{service.url}/health/ready").is_success for service in shop.everyone)
        return ready and all(shop.place(at=at).status_code == 201 for at in range(len(shop.orders)))
    return False


def _first(customers: Customers, moment: float, statuses: set[int]) -> float | None:
    """Return the seconds from `moment` to the first response with one of the statuses, to a request sent since."""
    good = [
        each.answered - moment for each in list(customers.requests) if each.sent >= moment and each.status in statuses
    ]
    return min(good, default=None)


def _line(name: str, customers: Customers, began: float, ended: float) -> str:
    during = [each for each in customers.requests if began <= each.sent < ended]
    took = sorted(each.answered - each.sent for each in during)
    statuses = Counter(each.status for each in during)
    share = sum(statuses[status] for status in ACCEPTED) / len(during)
    counts = ", ".join(f"{count} × {status or 'no answer'}" for status, count in sorted(statuses.items()))
    cells = [
        name,
        f"{share:.0%}",
        counts,
        f"{took[min(int(len(took) * 0.99), len(took) - 1)]:.2f} s",
        f"{_longest_gap(customers, began, ended):.1f} s",
        _seconds(_first(customers, ended, ACCEPTED)),
        _seconds(_first(customers, ended, {201})),
    ]
    return f"| {' | '.join(cells)} |"


def _longest_gap(customers: Customers, began: float, ended: float) -> float:
    """Return the longest time during the fault without an accepted order."""
    accepted = sorted(
        each.answered for each in customers.requests if each.status in ACCEPTED and began < each.answered < ended
    )
    return max(later - earlier for earlier, later in itertools.pairwise([began, *accepted, ended]))


def _seconds(after: float | None) -> str:
    return "not seen" if after is None else f"{after:.2f} s"


HEAD = """\
| fault | accepted | answers | p99 | longest gap | first accepted after it | first confirmed after it |
|---|---|---|---|---|---|---|"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.availability")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each fault lasts")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    arguments = parser.parse_args()
    print(HEAD, flush=True)  # noqa: T201 - its result
    with open_directory("availability") as directory, ground(directory) as on:
        for name, (begin, end) in faults(on).items():
            if arguments.only in name:
                eventually(partial(_is_well, on.shop), 60, "business as usual")
                print(measure(on.shop, name, begin, end, arguments.seconds), flush=True)  # noqa: T201 - the same
        on.shop.wait_settled(60)
        print(f"\n{len(on.shop.statuses())} orders", flush=True)  # noqa: T201 - the same
        try:
            on.shop.assert_exactly_one_effect()
        except AssertionError as error:
            print(f"violated: {error}", file=sys.stderr)  # noqa: T201 - the same
            return 11
    return 0


if __name__ == "__main__":
    sys.exit(main())
