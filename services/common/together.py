"""The head of an answer and the first of its body as one write, since each write is a system call."""

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from services.common.protocol import Protocol


class Together:
    """What one answer is written to: its head waits for the first of its body.

    Of what an order costs its service, that was a twentieth. An answer that is streamed sends its head with what it
    streams first.
    """

    __slots__ = ("_cycle", "_head", "_protocol", "_waits")

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        self._protocol, self._cycle = protocol, cycle
        self._head = b""
        self._waits = cycle.scope["method"] != "HEAD"  # which has no body for its head to wait for

    def write(self, data: bytes) -> None:
        transport = self._protocol.transport
        if self._head:
            transport.write(self._head + data)
            self._head = b""
        elif self._waits and self._cycle.response_started:
            self._head, self._waits = data, False
        else:
            transport.write(data)  # "100 Continue", or more of a stream

    def close(self) -> None:
        self._protocol.end()

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()
