"""Hostile input: values whose every text is hostile, a server that responds with them, and a terminal."""

import contextlib
import fcntl
import importlib
import inspect as inspection
import json
import os
import pkgutil
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
import time
import typing
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import inspect
from rich.console import RenderableType
from rich.text import Text

import valerix_cli.views
from valerix_cli.clients import prometheus, wire

MARK = "PWNED"
PAYLOADS = [
    f"\x1b[31m{MARK}",
    f"\x1b]0;{MARK}\x07",
    f"\x1b]52;c;UFdORUQ=\x07{MARK}",
    f"\x1b]8;;https://evil.example\x1b\\{MARK}\x1b]8;;\x1b\\",
    f"\x9b31m{MARK}",
    f"\x9d52;c;UFdORUQ=\x9c{MARK}",
    f"\x7f\x08\x00\r{MARK}",
    f"\u202e{MARK}\u202c\u2066{MARK}\u2069\u200e\u200f\u061c",
    f"\u200b\u2060\ufeff\u00ad{MARK}\u2028{MARK}\u2029\U000e0041\U000e007f",
    f"\nFORGED{MARK}\n",
    f"[red]{MARK}[/red][link=https://evil.example]{MARK}[/link]:smile:",
]
HOSTILE = "".join(PAYLOADS)
TEXT_ONLY = HOSTILE.replace("\x00", "")  # for arguments, file names and variables
SURROGATE = "\udcff\udc9b31m" + MARK
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ID = UUID("00000000-0000-0000-0000-000000000001")

_DRAWN = re.compile(
    r"\x1b\[[0-9;]*m"  # colours
    r"|\r?\x1b\[[0-9;?]*[ABCDGHJKhlu]"  # cursor, erasing, modes
    r"|\x1b\]22;[a-z-]*\x07"  # the shape of the pointer
    r"|\x1b\[[<>=][0-9;]*u|\x1b\[\?[0-9;]*\$p|\x1b\[>[0-9]*[mq]|\x1b_[^\x1b]*\x1b\\|\x1b[78]|\x1bP[^\x1b]*\x1b\\"
)
"""The escape sequences that Rich and Textual send to a terminal."""


def leaks(written: bytes, *, lines: bool = True) -> list[str]:
    """Return the payloads that got through, and any character that is neither text nor sent by Rich or Textual.

    Without `lines`, payloads that begin a line are accepted: a response body that is shown unchanged may have them.
    """
    text = written.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    plain = _DRAWN.sub("", text)
    found = ["a colour"] if "\x1b[31mPWNED" in text else []
    found += ["a line"] if lines and re.search(r"^ {0,2}(FORGED|PWNED)", plain, re.MULTILINE) else []
    return found + sorted({repr(char) for char in plain if not char.isprintable() and char != "\n"})


def hostile(shape: Any, text: str = HOSTILE, variant: int = 0) -> Any:
    """Return a value of that type in which every free text is `text`; `variant` selects among alternatives."""
    if typing.get_origin(shape) is Iterable:
        shape = list[typing.get_args(shape)[0]]  # type: ignore[misc]  # known at run time only
    return _Maker(text, variant).of(inspect.type_info(shape))


class _Maker:
    def __init__(self, text: str, variant: int) -> None:
        self._text, self._variant = text, variant

    def of(self, shape: inspect.Type) -> Any:  # noqa: C901, PLR0911, PLR0912 - one case per type
        match shape:
            case inspect.Metadata():
                return self.of(shape.type)
            case inspect.StrType() if shape.pattern:
                return "monitor"
            case inspect.StrType() | inspect.AnyType():
                return self._text
            case inspect.BoolType():
                return not self._variant
            case inspect.IntType():
                return 7
            case inspect.FloatType():
                return 7.5
            case inspect.DateTimeType():
                return NOW
            case inspect.UUIDType():
                return ID
            case inspect.NoneType():
                return None
            case inspect.LiteralType():
                return shape.values[self._variant % len(shape.values)]
            case inspect.EnumType():
                members: list[Enum] = list(shape.cls)
                return members[self._variant % len(members)]
            case inspect.UnionType():
                types = [one for one in shape.types if not isinstance(one, inspect.NoneType)]
                texts = [one for one in types if isinstance(one, inspect.StrType)]
                return self.of((texts or types)[0])
            case inspect.ListType() | inspect.VarTupleType() | inspect.CollectionType() | inspect.FrozenSetType():
                made = [self.of(shape.item_type)]
                return tuple(made) if isinstance(shape, inspect.VarTupleType) else made
            case inspect.TupleType():
                return tuple(map(self.of, shape.item_types))
            case inspect.DictType():
                return {self.of(shape.key_type): self.of(shape.value_type)}
            case inspect.StructType() | inspect.DataclassType():
                return shape.cls(**{field.name: self.of(field.type) for field in shape.fields if field.name != "act"})
            case inspect.CustomType():
                return shape.cls(7.5)
            case _:
                raise AssertionError(shape)


PAGES: list[tuple[str, str, Any]] = [
    ("POST", r"/api/orders", wire.Order),
    ("GET", r"/api/orders", wire.OrderPage),
    ("GET", r"/api/orders/[^/]+", wire.Order),
    ("GET", r"/api/orders/[^/]+/events", wire.OrderEvents),
    ("*", r"/api/admin/breaker", wire.Breaker),
    ("GET", r"/api/admin/platform", wire.Platform),
    ("GET", r"/api/admin/queue", wire.Queue),
    ("POST", r"/api/admin/queue/requeue", wire.Requeued),
    ("GET", r"/api/inventory", wire.Items),
    ("GET", r"/api/inventory/[^/]+", wire.Item),
    ("POST", r"/api/inventory/[^/]+/restock", wire.Restocked),
    ("GET", r"/api/inventory/transactions/[^/]+", wire.Ledger),
    ("GET", r"/api/admin/chaos", wire.Chaos),
    ("POST", r"/api/admin/chaos", wire.Activation),
    ("DELETE", r"/api/admin/chaos", wire.Ended),
    ("POST", r"/api/admin/chaos/halt", wire.Chaos),
    ("GET", r"/api/admin/chaos/[^/]+/hits", wire.Hits),
    ("PUT", r"/api/admin/chaos/drill", wire.DrillLease),
    ("GET", r"/api/v1/rules", prometheus._Answer),  # noqa: SLF001 - the type of Prometheus' response
]
_CALM = {"live": None, "halted": False}


class Server:
    """Responds to every request as `mode` says: `shaped`, `problem`, `known` (one of the catalogue) or `garbage`."""

    def __init__(self) -> None:
        self.mode, self.text = "shaped", HOSTILE
        self.location = ""
        """Target of a redirect for every request, if any."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def tokens(self) -> list[str]:
        """The tokens received, one per request."""
        return [headers["Authorization"] for _, _, headers in self.requests if "Authorization" in headers]

    def answer(self, method: str, target: str) -> tuple[int, bytes]:
        path = urlsplit(target).path
        if self.mode == "garbage":
            return 200, self.text.encode()
        if self.mode in {"problem", "known"}:
            kind = self.text if self.mode == "problem" else "urn:valerix:problem:insufficient-stock"
            facts = dict.fromkeys(
                ("type", "title", "detail", "item_id", "order_id", "request_id", self.text), self.text
            )
            return 409, json.dumps(facts | {"type": kind, "status": 409, "requested": 9, "available": 2}).encode()
        if path == "/metrics":
            return 200, f'http_requests_total{{route="{MARK}\x9b"}} 1\n'.encode()
        if path.startswith("/health"):
            check = {"status": self.text, "latency_ms": 1, "detail": self.text}
            document = dict.fromkeys(("status", "service", "replica", "version"), self.text)
            return 200, json.dumps({**document, "pid": 1, "checks": {self.text: check}}).encode()
        for allowed, pattern, shape in PAGES:
            if allowed in {method, "*"} and re.fullmatch(pattern, path):
                return 201 if method == "POST" else 200, msgspec.json.encode(hostile(shape, self.text))
        return 404, json.dumps({"type": self.text, "title": self.text, "detail": self.text}).encode()

    def _handler(server: "Server") -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the request below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def do_GET(self) -> None:
                server.requests.append((self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = server.answer(self.command, self.path)
                head = f"HTTP/1.1 {status} \x9b31m{MARK}\r\n".encode("latin-1")
                head += f"X-Hostile: \x1b[31m{MARK}\x9b\r\n".encode("latin-1")
                if server.location:
                    head = f"HTTP/1.1 307 Elsewhere\r\nLocation: {server.location}{self.path}\r\n".encode()
                head += f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n".encode()
                head += f"Idempotent-Replayed: {MARK}\r\nRetry-After: 0\r\n\r\n".encode()
                self.wfile.write(head + body)

            do_POST = do_DELETE = do_PUT = do_OPTIONS = do_GET  # noqa: N815 - the same

            def log_message(self, *_: Any) -> None:
                """Suppress the log."""

        return Handler


@contextlib.contextmanager
def on_a_terminal(arguments: list[str], size: tuple[int, int]) -> Iterator[Callable[..., bytes]]:
    """Run a program on a new terminal.

    Yields a function that presses keys, reads until a condition holds, and returns all.
    """
    pid, master = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - without a shell
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    got = b""

    def until(holds: Callable[[bytes], bool], keys: bytes = b"") -> bytes:
        nonlocal got
        deadline = time.monotonic() + 60
        os.write(master, keys)
        while not holds(got):
            assert time.monotonic() < deadline, got[-6000:]
            if select.select([master], [], [], 0.1)[0]:
                try:
                    got += os.read(master, 65536)
                except OSError:  # a terminal signals that its program has ended
                    break
        return got

    try:
        yield until
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)


@contextlib.contextmanager
def writing(*, terminal: bool) -> Iterator[Callable[[], bytes]]:
    """Make the standard streams a terminal or a pipe.

    Yields a function that returns the output once the block has ended.
    """
    reader, writer = pty.openpty() if terminal else os.pipe()
    got: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # a terminal signals that it was closed
            while chunk := os.read(reader, 65536):
                got.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    closed = threading.Event()
    streams = [os.fdopen(os.dup(writer), "w", encoding="utf-8", errors="backslashreplace") for _ in range(2)]
    os.close(writer)
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            yield lambda: b"".join(got) if closed.is_set() else b""
    finally:
        for stream in streams:
            stream.close()
        thread.join()
        os.close(reader)
        closed.set()


def views() -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    """Yield every public view function that takes one value: its name, the function, and the type of the value."""
    for module in pkgutil.iter_modules(valerix_cli.views.__path__, "valerix_cli.views."):
        found = importlib.import_module(module.name)
        for name, function in vars(found).items():
            if inspection.isfunction(function) and function.__module__ == module.name and not name.startswith("_"):
                *given, (_, drawn) = typing.get_type_hints(function).items()
                if len(given) == 1 and drawn in {RenderableType, Text, str}:
                    yield f"{module.name.rpartition('.')[2]}.{name}", function, given[0][1]


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from strings(key)
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
