"""Messages about invalid files and responses, which never quote a library's error."""

import ast
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.unit.common.test_mistakes import TELLTALES
from valerix_cli.clients import order_input as baskets
from valerix_cli.clients.http import decode
from valerix_cli.clients.wire import Items
from valerix_cli.config import parse_config
from valerix_cli.drills import parser
from valerix_cli.drills.receipt_store import ReceiptStore
from valerix_cli.errors import CliError
from valerix_cli.journal import JournalReader
from valerix_cli.local.stack import SECRETS_FILE, read_secrets
from valerix_cli.reasons import why

ROOT = Path(__file__).parents[3] / "valerix_cli"
LIBRARY = (
    *TELLTALES,
    "Errno",
    "JSONDecodeError",
    "invalid literal",
    "codec can't decode",
    " object at 0x",
    "Error(",
    "while parsing",
    "Validation",
)
JSON = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"a": 1}',
    b"\xff",
    b'{"version": "x"}',
    b"[" * 50_000,
    b"1e999",
)
TOML = (
    b"=",
    b"a = ",
    b"\xff",
    b"context = 1",
    b"timeout = []",
    b"no_input = 'yes'",
    b"output = 'xml'",
    b"contexts = 1",
    b"[contexts.a]",
    b"[contexts.a]\norder = 'x'",
    b"[contexts.a]\norder = ['x']\ninventory = ['x']",
    b"[contexts.a]\ncolour = 'red'",
    b"[contexts.a.b]\nc = 1",
    b"timeout = 'long'",
)
YAML = (
    "",
    "[",
    "a: b: c",
    "name: 1",
    "drill: [",
    "\t",
    "faults: 3",
    "name: x\nload: {rate: fast}",
    "- 1",
    "\x00",
)


def a_config(content: bytes, _: Path) -> None:
    parse_config(content, Path("config.toml"))


def secrets(content: bytes, directory: Path) -> None:
    directory.chmod(0o700)
    (directory / SECRETS_FILE).write_bytes(content)
    (directory / SECRETS_FILE).chmod(0o600)
    read_secrets(directory)


def a_receipt(content: bytes, directory: Path) -> None:
    (directory / "receipt.json").write_bytes(content)
    ReceiptStore(directory).find(str(directory / "receipt.json"))


def a_journal(content: bytes, directory: Path) -> None:
    (directory / "journal").write_bytes(content + b"\n")
    list(JournalReader(directory / "journal").entries())


def an_answer(content: bytes, _: Path) -> None:
    request = httpx.Request("GET", "http://127.0.0.1:3002/api/inventory")
    decode(httpx.Response(200, content=content, request=request), Items)


def a_basket(content: bytes, _: Path) -> None:
    baskets.read([content.decode(errors="replace") or "{"], "orders.ndjson", None)


def a_drill(content: bytes, directory: Path) -> None:
    (directory / "drill.yaml").write_bytes(content)
    parser.find(str(directory / "drill.yaml"))


READERS: list[tuple[Callable[[bytes, Path], None], tuple[bytes, ...]]] = [
    (a_config, TOML),
    (secrets, JSON),
    (a_receipt, JSON),
    (a_journal, JSON),
    (an_answer, JSON),
    (a_basket, (b"{", b'{"a": 1}', b'{"item_id": 1}', b'{"item_id": "a", "quantity": "2"}', b"{}x")),
    (a_drill, (*(text.encode() for text in YAML), b"\xff")),
]


CASES = [
    pytest.param(reader, content, id=f"{reader.__name__} {content[:20]!r}")
    for reader, contents in READERS
    for content in contents
]


@pytest.mark.parametrize(("reader", "content"), CASES)
def test_no_decoding_error_shows_the_text_of_a_library(
    reader: Callable[[bytes, Path], None], content: bytes, tmp_path: Path
) -> None:
    with pytest.raises(CliError) as caught:
        reader(content, tmp_path)
    message = f"{caught.value.what}\n{caught.value.why}\n{caught.value.hint}"
    assert not [word for word in LIBRARY if word in message], message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (httpx.ConnectError("[Errno 111] Connection refused"), "Connection refused"),
        (httpx.ConnectError(""), "ConnectError"),
        (UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid start byte"), "it is not text in UTF-8, at byte 2"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
    ],
)
def test_a_decoding_error_has_a_plain_reason(error: Exception, message: str) -> None:
    assert why(error) == message


def test_no_command_error_shows_the_text_of_a_library() -> None:
    """An error of ours that wraps a library's gets its reason from `why`, or omits it."""
    raw = [
        f"{file.relative_to(ROOT)}:{call.lineno}: {ast.unparse(argument)}"
        for file in sorted(ROOT.rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Error") and len(call.args) == 3
        for argument in call.args
        if "str(error)" in ast.unparse(argument) or "{error}" in ast.unparse(argument)
    ]
    assert raw == []
