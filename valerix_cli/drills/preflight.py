"""Checks the preconditions of a drill before it injects anything."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Breaker
from valerix_cli.contexts.model import Context
from valerix_cli.drills.model import Drill
from valerix_cli.drills.targets import FaultTarget, fault_target
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.quoting import command
from valerix_cli.session import Session

STEADY_TIMEOUT = 30.0  # seconds, for example to finish orders of an earlier run
_POLL_INTERVAL = 0.25  # seconds

PrintLine = Callable[[str], None]


def preflight(
    session: Session,
    drill: Drill,
    run: str,
    directory: Path,
    key_prefix: str | None,
    print_line: PrintLine = lambda _: None,
) -> str:
    """Check the preconditions and return the prefix of the run's keys, which no order has yet.

    Waits for queued orders, open breakers and processes that are starting. Raises CliError if the drill cannot run or
    would prove nothing; only stock has been changed then.
    """
    context, orders, inventory = session.context, session.orders, session.inventory
    if drill.affects_processes and not context.is_local:
        _require_supported_faults(context, drill)
    _require_replicas(context, drill)
    require_no_gremlins(inventory)
    _wait_until_steady(lambda: _require_steady_orders(orders), print_line)
    if drill.affects_processes:
        _wait_until_steady(lambda: require_all_running(fault_target(context, directory)), print_line)
    _provide_stock(drill, inventory, run)
    if key_prefix is None:
        return _unused_prefix(drill, lambda key: orders.by_key(key) is not None)
    if orders.by_key(f"{key_prefix}0") is not None:
        raise GuardError(
            "The drill was not started.",
            f"the keys {key_prefix}… have been used here, so nothing would happen again",
            "add --fresh",
        )
    return key_prefix


def _require_supported_faults(context: Context, drill: Drill) -> None:
    """Raise GuardError if a fault cannot be injected into this kind of platform."""
    why: str | None = f"its faults affect processes, and `{context.name}` is not on this machine"
    if context.forwards is not None:
        from valerix_cli.drills.targets.kubernetes import unsupported_reason  # noqa: PLC0415 - an extra, and slow

        why = next(filter(None, map(unsupported_reason, drill.faults)), None)
    if why:
        raise GuardError("The drill was not started.", why, "valerix --context local")


def _require_replicas(context: Context, drill: Drill) -> None:
    for service, required in drill.platform.replicas.items():
        actual = len(context.services.get(service, ()))
        if actual < required and service in context.services:
            restart = command("valerix up --detach", replicas=f"{service}={required}")
            raise UnreachableError(
                f"{drill.name} needs {required} replicas of {service}.",
                f"there is {actual}",
                f"valerix down; {restart}; or valerix drill run --fresh",
            )


def require_no_gremlins(inventory: InventoryClient) -> None:
    """Raise GuardError if gremlins are halted, and UnreachableError if one is live."""
    chaos = inventory.chaos()
    if chaos.halted:
        raise GuardError("The drill was not started.", "gremlins are halted", "valerix chaos halt --resume")
    if chaos.live is not None:
        raise UnreachableError("The platform is not in a steady state.", "a gremlin is live", "valerix chaos off")


def _wait_until_steady(check: Callable[[], None], print_line: PrintLine) -> None:
    """Repeat a check until it passes. Raises its UnreachableError after a timeout."""
    deadline, was_reported = time.monotonic() + STEADY_TIMEOUT, False
    while True:
        try:
            check()
        except UnreachableError as error:
            if time.monotonic() > deadline:
                raise
            if not was_reported:
                print_line(f"waiting for a steady state: {error.why}")
            was_reported = True
            time.sleep(_POLL_INTERVAL)
        else:
            return


def _require_steady_orders(orders: OrderClient) -> None:
    """Raise UnreachableError if orders are queued or a breaker is open. A half-open one only waits for a call."""
    queue, breaker = orders.queue(), require_automatic_breakers(orders)
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


def require_automatic_breakers(orders: OrderClient) -> Breaker:
    """Return the breakers. Raises GuardError if an operator has forced one."""
    breaker = orders.breaker()
    for one in breaker.replicas:
        if one.forced:
            raise GuardError(
                "The drill was not started.", f"{one.replica}'s breaker is forced {one.forced}", "valerix breaker auto"
            )
    return breaker


def require_all_running(target: FaultTarget) -> None:
    """Raise UnreachableError if a process is not ready."""
    if not target.all_running():
        raise UnreachableError("The platform is not in a steady state.", "not every process runs", "valerix status")


def _provide_stock(drill: Drill, inventory: InventoryClient, run: str) -> None:
    """Restock each item as the drill requires. Raises UnreachableError if there is more than exactly required."""
    for item_id, required in drill.platform.stock_at_least.items():
        if (actual := inventory.item(item_id).quantity) < required:
            inventory.restock(item_id, required - actual, f"{run}-{item_id}")
    for item_id, required in drill.platform.stock_exactly.items():
        if (actual := inventory.item(item_id).quantity) > required:
            raise UnreachableError(
                f"{drill.name} needs exactly {required} of {item_id}.",
                f"there are {actual}",
                "valerix drill run --fresh",
            )
        if actual < required:
            inventory.restock(item_id, required - actual, f"{run}-{item_id}")


def _unused_prefix(drill: Drill, is_used: Callable[[str], bool]) -> str:
    """Return the first unused prefix of name, seed and number: the same one on each new platform."""
    prefixes = (f"drill.{drill.name}.{drill.seed}.{number}." for number in count(1))
    return next(prefix for prefix in prefixes if not is_used(f"{prefix}0"))
