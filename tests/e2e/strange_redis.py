"""A Redis that accepts clients as usual and replies to their commands with another type or an error."""

import asyncio
import re
from contextlib import suppress
from typing import Self

from tests.faults.proxy import LoopThread
from tests.streams import closing
from valerix_cli.local.ports import LOOPBACK

COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")
GREETINGS = {b"HELLO", b"CLIENT", b"SELECT", b"AUTH"}

ANSWERS = {
    "not Redis at all": b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    "bytes of no protocol": b"\xff\xfe\x00\x01\r\n",
    "a number": b":7\r\n",
    "a text": b"+strange\r\n",
    "nothing": b"$-1\r\n",
    "a list of none": b"*0\r\n",
    "a list of many": b"*3\r\n:1\r\n$1\r\nx\r\n*1\r\n$-1\r\n",
    "a list of one number": b"*1\r\n:7\r\n",
    "a list of one text": b"*1\r\n$2\r\n\xff\xfe\r\n",
    "a text that is no UTF-8": b"$2\r\n\xff\xfe\r\n",
    "two answers": b"+OK\r\n+OK\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "read only": b"-READONLY You can't write against a read only replica.\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "not signed in": b"-NOAUTH Authentication required.\r\n",
    "without a master": b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    "without a cluster": b"-CLUSTERDOWN The cluster is down\r\n",
    "another's slot": b"-MOVED 1 127.0.0.1:1\r\n",
    "a wrong type": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    "a full disk": b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
    "no such script": b"-NOSCRIPT No matching script.\r\n",
}


class StrangeRedis:
    """A proxy of the real Redis on `port`. `answer` is the reply to each command; None forwards everything."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.answer: bytes | None = None
        self.answered = 0
        self._real = port
        self._thread = LoopThread("strange-redis")
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.do(self._close())
        self._thread.__exit__(None, None, None)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        """Stop listening, and close every connection before the event loop ends."""
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closing(writer):
            there, back = await asyncio.open_connection(LOOPBACK, self._real)
            async with closing(back):
                answers = asyncio.create_task(self._pass_back(there, writer))
                try:
                    with suppress(OSError):
                        await self._pass_on(reader, writer, back)
                finally:
                    answers.cancel()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(65536):
            commands = COMMAND.findall(chunk)
            if self.answer is None or not commands or commands[0].upper() in GREETINGS:
                back.write(chunk)
            else:
                self.answered += 1
                writer.write(_replies(self.answer, [command.upper() for command in commands]))

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)


def _replies(answer: bytes, commands: list[bytes]) -> bytes:
    """Return the same reply for each command; within a transaction it is the reply of EXEC."""
    queued: int | None = None
    replies = []
    for command in commands:
        if command == b"MULTI":
            queued = 0
            replies.append(b"+OK\r\n")
        elif queued is None:
            replies.append(answer)
        elif command == b"EXEC":
            replies.append(b"*%d\r\n" % queued + answer * queued)
            queued = None
        else:
            queued += 1
            replies.append(b"+QUEUED\r\n")
    return b"".join(replies)
