"""The HTTP endpoints of stock: deduct one order or many, read, restock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec
import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, RawBody
from litestar.response import Stream

from services.common import problems, request_body
from services.common.auth import Level, only, operator_only, service_only
from services.common.fast_route import AnyRequest
from services.common.idempotency import parse_key
from services.common.postgres import OUTAGES, in_time
from services.common.rate_limit import public
from services.inventory import usecases, wire
from services.inventory.domain import (
    Conflict,
    Deducted,
    InsufficientStock,
    ItemNotFound,
    OrderIdReused,
    Outcome,
    Refused,
    UnknownItem,
)
from services.inventory.gremlins import Fault
from services.inventory.store import Item
from services.inventory.usecases import Ledger, RestockResult
from services.inventory.wire import DeductBody, Deduction, DroppedResponse, LineResult, RestockBody

log = structlog.get_logger()

UNAVAILABLE: tuple[type[BaseException], ...] = (*OUTAGES, TimeoutError)
NDJSON = "application/x-ndjson"
DEDUCTIONS = "/api/inventory/deductions"
DEDUCTIONS_GUARDS = (service_only, request_body.ndjson_only)

Pending: TypeAlias = dict["asyncio.Future[Outcome | Fault]", UUID]

_deduct_body = msgspec.json.Decoder(DeductBody)
_restock_body = msgspec.json.Decoder(RestockBody)


class Items(msgspec.Struct, frozen=True):
    items: list[Item]


@post(
    "/api/inventory/deduct",
    tags=["deductions"],
    guards=[service_only, request_body.json_only],
    operation_class=request_body.operation_with_body(DeductBody),
    status_code=200,
    responses={200: ResponseSpec(Deduction), **problems.responses(401, 403, 409, 413, 415, 422, 500, 503)},
)
async def deduct(state: State, body: RawBody) -> Response[Any]:
    """Deduct one order's quantity, once per order id."""
    payload = request_body.decode(body, _deduct_body)
    match await in_time(usecases.deduct(state.deductions, state.chaos_leases, payload.line, payload.attempt)):
        case Deducted(remaining, repeated):
            return Response(Deduction(payload.order_id, payload.item_id, payload.quantity, repeated, remaining))
        case Refused("insufficient-stock", available):
            raise InsufficientStock(
                f"Only {available} of {payload.item_id} in stock, {payload.quantity} requested",
                order_id=payload.order_id,
                item_id=payload.item_id,
                requested=payload.quantity,
                available=available,
            )
        case Refused():
            raise UnknownItem(f"No item {payload.item_id!r}", order_id=payload.order_id, item_id=payload.item_id)
        case Conflict(item_id, quantity):
            raise OrderIdReused(
                f"The order id was used for {quantity} of {item_id}",
                order_id=payload.order_id,
                item_id=item_id,
                quantity=quantity,
            )
        case Fault(gremlin, int() as status):
            return problems.document(
                status,
                "injected-fault",
                "Injected fault",
                "A gremlin injected this fault on purpose",
                {"gremlin": gremlin},
            )
        case Fault():
            return DroppedResponse()


@post(
    DEDUCTIONS,
    tags=["deductions"],
    guards=DEDUCTIONS_GUARDS,
    operation_class=request_body.operation_with_body(DeductBody, NDJSON),
    status_code=200,
    responses={
        200: ResponseSpec(LineResult, description="One line per outcome.", media_type=NDJSON),
        **problems.responses(401, 403, 413, 415, 422),
    },
)
async def deduct_many(request: AnyRequest, body: RawBody) -> Response[Any]:
    """Deduct many orders. Each response line is sent as soon as its outcome is known; a lost response has no line."""
    return await deduct_lines(request, body)


async def deduct_lines(request: AnyRequest, body: bytes) -> Response[Any]:
    """Deduct each line of an NDJSON body; responds with one NDJSON line per outcome."""
    state = request.app.state
    pending: Pending = {
        usecases.deduct(state.deductions, state.chaos_leases, line.line, line.attempt): line.order_id
        for line in wire.decode_lines(body)
    }
    known, pending = await _next_results(pending)
    if not pending:  # usual without gremlins; much cheaper than a stream of one chunk
        return Response(known, media_type=NDJSON)
    return Stream(_stream(known, pending), media_type=NDJSON)


@get("/api/inventory", tags=["stock"], guards=[public], responses=problems.responses(401, 429, 503))
async def list_items(state: State) -> Items:
    """Return all items with their stock."""
    return Items(await usecases.items(state.pool))


@get("/api/inventory/{item_id:str}", tags=["stock"], guards=[public], responses=problems.responses(401, 404, 429, 503))
async def get_item(state: State, item_id: FromPath[str]) -> Item:
    """Return one item with its stock. Raises ItemNotFound."""
    return await usecases.get_item(state.pool, item_id)


@get(
    "/api/inventory/transactions/{order_id:uuid}",
    tags=["deductions"],
    guards=[only(Level.SERVICE, Level.OPERATOR)],
    responses=problems.responses(401, 403, 404, 503),
)
async def get_ledger(state: State, order_id: FromPath[UUID]) -> Ledger:
    """Return the ledger lines and the refusal of one order; empty if the order is unknown."""
    return await usecases.ledger(state.pool, order_id)


@post(
    "/api/inventory/{item_id:str}/restock",
    tags=["stock"],
    guards=[operator_only, request_body.json_only],
    operation_class=request_body.operation_with_body(RestockBody),
    status_code=200,
    responses=problems.responses(400, 401, 403, 404, 413, 415, 422, 503),
)
async def restock(
    request: Request[Any, Any, State],
    item_id: FromPath[str],
    body: RawBody,
    idempotency_key: Annotated[  # noqa: ARG001 - declared for the OpenAPI document; read raw, since it may come twice
        str | None,
        HeaderParameter(name="Idempotency-Key", description="Required. One restock per key.", required=False),
    ] = None,
) -> RestockResult:
    """Add to the stock of one item, once per Idempotency-Key."""
    key = parse_key(request.headers.getall("idempotency-key", []))
    quantity = request_body.decode(body, _restock_body).quantity
    if "\0" in item_id:
        raise ItemNotFound("An item id contains no NUL character")
    return await usecases.restock(request.app.state.pool, item_id, quantity, key)


async def _stream(known: bytes, pending: Pending) -> AsyncIterator[bytes]:
    """Yield the results in order of completion; results known at the same time form one chunk."""
    if known:
        yield known
    while pending:
        known, pending = await _next_results(pending)
        if known:
            yield known


async def _next_results(pending: Pending) -> tuple[bytes, Pending]:
    """Wait for at least one result; return the encoded results and what is still pending. Omits lost responses."""
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    results = [_result(order_id, future) for future, order_id in pending.items() if future in done]
    return wire.encode_results(results), {
        future: order_id for future, order_id in pending.items() if future not in done
    }


def _result(order_id: UUID, done: "asyncio.Future[Outcome | Fault]") -> LineResult | None:
    failure = done.exception()
    if failure is None:
        return wire.line_result(order_id, done.result())
    if isinstance(failure, UNAVAILABLE):
        return LineResult(order_id, 503, reason="database-unavailable")
    log.error("deduction failed", exc_info=failure)
    return LineResult(order_id, 500, reason="internal-error")
