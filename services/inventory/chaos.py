"""What operators do with gremlins: let loose, look, calm, halt."""

import msgspec

from services.common.redis import Redis
from services.common.refusals import Refusal
from services.inventory import drills, registry
from services.inventory.gremlins import Wish, grant
from services.inventory.leases import Leases
from services.inventory.registry import ActivationView, ChaosView, HitsView


class ChaosHalted(Refusal):
    slug, status, title = "chaos-halted", 409, "Gremlins are halted"


class ChaosUnavailable(Refusal):
    slug, status, title = "chaos-unavailable", 503, "Gremlins live in Redis, which does not answer"


class ActivationNotFound(Refusal):
    slug, status, title = "activation-not-found", 404, "Nobody remembers such gremlins"


async def unleash(redis: Redis, leases: Leases, wish: Wish, activation_id: str, drawn_seed: int) -> ActivationView:
    """Make `wish` the live activation; returns once the live replicas follow it, or a second passed."""
    now, halted = await registry.time_and_halt(redis)
    if halted:
        raise ChaosHalted("Lift the halt first: POST /api/admin/chaos/halt with halted false")
    activation = grant(wish, activation_id, drawn_seed, now)
    await registry.activate(redis, activation, wish.only)
    await leases.sync()
    await leases.until_followed(activation_id)
    return await _seen(redis, activation_id)


async def calm(redis: Redis, leases: Leases) -> ActivationView | None:
    """End what is live and return it; returns once no live replica follows it, or a second passed."""
    ended = await registry.end(redis)
    await leases.sync()
    if ended is None:
        return None
    await leases.until_followed(None)
    return await _seen(redis, ended.id)


async def halt(redis: Redis, leases: Leases, *, halted: bool) -> None:
    """End what is live and refuse new gremlins, or lift that."""
    await registry.end(redis, halt=halted)
    await leases.sync()
    if halted:
        await leases.until_followed(None)


async def view(redis: Redis, leases: Leases) -> ChaosView:
    await leases.sync()  # so that at least our own counts are of this moment
    return msgspec.structs.replace(await registry.view(redis), drill=await drills.current(redis))


async def hits(redis: Redis, leases: Leases, activation_id: str) -> HitsView:
    """List what an activation hit. Raises ActivationNotFound."""
    await leases.sync()  # as above
    found = await registry.hits(redis, activation_id)
    if found is None:
        raise ActivationNotFound("They never were, or ended more than a day ago", activation_id=activation_id)
    return found


async def _seen(redis: Redis, activation_id: str) -> ActivationView:
    found = await registry.view(redis)
    for activation in [*filter(None, [found.live]), *found.recent]:
        if activation.id == activation_id:
            return activation
    raise ChaosUnavailable("Redis forgot the gremlins in this very moment, so there are none")
