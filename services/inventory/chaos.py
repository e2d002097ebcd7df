"""Use cases of operators: activate, deactivate, halt and inspect gremlins."""

import msgspec

from services.common.redis import Redis
from services.common.refusals import Refusal
from services.inventory import chaos_store, drill_lease
from services.inventory.chaos_leases import LeaseFollower
from services.inventory.chaos_store import ActivationView, ChaosView, HitsView
from services.inventory.gremlins import ActivationRequest, build_activation


class ChaosHalted(Refusal):
    slug, status, title = "chaos-halted", 409, "Gremlins are halted"


class ChaosUnavailable(Refusal):
    slug, status, title = "chaos-unavailable", 503, "Redis, which stores gremlins, is unavailable"


class ActivationNotFound(Refusal):
    slug, status, title = "activation-not-found", 404, "Activation not found"


async def activate(
    redis: Redis, leases: LeaseFollower, request: ActivationRequest, activation_id: str, random_seed: int
) -> ActivationView:
    """Replace the live activation. Returns once the live replicas follow it, or after one second.

    Raises ChaosHalted.
    """
    now, halted = await chaos_store.time_and_halt(redis)
    if halted:
        raise ChaosHalted("Lift the halt first: POST /api/admin/chaos/halt with halted false")
    activation = build_activation(request, activation_id, random_seed, now)
    await chaos_store.set_live(redis, activation, request.script)
    await leases.sync()
    await leases.wait_until_followed(activation_id)
    return await _activation_view(redis, activation_id)


async def deactivate(redis: Redis, leases: LeaseFollower) -> ActivationView | None:
    """End the live activation and return it. Returns once no live replica follows it, or after one second."""
    ended = await chaos_store.clear_live(redis)
    await leases.sync()
    if ended is None:
        return None
    await leases.wait_until_followed(None)
    return await _activation_view(redis, ended.id)


async def halt(redis: Redis, leases: LeaseFollower, *, halted: bool) -> None:
    """End the live activation and refuse new ones, or lift that halt."""
    await chaos_store.clear_live(redis, halt=halted)
    await leases.sync()
    if halted:
        await leases.wait_until_followed(None)


async def view(redis: Redis, leases: LeaseFollower) -> ChaosView:
    """Return the state of all gremlins and the drill lease."""
    await leases.sync()  # so that this replica's counts are current
    return msgspec.structs.replace(await chaos_store.read_view(redis), drill=await drill_lease.current(redis))


async def hits(redis: Redis, leases: LeaseFollower, activation_id: str) -> HitsView:
    """Return the hits of an activation. Raises ActivationNotFound."""
    await leases.sync()  # as above
    found = await chaos_store.read_hits(redis, activation_id)
    if found is None:
        raise ActivationNotFound("Unknown, or ended more than 24 hours ago", activation_id=activation_id)
    return found


async def _activation_view(redis: Redis, activation_id: str) -> ActivationView:
    found = await chaos_store.read_view(redis)
    for activation in [*filter(None, [found.live]), *found.recent]:
        if activation.id == activation_id:
            return activation
    raise ChaosUnavailable("Redis lost the activation, so no gremlin is live")
