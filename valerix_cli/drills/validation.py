"""Finds parts of a drill file that would have no effect, so that they are errors and not silently ignored. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from valerix_cli.drills.document import Path
from valerix_cli.drills.model import Drill, Load
from valerix_cli.drills.requirements import Requirement
from valerix_cli.load.metrics import order_count
from valerix_cli.load.model import MIN_ORDERS

RECENT = 5.0  # seconds over which recovery and abort conditions are measured

_FIELDS_BY_KIND = {
    "gremlin": {"at", "gremlin", "rate", "delay", "ttl"},
    "kill": {"at", "kill", "restart_after"},
    "stop": {"at", "stop", "for"},
    "restart": {"at", "restart"},
    "flush": {"at", "flush"},
}


def unused_fields(faults: Sequence[Any]) -> Iterator[tuple[Path, str]]:
    """Yield the fields of faults that do not apply to their kind."""
    for number, fault in enumerate(faults):
        fields = set(fault) if isinstance(fault, dict) else set()
        kinds = fields & set(_FIELDS_BY_KIND)
        if len(kinds) != 1:
            continue  # another error
        kind = kinds.pop()
        other_fields = set().union(*_FIELDS_BY_KIND.values()) - _FIELDS_BY_KIND[kind]
        for field in sorted(fields & other_fields):
            own_fields = sorted(_FIELDS_BY_KIND[kind] - {"at", kind})
            allowed = " and ".join(f"`{each}`" for each in own_fields) or "nothing more"
            yield ["faults", number, field], f"`{kind}` has no `{field}`; it takes {allowed}"
        if kind == "gremlin" and "delay" in fields and fault["gremlin"] in ("crash", "partial-failure"):
            yield ["faults", number, "delay"], f"{fault['gremlin']} has no `delay`; only latency is late"


def unreachable(drill: Drill) -> Iterator[tuple[Path, str]]:
    """Yield faults that never start and requirements that could never be measured, with the reason."""
    load_seconds, window = drill.load.seconds, drill.steady.window if drill.steady else 0.0
    if drill.steady and not 0 < window < load_seconds:
        yield ["steady", "window"], f"a window of {window:g} s does not fit into a load of {load_seconds:g} s"
        return
    yield from _misplaced_faults(drill, window)
    first_fault = min((float(fault.at) for fault in drill.faults), default=0.0)
    parts: list[tuple[Path, Sequence[Requirement], float]] = [
        (["expect"], drill.expect, drill.load.seconds - first_fault),
        (["abort"], drill.abort, RECENT),
    ]
    if drill.steady:
        parts.append((["steady", "require"], drill.steady.require, drill.steady.window))
    if drill.recover:
        parts.append((["recover", "require"], drill.recover.require, RECENT))
    for place, requirements, seconds in parts:
        for number, requirement in enumerate(requirements):
            if requirement.lasting is not None and place != ["abort"]:
                yield [*place, number], f"`for` is for `abort`: here a figure is over {_period(place)}"
            period = seconds if requirement.lasting is None else requirement.lasting
            if place == ["abort"] and period > load_seconds:
                yield (
                    [*place, number],
                    f"it is over {period:g} s, and the load ends after {load_seconds:g} s: it never comes true",
                )
            elif why := _too_few_orders(drill.load, requirement, period):
                yield [*place, number], why


def _misplaced_faults(drill: Drill, window: float) -> Iterator[tuple[Path, str]]:
    load_seconds = drill.load.seconds
    for number, fault in enumerate(drill.faults):
        if fault.at >= load_seconds:
            why = f"a fault at {fault.at:g} s never comes: the load ends after {load_seconds:g} s"
            yield ["faults", number, "at"], why
        elif fault.at < window:
            yield ["faults", number, "at"], f"a fault at {fault.at:g} s falls into the steady window"


def _period(place: Path) -> str:
    match place[0]:
        case "steady":
            return "the whole window"
        case "expect":
            return "all that was due from the first fault on"
        case _:
            return f"the last {RECENT:g} s"


def _too_few_orders(load: Load, requirement: Requirement, seconds: float) -> str | None:
    """Return the reason a percentile is never measured: there are too few orders for one to be beyond it."""
    if load.rate is None or requirement.gate is None or requirement.gate.metric not in MIN_ORDERS:
        return None
    metric = requirement.gate.metric
    needed = MIN_ORDERS[metric]
    sent = order_count(load.rate, seconds)
    if sent >= needed:
        return None
    return f"{metric} is measured from {needed:,} orders on, and in {seconds:g} s there are {sent}: raise the rate"
