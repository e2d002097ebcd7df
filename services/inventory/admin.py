"""Gremlins over HTTP, for operators, where they are allowed at all."""

import secrets
import uuid
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody

from services.common import body as bodies
from services.common.auth import operator_only
from services.common.dependencies import note_failure
from services.common.problems import PROBLEM_JSON, Problem, of_refusal, responses
from services.common.redis import FAILURES, UnexpectedFailure
from services.inventory import chaos, drills
from services.inventory.chaos import ChaosUnavailable
from services.inventory.drills import DrillBody, DrillLease, Returned
from services.inventory.gremlins import Wish
from services.inventory.registry import ActivationView, ChaosView, HitsView

WISH_LIMIT = 1_048_576  # bytes: as much as a script of 10,000 hits takes, blanks and all


class HaltBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether new gremlins are refused from now on."""

    halted: bool


class Ended(msgspec.Struct, frozen=True):
    ended: ActivationView | None


_wish = msgspec.json.Decoder(Wish)
_halt = msgspec.json.Decoder(HaltBody)
_drill = msgspec.json.Decoder(DrillBody)


@get(responses=responses(401, 403, 503))
async def get_chaos(state: State) -> ChaosView:
    """The gremlins that are live, those that ended, and what they hit, over all replicas."""
    return await chaos.view(state.redis, state.leases)


@get("/{activation_id:str}/hits", responses=responses(401, 403, 404, 503))
async def get_hits(state: State, activation_id: FromPath[str]) -> HitsView:
    """Every attempt that an activation hit, by order, over all replicas."""
    return await chaos.hits(state.redis, state.leases, activation_id)


@post(
    guards=[bodies.json_only],
    operation_class=bodies.described(Wish),
    request_max_body_size=WISH_LIMIT,
    status_code=201,
    responses={
        **responses(401, 403, 409, 415, 422, 503),
        413: ResponseSpec(Problem, description="The body is over 1 MiB.", media_type=PROBLEM_JSON),
    },
)
async def unleash(state: State, body: RawBody) -> ActivationView:
    """Let gremlins loose, instead of those that are; answered once the live replicas follow."""
    wish = bodies.decode(body, _wish)
    return await chaos.unleash(state.redis, state.leases, wish, uuid.uuid4().hex[:12], secrets.randbelow(2**32))


@delete(status_code=200, responses=responses(401, 403, 503))
async def calm(state: State) -> Ended:
    """End what is live; answered once the live replicas know."""
    return Ended(await chaos.calm(state.redis, state.leases))


@post(
    "/halt",
    guards=[bodies.json_only],
    operation_class=bodies.described(HaltBody),
    status_code=200,
    responses=responses(401, 403, 413, 415, 422, 503),
)
async def halt(state: State, body: RawBody) -> ChaosView:
    """End what is live and refuse new gremlins, until this is lifted."""
    wanted = bodies.decode(body, _halt)
    await chaos.halt(state.redis, state.leases, halted=wanted.halted)
    return await chaos.view(state.redis, state.leases)


@put(
    "/drill",
    guards=[bodies.json_only],
    operation_class=bodies.described(DrillBody),
    responses=responses(401, 403, 409, 413, 415, 422, 503),
)
async def take_drill(state: State, body: RawBody) -> DrillLease:
    """Have the platform to itself for one run of a drill, or go on having it."""
    wanted = bodies.decode(body, _drill)
    return await drills.take(state.redis, wanted)


@delete("/drill/{run:str}", status_code=200, responses=responses(401, 403, 503))
async def give_drill_back(state: State, run: FromPath[str]) -> Returned:
    """Let the next drill begin; a run that does not have the platform changes nothing."""
    return Returned(await drills.give_back(state.redis, run))


def _of_outage(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    note_failure("redis", "gremlins", error, with_traceback=isinstance(error, UnexpectedFailure))
    return of_refusal(request, ChaosUnavailable("Nothing is changed for certain; look again", retry_after=1))


routes = Router(
    "/api/admin/chaos",
    route_handlers=[get_chaos, get_hits, unleash, calm, halt, take_drill, give_drill_back],
    guards=[operator_only],
    tags=["admin"],
    exception_handlers=dict.fromkeys(FAILURES, _of_outage),
)
