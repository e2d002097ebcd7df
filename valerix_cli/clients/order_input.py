"""Parsing of order lines from arguments and files. Pure."""

import re
from collections.abc import Iterable
from uuid import uuid4

import msgspec

from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.errors import BadUsageError
from valerix_cli.reasons import why

MOST = 1000  # per item and order
_ENTRY = re.compile(r"(?P<item>[^\s:]+)(?::(?P<quantity>\S+))?")
_SENDABLE = re.compile(r"[ -~]+")
_HINT = "write ITEM, ITEM:QTY, or a line of JSON with item_id and quantity"


class BasketLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an NDJSON file."""

    item_id: str
    quantity: int = 1
    idempotency_key: str | None = None


def typed(entries: Iterable[str], key: str | None) -> list[OrderRequest]:
    """Return an order per `ITEM[:QTY]`. With several, `key` becomes key-1, key-2, …, so that a repeat reuses them."""
    lines = [_entry(entry, "on the command line") for entry in entries]
    return [
        OrderRequest(line.item_id, line.quantity, checked_key(_key(key, number, len(lines))))
        for number, line in enumerate(lines, start=1)
    ]


def read(lines: Iterable[str], origin: str, key: str | None) -> list[OrderRequest]:
    """Return an order per line: NDJSON or `ITEM[:QTY]`; skips blank lines and lines that start with #."""
    found = [
        _line(text.strip(), f"in line {number} of {origin}")
        for number, text in enumerate(lines, start=1)
        if text.strip() and not text.lstrip().startswith("#")
    ]
    return [
        OrderRequest(line.item_id, line.quantity, checked_key(line.idempotency_key or _key(key, number, len(found))))
        for number, line in enumerate(found, start=1)
    ]


def checked_key(key: str) -> str:
    """Return `key`. Raises BadUsageError if it cannot be sent in a header; the service checks the rest."""
    if _SENDABLE.fullmatch(key):
        return key
    raise BadUsageError("Invalid idempotency key.", f"{key!r} is not printable ASCII", "A-Z a-z 0-9 _ . : -")


def _key(key: str | None, number: int, of: int) -> str:
    if key is None:
        return str(uuid4())
    return key if of == 1 else f"{key}-{number}"


def _line(text: str, where: str) -> BasketLine:
    if not text.startswith("{"):
        return _entry(text, where)
    try:
        return _checked(msgspec.json.decode(text, type=BasketLine), where)
    except msgspec.MsgspecError as error:
        raise BadUsageError(f"The order {where} is invalid.", why(error, BasketLine), _HINT) from error


def _entry(text: str, where: str) -> BasketLine:
    parts = _ENTRY.fullmatch(text)
    if parts is None:
        raise BadUsageError(f"The order {where} is invalid.", f"{text!r} is not ITEM[:QTY]", _HINT)
    quantity = parts["quantity"] or "1"
    if not quantity.isdecimal():
        raise BadUsageError(f"The order {where} is invalid.", f"{quantity!r} is not a whole number", _HINT)
    return _checked(BasketLine(parts["item"], int(quantity)), where)


def _checked(line: BasketLine, where: str) -> BasketLine:
    if 1 <= line.quantity <= MOST:
        return line
    why = f"{line.quantity} of {line.item_id}: one order takes 1 to {MOST}"
    hint = "split it into several orders" if line.quantity > MOST else _HINT
    raise BadUsageError(f"The order {where} is invalid.", why, hint)
