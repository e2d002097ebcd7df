"""What an operator looks at and does: the breaker and the queue."""

import uuid
from typing import Literal

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import RawBody

from services.common import body as bodies
from services.common.auth import operator_only
from services.common.postgres import Pool
from services.common.problems import responses
from services.common.refusals import InvalidBody
from services.order import store, usecases, wakeups
from services.order.domain import Order
from services.order.fleet import Fleet, FleetView


class ForceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the breaker is to do; `auto` lets the calls decide again."""

    state: Literal["open", "closed", "auto"]


class RequeueBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dead or misdated order, or all of them."""

    order_id: uuid.UUID | None = None
    all: bool = False


class QueueView(msgspec.Struct, frozen=True):
    """What waits. `dead_orders` are the newest hundred; the times of `misdated` orders are about to be corrected."""

    depth: int
    oldest_age_seconds: float | None
    dead: int
    cap: int
    dead_orders: list[Order]
    misdated: int


class PlatformView(msgspec.Struct, frozen=True):
    """Which platform this is: made with its database of orders, and kept when that is restored."""

    id: uuid.UUID


class Requeued(msgspec.Struct, frozen=True):
    requeued: list[uuid.UUID]


EITHER_ONE_OR_ALL = {
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

DEAD_SHOWN = 100


@get("/api/admin/breaker", tags=["admin"], guards=[operator_only], responses=responses(401, 403))
async def get_breaker(state: State) -> FleetView:
    """Every replica's breaker, and their transitions."""
    fleet: Fleet = state.fleet
    return await fleet.view()


@post(
    "/api/admin/breaker",
    tags=["admin"],
    guards=[operator_only, bodies.json_only],
    operation_class=bodies.described(ForceBody),
    responses=responses(401, 403, 413, 415, 422),
    status_code=200,
)
async def force_breaker(state: State, body: RawBody) -> FleetView:
    """Force every replica's breaker open or closed, or let it decide again."""
    wanted = bodies.decode(body, _force)
    fleet: Fleet = state.fleet
    await fleet.force(None if wanted.state == "auto" else wanted.state)
    return await fleet.view()


@get("/api/admin/platform", tags=["admin"], guards=[operator_only], responses=responses(401, 403, 503))
async def get_platform(state: State) -> PlatformView:
    """Which platform this is, for a client to write into its journal."""
    pool: Pool = state.pool
    async with pool.connection() as conn:
        return PlatformView(await store.platform_id(conn))


@get("/api/admin/queue", tags=["admin"], guards=[operator_only], responses=responses(401, 403, 503))
async def get_queue(state: State) -> QueueView:
    """How much waits, for how long, and what needs an operator."""
    seen = await state.backlog.look()
    pool: Pool = state.pool
    async with pool.connection() as conn:
        dead = await store.page_with_status(conn, "dead", None, None, DEAD_SHOWN)
    orders = [order for _, order in dead]
    return QueueView(seen.depth, seen.oldest_age, seen.dead, state.backlog.cap, orders, seen.misdated)


@post(
    "/api/admin/queue/requeue",
    tags=["admin"],
    guards=[operator_only, bodies.json_only],
    operation_class=bodies.described(RequeueBody, schema=EITHER_ONE_OR_ALL),
    responses=responses(401, 403, 404, 409, 413, 415, 422, 503),
    status_code=200,
)
async def requeue(state: State, body: RawBody) -> Requeued:
    """Give dead orders their attempts back, and have misdated ones tried in time."""
    wanted = bodies.decode(body, _requeue)
    if (wanted.order_id is None) == (not wanted.all):
        raise InvalidBody("Say either order_id or all: true")
    requeued = await usecases.requeue(state.pool, state.replica, wanted.order_id)
    await wakeups.announce(state.redis, [(order_id, 0) for order_id in requeued[:100]])
    return Requeued(requeued)
