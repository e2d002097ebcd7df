"""What a drill file asks for and nothing would come of: told where the file is read, not by a green run. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from valerix_cli.drills.document import Path
from valerix_cli.drills.model import Drill, Load
from valerix_cli.drills.requirements import Requirement
from valerix_cli.load.metrics import order_count
from valerix_cli.load.model import MIN_ORDERS

RECENT = 5.0  # seconds of the load that recovering, and giving up, are judged by

_OF_KIND = {
    "gremlin": {"at", "gremlin", "rate", "delay", "ttl"},
    "kill": {"at", "kill", "restart_after"},
    "stop": {"at", "stop", "for"},
    "restart": {"at", "restart"},
    "flush": {"at", "flush"},
}


def superfluous(faults: Sequence[Any]) -> Iterator[tuple[Path, str]]:
    """Fields of a fault, as the file has it, that say nothing of its kind."""
    for number, fault in enumerate(faults):
        fields = set(fault) if isinstance(fault, dict) else set()
        kinds = fields & set(_OF_KIND)
        if len(kinds) != 1:
            continue  # which is a mistake of another sort
        kind = kinds.pop()
        of_others = set().union(*_OF_KIND.values()) - _OF_KIND[kind]
        for field in sorted(fields & of_others):
            said = " and ".join(f"`{each}`" for each in sorted(_OF_KIND[kind] - {"at", kind})) or "nothing more"
            yield ["faults", number, field], f"`{kind}` has no `{field}`; it takes {said}"
        if kind == "gremlin" and "delay" in fields and fault["gremlin"] in ("crash", "partial-failure"):
            yield ["faults", number, "delay"], f"{fault['gremlin']} has no `delay`; only latency is late"


def unenforceable(drill: Drill) -> Iterator[tuple[Path, str]]:
    """Each fault that never comes, and each requirement that would never be held against anything, and why."""
    ends, window = drill.load.seconds, drill.steady.window if drill.steady else 0.0
    if drill.steady and not 0 < window < ends:
        yield ["steady", "window"], f"a window of {window:g} s does not fit into a load of {ends:g} s"
        return
    yield from _misplaced(drill, window)
    first = min((float(fault.at) for fault in drill.faults), default=0.0)
    parts: list[tuple[Path, Sequence[Requirement], float]] = [
        (["expect"], drill.expect, drill.load.seconds - first),
        (["abort"], drill.abort, RECENT),
    ]
    if drill.steady:
        parts.append((["steady", "require"], drill.steady.require, drill.steady.window))
    if drill.recover:
        parts.append((["recover", "require"], drill.recover.require, RECENT))
    for place, requirements, seconds in parts:
        for number, requirement in enumerate(requirements):
            if requirement.lasting is not None and place != ["abort"]:
                yield [*place, number], f"`for` is for `abort`: here a figure is over {_stretch(place)}"
            over = seconds if requirement.lasting is None else requirement.lasting
            if place == ["abort"] and over > ends:
                yield (
                    [*place, number],
                    f"it is over {over:g} s, and the load ends after {ends:g} s: it never comes true",
                )
            elif why := _too_few(drill.load, requirement, over):
                yield [*place, number], why


def _misplaced(drill: Drill, window: float) -> Iterator[tuple[Path, str]]:
    ends = drill.load.seconds
    for number, fault in enumerate(drill.faults):
        if fault.at >= ends:
            yield ["faults", number, "at"], f"a fault at {fault.at:g} s never comes: the load ends after {ends:g} s"
        elif fault.at < window:
            yield ["faults", number, "at"], f"a fault at {fault.at:g} s falls into the steady window"


def _stretch(place: Path) -> str:
    match place[0]:
        case "steady":
            return "the whole window"
        case "expect":
            return "all that was due from the first fault on"
        case _:
            return f"the last {RECENT:g} s"


def _too_few(load: Load, requirement: Requirement, seconds: float) -> str | None:
    """Why a percentile is never measured: it needs an order beyond it, and there are not so many."""
    if load.rate is None or requirement.gate is None or requirement.gate.metric not in MIN_ORDERS:
        return None
    metric = requirement.gate.metric
    needed = MIN_ORDERS[metric]
    sent = order_count(load.rate, seconds)
    if sent >= needed:
        return None
    return f"{metric} is measured from {needed:,} orders on, and in {seconds:g} s there are {sent}: raise the rate"
