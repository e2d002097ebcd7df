"""Checks for other causes of delay than failures: breakers, the queue, gremlins."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from valerix_cli.clients.http import Replicas
from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.clients.orders import OrderClient
from valerix_cli.clients.wire import Activation, Breaker, Chaos, Queue
from valerix_cli.contexts.model import Context
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject, one_line
from valerix_cli.errors import CliError
from valerix_cli.units import format_duration

_BREAKER, _QUEUE = Subject("services", "breaker"), Subject("services", "queue")
_GREMLINS = Subject("services", "gremlins")
_WHY_THEY_WAIT = "valerix breaker status; valerix logs worker"


def check_tasks(setup: Setup) -> list[CheckTask]:
    context, limits = setup.context, setup.limits
    if context is None:
        return []
    tasks: list[tuple[Subject, str, Callable[[Replicas], Finding], str]] = [
        (_BREAKER, "order", lambda orders: evaluate_breaker(OrderClient(orders).breaker()), "valerix breaker status"),
        (
            _QUEUE,
            "order",
            lambda orders: evaluate_queue(OrderClient(orders).queue(), limits.waiting),
            "valerix queue status",
        ),
        (
            _GREMLINS,
            "inventory",
            lambda stock: evaluate_gremlins(InventoryClient(stock).chaos()),
            "valerix chaos status",
        ),
    ]
    return [
        CheckTask(about, partial(_task, context, service, limits.answer, about, ask), hint)
        for about, service, ask, hint in tasks
    ]


def _task(
    context: Context, service: str, limit: float, about: Subject, ask: Callable[[Replicas], Finding]
) -> Iterator[Finding]:
    """Request the state from a service; skipped without a response or without access, which other checks report."""
    with closing(Replicas(context, service, limit=limit)) as replicas:
        try:
            yield ask(replicas)
        except CliError as error:
            yield about.skipped(f"{error.what.rstrip('.')}: {one_line(error.why)}")


def evaluate_breaker(breaker: Breaker) -> Finding:
    for one in breaker.replicas:
        if one.forced:
            return _BREAKER.warning(f"Forced {one.forced} by an operator in {one.replica}.", "valerix breaker auto")
    for one in breaker.replicas:
        if one.state != "closed":
            return _BREAKER.warning(
                f"It is {one.state} in {one.replica}: {one.reason}.", "valerix breaker status --watch"
            )
    return _BREAKER.ok(f"Closed in {', '.join(one.replica for one in breaker.replicas) or 'every replica'}.")


def evaluate_queue(queue: Queue, limit: float) -> Finding:
    """Evaluate the queue. `limit` is the longest normal wait of an order in seconds."""
    oldest = max(0.0, queue.oldest_age_seconds or 0.0)
    if queue.depth >= queue.cap:
        return _QUEUE.failed(f"{queue.depth} orders wait, and no more are accepted.", _WHY_THEY_WAIT)
    if queue.dead:
        return _QUEUE.warning(f"Dead orders, which are not retried: {queue.dead}.", "valerix queue requeue --all")
    if queue.misdated:
        return _QUEUE.warning(
            f"Misdated orders, as after the database's clock was set back: {queue.misdated}.",
            "valerix queue requeue --all",
        )
    if oldest > limit:
        return _QUEUE.warning(f"An order has waited for {format_duration(oldest)}.", _WHY_THEY_WAIT)
    return _QUEUE.ok(f"{queue.depth} waiting, none dead.")


def evaluate_gremlins(chaos: Chaos) -> Finding:
    if chaos.live:
        left = format_duration(chaos.live.remaining_seconds)
        return _GREMLINS.warning(f"Live: {_names(chaos.live)}; {left} left.", "valerix chaos off")
    if chaos.halted:
        return _GREMLINS.warning("Halted: no gremlin can be turned on.", "valerix chaos halt --resume")
    return _GREMLINS.ok("No gremlin is live.")


def _names(live: Activation) -> str:
    rates = {"latency": live.latency, "crash": live.crash_rate, "partial-failure": live.partial_failure_rate}
    return ", ".join(name for name, rate in rates.items() if rate)
