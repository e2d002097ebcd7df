"""`python -m tests.node.orders URL SECONDS JOURNAL [--keep] [--retries N]`: send orders at a steady rate.

Runs in the node's network and sends to a Service. Each order opens a new connection, which the Service routes to any of
its pods, unless `--keep` reuses connections. Failed orders are repeated with the same key.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from valerix_cli.journal import JournalWriter

RATE = 40.0  # orders per second: below a service's limit for one client
ITEMS = ("ps5", "xbox", "switch", "laptop")
PLACED = ("200", "201")
_PAUSE = 0.2  # seconds


@dataclass
class Outcome:
    """Results of all orders, by status or name of the error: `first` of the first attempts, `last` of the last ones.

    `complaints` has the time and reason of each failed attempt.
    """

    first: Counter[str] = field(default_factory=Counter)
    last: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sender:
    client: httpx.AsyncClient
    url: str
    journal: JournalWriter
    retries: int
    outcome: Outcome

    async def order(self, item: str) -> None:
        """Send one order until it is placed or no attempts are left."""
        key, result = str(uuid.uuid4()), ""
        for attempt in itertools.count():
            result = await self._send(key, item)
            if attempt == 0:
                self.outcome.first[result] += 1
            if result in PLACED or attempt == self.retries:
                break
            await asyncio.sleep(_PAUSE)
        self.outcome.last[result] += 1

    async def _send(self, key: str, item: str) -> str:
        body = {"item_id": item, "quantity": 1}
        at, sent = time.strftime("%H:%M:%S", time.gmtime()), self.journal.sent(key, item, 1)
        try:
            answer = await self.client.post(f"{self.url}/api/orders", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError as error:
            result = type(error).__name__
            self.journal.unknown(sent, result)
            self.outcome.complaints.append(f"{at} {result}: {error}")
            return result
        content = answer.json()
        if answer.is_success:
            self.journal.answered(sent, answer.status_code, content["order_id"], content["status"])
        else:
            self.journal.answered(sent, answer.status_code, problem=content["type"].rpartition(":")[2])
            self.outcome.complaints.append(f"{at} {answer.status_code}: {answer.text[:200]}")
        return str(answer.status_code)


async def send(url: str, seconds: float, journal: Path, *, keep: bool, retries: int) -> Outcome:
    limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
    with JournalWriter(journal, "node") as writer:
        async with httpx.AsyncClient(limits=limits, timeout=10, trust_env=False) as client, asyncio.TaskGroup() as all_:
            sender, began = Sender(client, url, writer, retries, Outcome()), time.monotonic()
            for number in range(int(seconds * RATE)):
                await asyncio.sleep(began + number / RATE - time.monotonic())
                all_.create_task(sender.order(ITEMS[number % len(ITEMS)]))
    return sender.outcome


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.node.orders", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--retries", type=int, default=0)
    given = parser.parse_args(arguments)
    outcome = asyncio.run(send(given.url, given.seconds, given.journal, keep=given.keep, retries=given.retries))
    sys.stdout.write(json.dumps(vars(outcome)))


if __name__ == "__main__":
    main(sys.argv[1:])
