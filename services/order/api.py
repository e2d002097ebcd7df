"""The HTTP endpoints of orders: place, read, list."""

import base64
import re
import time
import uuid
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter, RawBody

from services.common import problems, request_body, request_context
from services.common.fast_route import AnyRequest
from services.common.idempotency import KEY, parse_key
from services.common.openapi import HEADERS, PLACED
from services.common.rate_limit import public
from services.common.refusals import Refusal
from services.order import usecases
from services.order.domain import ITEM_ID, Order, OrderBody, Status, new_order, refusal_of
from services.order.metrics import processing_duration
from services.order.processing import Placement, Processing
from services.order.store import Event

PLACE = "/api/orders"
PLACE_GUARDS = (public, request_body.json_only)

_DIGIT, _NOT_ZERO = "([MN][DTjz]|O[DT])", "(M[Tjz]|N[DTjz]|O[DT])"  # the first of three bytes
_THREE, _TWO = "[AEIMQUYcgk][w-z0-5]", "[AEIMQUYcgk]"
CURSOR = (
    f"^({_NOT_ZERO}{_THREE}({_DIGIT}{_THREE}){{0,4}}(([MN][AQgw]|O[AQ])|{_DIGIT}{_TWO})?"
    f"|M[Qgw]|N[AQgw]|O[AQ]|{_NOT_ZERO}{_TWO})$"
)
"""Pattern of a cursor: a number of at most 17 digits without a leading zero, in base64 without padding."""

PARAMETERS = ("status", "item_id", "limit", "cursor", "idempotency_key")

_order_body = msgspec.json.Decoder(OrderBody)
_encoder = msgspec.json.Encoder()


class InvalidParameter(Refusal):
    slug, status, title = "invalid-parameter", 400, "Invalid parameter"


class OrderPage(msgspec.Struct, frozen=True):
    """Orders, newest first. `next_cursor` continues after the last one; null if there are no more."""

    orders: list[Order]
    next_cursor: str | None


class OrderEvents(msgspec.Struct, frozen=True):
    order_id: uuid.UUID
    events: list[Event]


@post(
    PLACE,
    tags=["orders"],
    guards=PLACE_GUARDS,
    operation_class=request_body.operation_with_body(OrderBody),
    status_code=201,
    opt={
        HEADERS: {
            201: PLACED,
            202: PLACED,
            409: ("Retry-After", "Idempotent-Replayed"),
            422: ("Idempotent-Replayed",),
        }
    },
    responses={
        201: ResponseSpec(Order, description="Confirmed: the stock is deducted."),
        202: ResponseSpec(Order, description="Accepted; the worker finishes it. Location is the order's URL."),
        **problems.responses(400, 401, 409, 413, 415, 422, 429, 503),
    },
)
async def place_order(
    request: AnyRequest,
    body: RawBody,
    idempotency_key: Annotated[  # noqa: ARG001 - declared for the OpenAPI document; read raw, since it may come twice
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            description="Required. Requests with the same key and body place one order.",
            required=False,
        ),
    ] = None,
) -> Response[bytes]:
    """Place one order, exactly once per Idempotency-Key."""
    return await place(request, body)


async def place(request: AnyRequest, body: bytes) -> Response[bytes]:
    """Place the order of a request. Raises the Refusal that applies."""
    started = time.perf_counter()
    key = parse_key(request.headers.getall("idempotency-key", []))
    order = new_order(
        key, request_body.decode(body, _order_body), request_context.request_id.get(), request_context.traceparent.get()
    )
    processing: Processing = request.app.state.processing
    placement = await processing.place(order)
    if not placement.replayed:
        processing_duration(placement.order.status).observe(time.perf_counter() - started)
    return _response(placement)


@get(
    "/api/orders/{order_id:uuid}",
    tags=["orders"],
    guards=[public],
    responses=problems.responses(400, 401, 404, 429, 503),
)
async def get_order(state: State, order_id: FromPath[uuid.UUID]) -> Order:
    """Return one order."""
    return await usecases.get_order(state.pool, order_id)


@get(
    "/api/orders/{order_id:uuid}/events",
    tags=["orders"],
    guards=[public],
    responses=problems.responses(400, 401, 404, 429, 503),
)
async def get_events(state: State, order_id: FromPath[uuid.UUID]) -> OrderEvents:
    """Return each transition of one order, oldest first."""
    return OrderEvents(order_id, await usecases.history(state.pool, order_id))


@get("/api/orders", tags=["orders"], guards=[public], responses=problems.responses(400, 401, 429, 503))
async def list_orders(
    request: AnyRequest,
    state: State,
    status: FromQuery[Status | None] = None,
    item_id: Annotated[str | None, QueryParameter(pattern=ITEM_ID)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, QueryParameter(max_length=64, schema_extra={"pattern": CURSOR})] = None,
    idempotency_key: Annotated[str | None, QueryParameter(pattern=f"^{KEY.pattern}$(?!\\n)")] = None,
) -> OrderPage:
    """Return a page of orders, newest first; with an idempotency key, the order of that key."""
    _refuse_ambiguous(request)
    before = None if cursor is None else _position(cursor)
    if idempotency_key is not None:
        order = await usecases.order_of_key(state.pool, idempotency_key)
        is_wanted = order and status in {None, order.status} and item_id in {None, order.item_id}
        return OrderPage([order] if order and is_wanted else [], None)
    found = await usecases.page(state.pool, status, item_id, before, limit)
    more = _cursor(found[-1][0]) if len(found) == limit else None
    return OrderPage([order for _, order in found], more)


def _response(placement: Placement) -> Response[bytes]:
    """Respond with 201 if confirmed, 202 if unfinished. Raises the stored refusal of a failed order."""
    order = placement.order
    headers = {"Idempotent-Replayed": "true"} if placement.replayed else {}
    if order.status == "failed":
        refusal = refusal_of(order)
        refusal.headers.update(headers)
        raise refusal
    headers["Location"] = f"{PLACE}/{order.order_id}"
    status = 201 if order.status == "confirmed" else 202
    return Response(_encoder.encode(order), status_code=status, headers=headers, media_type="application/json")


def _refuse_ambiguous(request: AnyRequest) -> None:
    """Raise InvalidParameter for a repeated parameter, and for "null", which Litestar reads as no value."""
    given = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    for name in PARAMETERS:
        values = [value for other, value in given if other == name]
        if len(values) > 1:
            raise InvalidParameter(f"{name}: give it only once")
        if name == "status" and values == ["null"]:
            raise InvalidParameter("status: leave it out to match any")


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _position(cursor: str) -> int:
    if not re.fullmatch(CURSOR, cursor) or "\n" in cursor:
        raise InvalidParameter("cursor: invalid")
    return int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
