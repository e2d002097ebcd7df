"""A flush function of a group commit that tests release and make fail."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.common.group_commit import GroupCommit


class BadItem(Exception):  # noqa: N818 - named for the failure of one item
    pass


class Outage(Exception):  # noqa: N818 - named for the reason of a failed flush
    pass


@dataclass
class ControlledFlush:
    """A flush that holds its batches until they are released, and records them."""

    answer: Callable[[int], Any] = lambda item: item * 10
    batches: list[list[int]] = field(default_factory=list)
    _gates: list[asyncio.Event] = field(default_factory=list)
    _open: bool = False

    async def flush(self, items: list[int]) -> list[Any]:
        self.batches.append(items)
        gate = asyncio.Event()
        self._gates.append(gate)
        if not self._open:
            await gate.wait()
        return [self.answer(item) for item in items]

    def release(self, number: int) -> None:
        self._gates[number].set()

    def release_all(self) -> None:
        self._open = True
        for gate in self._gates:
            gate.set()


async def turns(count: int = 5) -> None:
    """Let every runnable task run."""
    for _ in range(count):
        await asyncio.sleep(0)


def start(group: GroupCommit[int, Any], *items: int) -> list[asyncio.Future[Any]]:
    return [group.submit(item) for item in items]
