"""The admin endpoints for gremlins. Operators only, and only if chaos is allowed."""

import secrets
import uuid
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody

from services.common import request_body
from services.common.auth import operator_only
from services.common.dependencies import note_failure
from services.common.problems import PROBLEM_JSON, Problem, from_refusal, responses
from services.common.redis import FAILURES, UnexpectedFailure
from services.inventory import chaos, drill_lease
from services.inventory.chaos import ChaosUnavailable
from services.inventory.chaos_store import ActivationView, ChaosView, HitsView
from services.inventory.drill_lease import DrillBody, DrillLease, ReleaseResult
from services.inventory.gremlins import ActivationRequest

MAX_BODY_BYTES = 1_048_576  # enough for a script of 10,000 hits with whitespace


class HaltBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`halted`: new activations are refused."""

    halted: bool


class DeactivateResult(msgspec.Struct, frozen=True):
    ended: ActivationView | None


_activation_request = msgspec.json.Decoder(ActivationRequest)
_halt = msgspec.json.Decoder(HaltBody)
_drill = msgspec.json.Decoder(DrillBody)


@get(responses=responses(401, 403, 503))
async def get_chaos(state: State) -> ChaosView:
    """Return the live activation, ended activations, and their hit counts over all replicas."""
    return await chaos.view(state.redis, state.chaos_leases)


@get("/{activation_id:str}/hits", responses=responses(401, 403, 404, 503))
async def get_hits(state: State, activation_id: FromPath[str]) -> HitsView:
    """Return every attempt that an activation hit, by order, over all replicas."""
    return await chaos.hits(state.redis, state.chaos_leases, activation_id)


@post(
    guards=[request_body.json_only],
    operation_class=request_body.operation_with_body(ActivationRequest),
    request_max_body_size=MAX_BODY_BYTES,
    status_code=201,
    responses={
        **responses(401, 403, 409, 415, 422, 503),
        413: ResponseSpec(Problem, description="The body is over 1 MiB.", media_type=PROBLEM_JSON),
    },
)
async def activate(state: State, body: RawBody) -> ActivationView:
    """Replace the live activation. Responds once the live replicas follow it."""
    payload = request_body.decode(body, _activation_request)
    return await chaos.activate(
        state.redis, state.chaos_leases, payload, uuid.uuid4().hex[:12], secrets.randbelow(2**32)
    )


@delete(status_code=200, responses=responses(401, 403, 503))
async def deactivate(state: State) -> DeactivateResult:
    """End the live activation. Responds once no live replica follows it."""
    return DeactivateResult(await chaos.deactivate(state.redis, state.chaos_leases))


@post(
    "/halt",
    guards=[request_body.json_only],
    operation_class=request_body.operation_with_body(HaltBody),
    status_code=200,
    responses=responses(401, 403, 413, 415, 422, 503),
)
async def halt(state: State, body: RawBody) -> ChaosView:
    """End the live activation and refuse new ones until the halt is lifted."""
    payload = request_body.decode(body, _halt)
    await chaos.halt(state.redis, state.chaos_leases, halted=payload.halted)
    return await chaos.view(state.redis, state.chaos_leases)


@put(
    "/drill",
    guards=[request_body.json_only],
    operation_class=request_body.operation_with_body(DrillBody),
    responses=responses(401, 403, 409, 413, 415, 422, 503),
)
async def acquire_drill(state: State, body: RawBody) -> DrillLease:
    """Acquire or renew the platform's drill lease for one run."""
    payload = request_body.decode(body, _drill)
    return await drill_lease.acquire(state.redis, payload)


@delete("/drill/{run:str}", status_code=200, responses=responses(401, 403, 503))
async def release_drill(state: State, run: FromPath[str]) -> ReleaseResult:
    """Release the drill lease. Does nothing if another run holds it."""
    return ReleaseResult(await drill_lease.release(state.redis, run))


def _redis_outage(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    note_failure("redis", "gremlins", error, with_traceback=isinstance(error, UnexpectedFailure))
    return from_refusal(
        request,
        ChaosUnavailable("The outcome is unknown: check the state of gremlins, then retry", retry_after=1),
    )


routes = Router(
    "/api/admin/chaos",
    route_handlers=[get_chaos, get_hits, activate, deactivate, halt, acquire_drill, release_drill],
    guards=[operator_only],
    tags=["admin"],
    exception_handlers=dict.fromkeys(FAILURES, _redis_outage),
)
