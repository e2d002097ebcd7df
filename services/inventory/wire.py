"""What goes over the wire of the deduct endpoints: bodies, answers by line, and the answer that never comes."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from services.common import body as bodies
from services.common.mistakes import explain
from services.common.refusals import InvalidBody
from services.inventory.domain import Contradicted, Deducted, Line, Outcome, Refused
from services.inventory.gremlins import Attempt, Fault

# Wide on purpose: one line refused here refuses its whole batch, so it is the order service that is strict.
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
    """One order's claim, and which attempt at it this is."""

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
    """The order has its goods. `repeated`: it already had them. `remaining` is what the item has left now."""

    order_id: UUID
    item_id: str
    quantity: int
    repeated: bool
    remaining: int


class LineAnswer(msgspec.Struct, frozen=True):
    """The answer to one line: 200 with `repeated`, or another status with its reason."""

    order_id: UUID
    status: int
    repeated: bool | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    available: int | msgspec.UnsetType = msgspec.UNSET


class NoAnswer(Response[None]):
    """Promises a body and closes the connection instead, so the caller never learns what happened.

    uvicorn closes a connection whose application returns in the middle of a body.
    """

    def __init__(self) -> None:
        super().__init__(None, status_code=500)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]  # any ASGI application will do
        return _hang_up


async def _hang_up(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})


_lines = msgspec.json.Decoder(DeductBody)
_encoder = msgspec.json.Encoder()


def decode_lines(body: bytes) -> list[DeductBody]:
    """Return the lines of an NDJSON body. Raises InvalidBody when one of them is malformed, or there is none."""
    try:
        lines = _lines.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        known = isinstance(error, msgspec.DecodeError)
        said = explain(error, DeductBody, whole="A line") if known else "The body is not UTF-8"
        raise InvalidBody(f"{said}; nothing was done") from None
    if not lines:
        raise InvalidBody("Send at least one line")
    if body.count(b":") > len(lines) * len(DeductBody.__struct_fields__):  # one for each member, all of them required
        for line in body.split(b"\n"):
            if line.strip():
                bodies.refuse_duplicates(line)
    return lines


def encode_answers(answers: Iterable[LineAnswer | None]) -> bytes:
    """Return the lines to send; what is None is lost."""
    return _encoder.encode_lines([answer for answer in answers if answer is not None])


def answer(order_id: UUID, result: Outcome | Fault) -> LineAnswer | None:
    """Say `result` as one line, or not at all."""
    match result:
        case Deducted(repeated=repeated):
            return LineAnswer(order_id, 200, repeated=repeated)
        case Refused("insufficient-stock" as reason, int() as available):
            return LineAnswer(order_id, 409, reason=reason, available=available)
        case Refused(reason):
            return LineAnswer(order_id, 422, reason=reason)
        case Contradicted():
            return LineAnswer(order_id, 422, reason="order-id-reused")
        case Fault(gremlin, int() as status):
            return LineAnswer(order_id, status, reason=f"injected-{gremlin.replace('_', '-')}")
        case Fault():
            return None
