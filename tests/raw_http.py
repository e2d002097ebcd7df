"""HTTP/1.1 in bytes: requests that no client library would send, and their responses."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httptools


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def request_id(self) -> str:
        """The request id of the response, "" without one."""
        return self.headers.get("x-request-id", "")


class Connection:
    """A connection to a server, with the responses received on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._complete: list[Answer] = []
        self._parser = httptools.HttpResponseParser(self)
        self._now = Answer(0)

    def send(self, data: bytes, piece: int | None = None) -> None:
        """Send `data`, in segments of `piece` bytes if given.

        It is no error if the server closes the connection meanwhile.
        """
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(data), piece or len(data) or 1):
                self.socket.sendall(data[at : at + (piece or len(data))])

    def next(self) -> Answer | None:
        """Return the next response, without interim ones; None at the end of the connection."""
        while not self._complete:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._parser.feed_data(data)
        return self._complete.pop(0)

    def rest(self) -> list[Answer]:
        """Return all responses until the server closes the connection."""
        return list(iter(self.next, None))

    def on_message_begin(self) -> None:
        self._now = Answer(0)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.status = self._parser.get_status_code()
        if self._now.status >= 200:
            self._complete.append(self._now)


@contextmanager
def connected(port: int, timeout: float = 10.0) -> Iterator[Connection]:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(connection)


def chunked(body: bytes, size: int = 7, trailers: bytes = b"") -> bytes:
    """Return `body` in chunks of `size` bytes, followed by `trailers`, which are complete lines."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"
