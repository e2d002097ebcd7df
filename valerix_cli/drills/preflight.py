"""What has to be so before a drill touches anything."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Breaker
from valerix_cli.contexts.model import Context
from valerix_cli.drills.model import Drill
from valerix_cli.drills.processes import Victims, victims
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.quoting import command
from valerix_cli.session import Session

CALM_WITHIN = 30.0  # seconds that what an earlier run left behind may take to settle
_GLANCE = 0.25  # seconds

Tell = Callable[[str], None]


def preflight(
    session: Session, drill: Drill, run: str, directory: Path, key_prefix: str | None, tell: Tell = lambda _: None
) -> str:
    """Return the prefix of this run's keys: nobody has used it, so that no order is a repeat of another run's.

    Waits for what is queued to be finished, for a breaker to try again, and for processes that start. Raises CliError,
    with nothing touched but stock, where the drill cannot be run or would prove nothing.
    """
    context, orders, inventory = session.context, session.orders, session.inventory
    if drill.strikes_processes and not context.is_local:
        _can_be_struck(context, drill)
    _replicas(context, drill)
    no_gremlins(inventory)
    _until_calm(lambda: _calm(orders), tell)
    if drill.strikes_processes:
        _until_calm(lambda: all_run(victims(context, directory)), tell)
    _stock(drill, inventory, run)
    if key_prefix is None:
        return _unused(drill, lambda key: orders.by_key(key) is not None)
    if orders.by_key(f"{key_prefix}0") is not None:
        raise GuardError(
            "Not run.", f"the keys {key_prefix}… have been used here, so nothing would happen again", "add --fresh"
        )
    return key_prefix


def _can_be_struck(context: Context, drill: Drill) -> None:
    """Raise GuardError where a fault is out of reach: of a platform that is only an address, or of pods."""
    why: str | None = f"it strikes processes, and `{context.name}` is not on this machine"
    if context.forwards is not None:
        from valerix_cli.drills.pods import cannot_be_struck  # noqa: PLC0415 - an extra, and slow

        why = next(filter(None, map(cannot_be_struck, drill.faults)), None)
    if why:
        raise GuardError("Not run.", why, "valerix --context local")


def _replicas(context: Context, drill: Drill) -> None:
    for service, wanted in drill.platform.replicas.items():
        found = len(context.services.get(service, ()))
        if found < wanted and service in context.services:
            anew = command("valerix up --detach", replicas=f"{service}={wanted}")
            raise UnreachableError(
                f"{drill.name} needs {wanted} replicas of {service}.",
                f"there is {found}",
                f"valerix down; {anew}; or valerix drill run --fresh",
            )


def no_gremlins(inventory: InventoryClient) -> None:
    chaos = inventory.chaos()
    if chaos.halted:
        raise GuardError("Not run.", "gremlins are halted", "valerix chaos halt --resume")
    if chaos.live is not None:
        raise UnreachableError("The platform is not in a steady state.", "a gremlin is live", "valerix chaos off")


def _until_calm(look: Callable[[], None], tell: Tell) -> None:
    """Look until there is nothing to say against it. Raises UnreachableError once that has taken too long."""
    deadline, said = time.monotonic() + CALM_WITHIN, False
    while True:
        try:
            look()
        except UnreachableError as error:
            if time.monotonic() > deadline:
                raise
            if not said:
                tell(f"waiting for calm: {error.why}")
            said = True
            time.sleep(_GLANCE)
        else:
            return


def _calm(orders: OrderClient) -> None:
    """A breaker that is half-open only waits for the first call."""
    queue, breaker = orders.queue(), not_forced(orders)
    if queue.depth:
        raise UnreachableError(
            "The platform is not in a steady state.", f"{queue.depth} orders are queued", "valerix queue status --watch"
        )
    for one in breaker.replicas:
        if one.role == "order" and one.state == "open":
            raise UnreachableError(
                "The platform is not in a steady state.",
                f"{one.replica}'s breaker is {one.state}",
                "valerix breaker status",
            )


def not_forced(orders: OrderClient) -> Breaker:
    """The breakers, each of which decides for itself. Raises GuardError where an operator decides."""
    breaker = orders.breaker()
    for one in breaker.replicas:
        if one.forced:
            raise GuardError("Not run.", f"{one.replica}'s breaker is forced {one.forced}", "valerix breaker auto")
    return breaker


def all_run(processes: Victims) -> None:
    if not processes.all_run():
        raise UnreachableError("The platform is not in a steady state.", "not every process runs", "valerix status")


def _stock(drill: Drill, inventory: InventoryClient, run: str) -> None:
    """Have as much of each item as the drill needs; what is too much cannot be taken away."""
    for item_id, wanted in drill.platform.stock_at_least.items():
        if (found := inventory.item(item_id).quantity) < wanted:
            inventory.restock(item_id, wanted - found, f"{run}-{item_id}")
    for item_id, wanted in drill.platform.stock_exactly.items():
        if (found := inventory.item(item_id).quantity) > wanted:
            raise UnreachableError(
                f"{drill.name} needs exactly {wanted} of {item_id}.", f"there are {found}", "valerix drill run --fresh"
            )
        if found < wanted:
            inventory.restock(item_id, wanted - found, f"{run}-{item_id}")


def _unused(drill: Drill, is_used: Callable[[str], bool]) -> str:
    """The first prefix made of name, seed and round that no order has: the same on each fresh platform."""
    prefixes = (f"drill.{drill.name}.{drill.seed}.{number}." for number in count(1))
    return next(prefix for prefix in prefixes if not is_used(f"{prefix}0"))
