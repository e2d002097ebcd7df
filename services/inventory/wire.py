"""Request and response formats of the deduct endpoints, including the response that is dropped on purpose."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from services.common import request_body
from services.common.mistakes import explain
from services.common.refusals import InvalidBody
from services.inventory.domain import Conflict, Deducted, Line, Outcome, Refused
from services.inventory.gremlins import Attempt, Fault

# Permissive: an invalid line refuses its whole batch, so the order service validates strictly.
ItemId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)",
        description="text without control characters",
    ),
]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class DeductBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order's request for stock, and the number of the attempt."""

    order_id: UUID
    item_id: ItemId
    quantity: Quantity
    attempt: Attempt

    @property
    def line(self) -> Line:
        return Line(self.order_id, self.item_id, self.quantity)


class RestockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    quantity: Quantity


class Deduction(msgspec.Struct, frozen=True):
    """The quantity is deducted. `repeated`: it already was. `remaining` is the item's stock now."""

    order_id: UUID
    item_id: str
    quantity: int
    repeated: bool
    remaining: int


class LineResult(msgspec.Struct, frozen=True):
    """The outcome of one line: 200 with `repeated`, or another status with its reason."""

    order_id: UUID
    status: int
    repeated: bool | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    available: int | msgspec.UnsetType = msgspec.UNSET


class DroppedResponse(Response[None]):
    """Announces a body and closes the connection instead, so the caller does not learn the outcome.

    uvicorn closes the connection if an application returns before its body is complete.
    """

    def __init__(self) -> None:
        super().__init__(None, status_code=500)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # any ASGI application is accepted
        return _drop_connection


async def _drop_connection(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})


_lines = msgspec.json.Decoder(DeductBody)
_encoder = msgspec.json.Encoder()


def decode_lines(body: bytes) -> list[DeductBody]:
    """Return the lines of an NDJSON body. Raises InvalidBody if a line is malformed or there is none."""
    try:
        lines = _lines.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        known = isinstance(error, msgspec.DecodeError)
        detail = explain(error, DeductBody, whole="A line") if known else "The body is not UTF-8"
        raise InvalidBody(f"{detail}; nothing was done") from None
    if not lines:
        raise InvalidBody("Send at least one line")
    if body.count(b":") > len(lines) * len(
        DeductBody.__struct_fields__
    ):  # one colon per member, all of which are required
        for line in body.split(b"\n"):
            if line.strip():
                request_body.refuse_duplicates(line)
    return lines


def encode_results(results: Iterable[LineResult | None]) -> bytes:
    """Encode results as NDJSON; None (a lost response) has no line."""
    return _encoder.encode_lines([result for result in results if result is not None])


def line_result(order_id: UUID, result: Outcome | Fault) -> LineResult | None:
    """Return the response line of an outcome or fault; None for a dropped response."""
    match result:
        case Deducted(repeated=repeated):
            return LineResult(order_id, 200, repeated=repeated)
        case Refused("insufficient-stock" as reason, int() as available):
            return LineResult(order_id, 409, reason=reason, available=available)
        case Refused(reason):
            return LineResult(order_id, 422, reason=reason)
        case Conflict():
            return LineResult(order_id, 422, reason="order-id-reused")
        case Fault(gremlin, int() as status):
            return LineResult(order_id, status, reason=f"injected-{gremlin.replace('_', '-')}")
        case Fault():
            return None
