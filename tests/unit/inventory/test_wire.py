"""Parsing and encoding of NDJSON lines."""

from uuid import UUID

import msgspec
import pytest

from services.common.refusals import InvalidBody
from services.inventory.domain import Conflict, Deducted, Line, Outcome, Refused
from services.inventory.gremlins import Fault
from services.inventory.wire import DeductBody, decode_lines, encode_results, line_result

ORDER = UUID(int=1)
GOOD = {"order_id": str(ORDER), "item_id": "ps5", "quantity": 2, "attempt": 1}


def encoded(*lines: dict[str, object]) -> bytes:
    return b"\n".join(msgspec.json.encode(line) for line in lines)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_every_line_is_a_deduction_and_trailing_blank_lines_are_ignored(end: bytes) -> None:
    claim = DeductBody(ORDER, "ps5", 2, 1)
    assert decode_lines(encoded(GOOD, GOOD) + end) == [claim, claim]
    assert claim.line == Line(ORDER, "ps5", 2)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": 1.5},
        {"quantity": "1"},
        {"quantity": True},
        {"attempt": 0},
        {"order_id": "x"},
        {"item_id": ""},
        {"item_id": "x" * 101},
        {"item_id": "a\0b"},
        {"item_id": "a\nb"},
        {"item_id": None},
        {"surprise": 1},
    ],
)
def test_one_malformed_line_refuses_them_all(change: dict[str, object]) -> None:
    with pytest.raises(InvalidBody, match=r"nothing was done"):
        decode_lines(encoded(GOOD, GOOD | change, GOOD))


@pytest.mark.parametrize("number", [b"1e309", b"NaN", b"-0", b"01", b"1.0000000001", b"9" * 400])
def test_an_invalid_quantity_is_refused(number: bytes) -> None:
    with pytest.raises(InvalidBody):
        decode_lines(encoded(GOOD).replace(b'"quantity":2', b'"quantity":' + number))


@pytest.mark.parametrize("body", [b"", b"\n", b"{", b'{"order_id": NaN}', b"\xff", b"[]", b"null"])
def test_an_invalid_line_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        decode_lines(body)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Deducted(3), {"status": 200, "repeated": False}),
        (Deducted(3, repeated=True), {"status": 200, "repeated": True}),
        (Refused("insufficient-stock", 1), {"status": 409, "reason": "insufficient-stock", "available": 1}),
        (Refused("unknown-item"), {"status": 422, "reason": "unknown-item"}),
        (Conflict("ps5", 2), {"status": 422, "reason": "order-id-reused"}),
        (Fault("crash", 503), {"status": 503, "reason": "injected-crash"}),
        (Fault("partial_failure", 500), {"status": 500, "reason": "injected-partial-failure"}),
    ],
)
def test_each_outcome_has_its_line(result: Outcome | Fault, expected: dict[str, object]) -> None:
    assert msgspec.json.decode(encode_results([line_result(ORDER, result)])) == {"order_id": str(ORDER)} | expected


def test_a_lost_result_has_no_line() -> None:
    assert line_result(ORDER, Fault("crash", None)) is None
    assert encode_results([None, None]) == b""
