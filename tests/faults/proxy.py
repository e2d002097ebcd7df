"""A TCP proxy with faults, which counts the connections that a fault affected.

    with Proxy(server_port) as proxy:
        connect_to(proxy.port)
        proxy.stall()
        ...
        proxy.heal()

Its event loop runs in a separate thread, so that both blocking and asynchronous code can use it.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeAlias, TypeVar

from valerix_cli.local.ports import LOOPBACK

T = TypeVar("T")
Kind: TypeAlias = Literal["pass", "delay", "stall", "swallow", "swallow-answers", "cut", "reset", "refuse"]

CHUNK = 64 * 1024  # bytes
PATIENCE = 10.0  # seconds for the proxy itself to carry out a command
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: unsent data is dropped, and the peer gets a RST


class LoopThread:
    """An event loop in a separate thread. Tasks that still run at the end are cancelled."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(TimeoutError):  # a task that does not end must not keep the others from ending
            self.do(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start `work`; return a future of its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end and return its result."""
        return self.submit(work).result(PATIENCE)


class Fault:
    """A fault that affects connections until `over`. `amount` is the seconds of a delay, or the bytes until a cut."""

    def __init__(self, kind: Kind, amount: float = 0) -> None:
        self.kind = kind
        self.amount = amount
        self.over = asyncio.Event()


class Link:
    """A connection from a client, and the proxy's connection to the server once there is one."""

    def __init__(self, client: asyncio.StreamWriter, under: Fault) -> None:
        """`under` is the fault in effect when the client connected."""
        self.ends = [client]
        self.under = under
        self.touched_by: Fault | None = None
        self.cut_by: Fault | None = None
        self.bytes_left = 0

    def reset(self) -> None:
        for end in self.ends:
            with suppress(OSError):  # it is already closed
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            end.transport.abort()

    def close(self) -> None:
        """Send the data passed on so far, then close."""
        for end in self.ends:
            end.close()

    def cut(self, fault: Fault, chunk: bytes) -> bytes:
        """Return the part of a chunk that `fault` lets through. The fault is complete when no bytes are left."""
        if self.cut_by is not fault:
            self.cut_by, self.bytes_left = fault, int(fault.amount)
        passed = chunk[: self.bytes_left]
        self.bytes_left -= len(passed)
        return passed


class Proxy:
    """Forwards connections to `target_port` on loopback, and applies faults to them.

    `port` is where it listens. One fault is in effect at a time: each replaces the one before. `fired` counts, by
    fault, the connections that were affected: each one once per time that the fault was set.
    """

    def __init__(self, target_port: int, *, name: str = "proxy") -> None:
        self.name = name
        self.fired: Counter[Kind] = Counter()
        self.port = 0
        self._target_port = target_port
        self._thread = LoopThread(name)
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._fault = Fault("pass")
        self._server: asyncio.Server | None = None

    def start(self) -> Self:
        self._thread.__enter__()
        self._thread.do(self._listen())
        return self

    def stop(self) -> None:
        """Reset all connections, and stop."""
        self._thread.do(self._close())
        self._thread.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def heal(self) -> None:
        """Forward everything again. Stalled connections are reset, because the data that they missed is lost."""
        self.set("pass")

    def delay(self, seconds: float) -> None:
        """Delay each chunk by that many seconds, in both directions."""
        self.set("delay", seconds)

    def stall(self) -> None:
        """Accept connections but forward nothing, as an unresponsive peer."""
        self.set("stall")

    def swallow(self, *, answers_only: bool = False) -> None:
        """Drop data on existing connections, as a middlebox that lost its state; forward new ones.

        With `answers_only`, requests still reach the server and take effect there.
        """
        self.set("swallow-answers" if answers_only else "swallow")

    def cut(self, after: int) -> None:
        """Forward the next `after` bytes of the server's response on each connection, then close it."""
        self.set("cut", after)

    def reset(self) -> None:
        """Send a RST on existing connections and on each new one."""
        self.set("reset")

    def refuse(self) -> None:
        """Close existing connections, and each new one at once, without a reset, as a server that shuts down."""
        self.set("refuse")

    def set(self, kind: Kind, amount: float = 0) -> None:
        """Set the fault, or none with "pass"; it is in effect when this returns."""
        self._thread.do(self._switch(kind, amount))

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await self._switch("reset", 0)
        if self._server is not None:
            self._server.close()
        if self._links:
            await asyncio.wait(self._links.values(), timeout=PATIENCE / 2)

    async def _switch(self, kind: Kind, amount: float) -> None:
        over, self._fault = self._fault.over, Fault(kind, amount)
        over.set()
        for link in list(self._links):
            self._turn_away(link)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link, task = Link(writer, self._fault), asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            if not self._turn_away(link):
                await self._carry(link, reader, writer)
        except OSError:  # one side is gone, or never connected: close the other
            link.reset()
        finally:
            link.close()
            del self._links[link]

    def _turn_away(self, link: Link) -> bool:
        """Reset or close a connection if the fault in effect allows none. Return whether it did."""
        fault = self._fault
        if fault.kind not in {"reset", "refuse"}:
            return False
        self._touch(link, fault)
        link.reset() if fault.kind == "reset" else link.close()
        return True

    async def _carry(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward data in both directions until one side ends."""
        if self._fault.kind == "stall":
            await self._stall(link, self._fault)
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        link.ends.append(server_writer)
        directions = [
            asyncio.create_task(self._pass_on(link, reader, server_writer, answers=False)),
            asyncio.create_task(self._pass_on(link, server_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            results = await asyncio.gather(*directions, return_exceptions=True)
        for result in results:
            if isinstance(result, OSError):
                raise result

    async def _pass_on(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while chunk := await reader.read(CHUNK):
            fault = await self._undergo(link, answers=answers)
            cuts = answers and fault.kind == "cut"
            writer.write(link.cut(fault, chunk) if cuts else chunk)
            await writer.drain()
            if cuts and not link.bytes_left:
                self._touch(link, fault)
                return

    async def _undergo(self, link: Link, *, answers: bool) -> Fault:
        """Wait as long as the fault requires; return the fault that applies to the chunk afterwards."""
        while (fault := self._fault).kind in {"stall", "delay"} or _swallows(fault, link, answers=answers):
            if fault.kind != "delay":
                await self._stall(link, fault)
            self._touch(link, fault)
            with suppress(TimeoutError):
                async with asyncio.timeout(fault.amount):
                    await fault.over.wait()
            if not fault.over.is_set():
                break
        return fault

    async def _stall(self, link: Link, fault: Fault) -> NoReturn:
        self._touch(link, fault)
        await fault.over.wait()
        raise ConnectionResetError

    def _touch(self, link: Link, fault: Fault) -> None:
        if link.touched_by is not fault:
            link.touched_by = fault
            self.fired[fault.kind] += 1


def _swallows(fault: Fault, link: Link, *, answers: bool) -> bool:
    """Return True if `fault` drops the data of an older connection in this direction."""
    kinds = {"swallow", "swallow-answers"} if answers else {"swallow"}
    return fault.kind in kinds and link.under is not fault


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
