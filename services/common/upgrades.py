"""Declined upgrades: the rest of the connection is read as if no upgrade had been requested.

RFC 9110, section 7.8: a server may ignore `Upgrade`. The message is then framed as any other (RFC 9112, section 6.3).
llhttp always accepts an upgrade: it stops after the head and skips the body that the head announces.
"""

from collections.abc import Iterable
from typing import Protocol

import httptools

FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ParserCallbacks(Protocol):
    """The callbacks of an HTTP/1.1 parser."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_chunk_header(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


def announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a head that llhttp has accepted announces a body."""
    return any(name in FRAMING and value.strip(b"0") != b"" for name, value in headers)


def parser_of_body(protocol: ParserCallbacks, headers: Iterable[tuple[bytes, bytes]]) -> httptools.HttpRequestParser:
    """Return a parser that expects the body that `headers` announce, and after it the next message."""
    parser = httptools.HttpRequestParser(_AfterHead(protocol))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    framing = b"".join(b"%s: %s\r\n" % header for header in headers if header[0] in FRAMING)
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    return parser


class _AfterHead:
    """Callbacks of a parser: hides the first head from the protocol, which has already processed it."""

    def __init__(self, protocol: ParserCallbacks) -> None:
        self._protocol = protocol
        self._is_replay = True
        self.on_body = protocol.on_body
        self.on_chunk_header = protocol.on_chunk_header
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_replay:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_replay:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_replay:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_replay:
            self._is_replay = False
        else:
            self._protocol.on_headers_complete()
