"""The admin endpoints of the breaker and the queue. Operators only."""

import uuid
from typing import Literal

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import RawBody

from services.common import request_body
from services.common.auth import operator_only
from services.common.problems import responses
from services.common.refusals import InvalidBody
from services.order import usecases, wakeups
from services.order.breaker_sync import BreakersView, BreakerSync
from services.order.domain import Order


class ForceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state to force; `auto` returns the breaker to automatic operation."""

    state: Literal["open", "closed", "auto"]


class RequeueBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dead or misdated order (`order_id`), or all of them."""

    order_id: uuid.UUID | None = None
    all: bool = False


class QueueView(msgspec.Struct, frozen=True):
    """The queue's size. `dead_orders` are the newest hundred; the times of `misdated` orders will be corrected."""

    depth: int
    oldest_age_seconds: float | None
    dead: int
    cap: int
    dead_orders: list[Order]
    misdated: int


class PlatformView(msgspec.Struct, frozen=True):
    """The platform's id: created with the order database, and restored with it."""

    id: uuid.UUID


class RequeueResult(msgspec.Struct, frozen=True):
    requeued: list[uuid.UUID]


REQUEUE_BODY_SCHEMA = {
    "title": "RequeueBody",
    "oneOf": [
        {
            "type": "object",
            "properties": {"order_id": {"type": "string", "format": "uuid"}, "all": {"const": False}},
            "required": ["order_id"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"order_id": {"type": "null"}, "all": {"const": True}},
            "required": ["all"],
            "additionalProperties": False,
        },
    ],
}
_force = msgspec.json.Decoder(ForceBody)
_requeue = msgspec.json.Decoder(RequeueBody)

MAX_DEAD_ORDERS = 100


@get("/api/admin/breaker", tags=["admin"], guards=[operator_only], responses=responses(401, 403))
async def get_breaker(state: State) -> BreakersView:
    """Return the breaker of each replica, and their transitions."""
    breaker_sync: BreakerSync = state.breaker_sync
    return await breaker_sync.view()


@post(
    "/api/admin/breaker",
    tags=["admin"],
    guards=[operator_only, request_body.json_only],
    operation_class=request_body.operation_with_body(ForceBody),
    responses=responses(401, 403, 413, 415, 422),
    status_code=200,
)
async def force_breaker(state: State, body: RawBody) -> BreakersView:
    """Force the breaker of every replica open or closed, or return it to automatic operation."""
    payload = request_body.decode(body, _force)
    breaker_sync: BreakerSync = state.breaker_sync
    await breaker_sync.force(None if payload.state == "auto" else payload.state)
    return await breaker_sync.view()


@get("/api/admin/platform", tags=["admin"], guards=[operator_only], responses=responses(401, 403, 503))
async def get_platform(state: State) -> PlatformView:
    """Return the platform's id, which clients write into their journals."""
    return PlatformView(await usecases.platform_id(state.pool))


@get("/api/admin/queue", tags=["admin"], guards=[operator_only], responses=responses(401, 403, 503))
async def get_queue(state: State) -> QueueView:
    """Return the depth and age of the queue, and the dead orders."""
    stats = await state.backlog.refresh()
    dead = await usecases.page(state.pool, "dead", None, None, MAX_DEAD_ORDERS)
    orders = [order for _, order in dead]
    return QueueView(stats.depth, stats.oldest_age, stats.dead, state.backlog.cap, orders, stats.misdated)


@post(
    "/api/admin/queue/requeue",
    tags=["admin"],
    guards=[operator_only, request_body.json_only],
    operation_class=request_body.operation_with_body(RequeueBody, schema=REQUEUE_BODY_SCHEMA),
    responses=responses(401, 403, 404, 409, 413, 415, 422, 503),
    status_code=200,
)
async def requeue(state: State, body: RawBody) -> RequeueResult:
    """Reset the attempts of dead orders, and correct the times of misdated ones."""
    payload = request_body.decode(body, _requeue)
    if (payload.order_id is None) == (not payload.all):
        raise InvalidBody("Give either order_id or all: true")
    requeued = await usecases.requeue(state.pool, state.replica, payload.order_id)
    await wakeups.notify(state.redis, [(order_id, 0) for order_id in requeued[:100]])
    return RequeueResult(requeued)
