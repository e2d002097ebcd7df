"""All four services on separate databases, and nginx in front of each."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from services.common.postgres import migrate
from tests.e2e.shop import Shop
from tests.nginx import NGINX, in_front_of
from tests.processes import Service, open_directory, processes, start_all
from valerix_cli.local.servers import PostgresServer, ValkeyServer, running

PASSWORD = "only-for-this-run"


@dataclass(frozen=True)
class Target:
    """A connection to a service, directly or through nginx."""

    service: Service
    name: str
    port: int
    through_nginx: bool

    def memory(self) -> int:
        """Return the resident memory of the service in bytes."""
        return psutil.Process(self.service.process.pid).memory_info().rss

    def descriptors(self) -> int:
        return psutil.Process(self.service.process.pid).num_fds()

    def failures(self) -> list[str]:
        """Return the errors in the service's log."""
        lines = self.service.log.read_text().splitlines()
        return [line[:300] + " … " + line[-700:] for line in lines if '"level": "error"' in line]


@contextmanager
def running_fleet() -> Iterator[list[Target]]:
    """Run the services; yield each directly, and through nginx if that is installed."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory("fuzz"))
        for name in ("postgres", "valkey"):
            (directory / name).mkdir()
        postgres = stack.enter_context(
            running(PostgresServer.at(directory / "postgres", password=PASSWORD, fsync=False))
        )
        valkey = stack.enter_context(running(ValkeyServer.at(directory / "valkey", password=PASSWORD)))
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as conn:
            for name in ("order", "inventory"):
                conn.execute(f'CREATE DATABASE "{name}"'.encode())
        urls = [postgres.url(name) for name in ("order", "inventory")]
        for url, name in zip(urls, ("order", "inventory"), strict=True):
            migrate(url, f"services.{name}")
        services = stack.enter_context(processes(directory, urls[0], urls[1], valkey.url()))
        shop = Shop(services, urls[0], urls[1])
        shop.stock("fuzz", 1_000_000)
        frontend = services.frontend(shop.order, shop.inventory)
        start_all([*shop.everyone, frontend])
        fleet = {"order": shop.order, "inventory": shop.inventory, "worker": shop.worker, "frontend": frontend}
        yield [target for name, service in fleet.items() for target in _ways(stack, directory, name, service)]


def _ways(stack: ExitStack, directory: Path, name: str, service: Service) -> Iterator[Target]:
    yield Target(service, name, service.port, through_nginx=False)
    if NGINX is not None:
        port = stack.enter_context(in_front_of(service.port, directory / f"nginx-{name}", buffering=name != "order"))
        yield Target(service, name, port, through_nginx=True)
