"""Holds what a drill requires against what was seen. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from valerix_cli.audit.model import Audit
from valerix_cli.drills.faults import reason, say
from valerix_cli.drills.model import Drill
from valerix_cli.drills.receipt import Check, Injection, Phase, Verdict
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.watching import Sighting
from valerix_cli.gates import Measured
from valerix_cli.gates import judge as judge_gates
from valerix_cli.load.metrics import ACCEPTED, REFUSED
from valerix_cli.load.model import CompletedOrder
from valerix_cli.units import format_duration

_OF_AUDIT: dict[str, Verdict] = {
    "held": "held",
    "violated": "violated",
    "unsettled": "not-measured",
    "not-checked": "not-measured",
}
_NOBODY_TOLD = "the breaker state could not be read"


class Evidence(msgspec.Struct, frozen=True):
    """What there is to go by: the metrics (None for what was not measured), and what the breaker did.

    `opened_after` is in seconds after the first fault; None where it was not seen to open, which says something only
    where it `is_watched`: where a look since then has told its state. `is_closed` is how it is now; None where nobody
    could be asked.
    """

    measured: Mapping[str, Measured | None]
    opened_after: float | None = None
    is_closed: bool | None = None
    is_watched: bool = False


def evidence(
    measured: Mapping[str, Measured | None], sightings: Sequence[Sighting], opened: Sequence[float], first: float
) -> Evidence:
    """What there is to go by at the last of the `sightings`.

    `opened` are the times, in seconds since the load began, at which breakers say that they opened; `first` is when the
    first fault began.
    """
    known = [(seen.at, seen.breakers) for seen in sightings if seen.breakers]
    is_closed, last = None, sightings[-1] if sightings else None
    if last is not None and last.breakers:
        is_closed = not last.held_back and all(state == "closed" for state in last.breakers.values())
    seen_open = [at for at, breakers in known if "open" in breakers.values()]
    later = [when - first for when in (*seen_open, *opened) if when >= first]
    is_watched = any(at >= first for at, _ in known)
    return Evidence(measured, round(min(later), 2) if later else None, is_closed, is_watched)


def judge(phase: Phase, requirements: Sequence[Requirement], evidence: Evidence) -> list[Check]:
    return [_judge(phase, requirement, evidence) for requirement in requirements]


def holds(requirements: Sequence[Requirement], evidence: Evidence) -> bool:
    """Whether all of them do."""
    return all(check.verdict == "held" for check in judge("recover", requirements, evidence))


def answered(orders: Sequence[CompletedOrder]) -> Check:
    """Whether the load came to anything; without that, neither gates nor the audit say anything of the run."""
    said = sum(seen.outcome in ACCEPTED | REFUSED for seen in orders)
    why = f"{said:,} of {len(orders):,} were accepted or refused" if orders else "not one was sent"
    return Check("faults", "orders are answered", "held" if said else "not-measured", why, said)


def fired(drill: Drill, injections: Mapping[int, Injection]) -> list[Check]:
    """Whether each fault of the drill hit anything; `injections` are by their numbers."""
    return [_fired(say(fault), injections.get(number)) for number, fault in enumerate(drill.faults)]


def by_itself(drill: Drill, injections: Iterable[Injection], sightings: Iterable[Sighting], lost: str | None) -> Check:
    """Whether what was measured is the work of this drill alone; `lost` is why it had the platform no more."""
    ours = {one for injection in injections for one in injection.activations}
    told = [seen for seen in sightings if seen.injected is not None]
    live = {str(seen.gremlin.id): seen.gremlin.reason for seen in told if seen.gremlin}
    others = {one: why for one, why in live.items() if one not in ours and why != reason(drill)}
    wrong = [f"gremlin {one} was live" + (f": {why}" if why else "") for one, why in others.items()]
    wrong += [lost] if lost else []
    wrong += [] if told else ["the gremlins could not be read"]
    verdict: Verdict = "not-measured" if wrong else "held"
    return Check("faults", "no faults but its own", verdict, "; ".join(wrong) or "none was seen", len(others))


def never(requirements: Sequence[Requirement], looks: Sequence[int], came_true: int | None) -> list[Check]:
    """Whether the drill had to be given up: for each, how many `looks` could tell, and the number of which was so."""
    checks = []
    for number, requirement in enumerate(requirements):
        verdict: Verdict = "missed" if number == came_true else "held" if looks[number] else "not-measured"
        why = {"missed": "it was so", "held": f"{looks[number]:,} looks", "not-measured": "no look could tell"}[verdict]
        checks.append(Check("faults", f"never {requirement.text}", verdict, why, looks[number]))
    return checks


def drained(*, unanswered: bool, is_empty: bool, left: int | None, within: float) -> Check:
    """Whether every order is finished: none still under way, and `left` in the queue, None where it did not say."""
    if unanswered:
        verdict: Verdict = "missed"
        why = f"orders are without an answer after {format_duration(within)}"
    elif is_empty:
        verdict, why = "held", "nothing is queued"
    elif left:
        verdict, why = "missed", f"{left} orders are queued after {format_duration(within)}"
    else:
        verdict, why = "not-measured", f"the queue did not say in {format_duration(within)} that it is empty"
    return Check("drain", "every order is finished", verdict, why, left)


def rolled_back(drill: Drill, left: Sequence[str]) -> Check:
    """Whether all faults are off; `left` are those that may not be."""
    why = "no gremlin is live" + (", every process runs" if drill.strikes_processes else "")
    return Check("roll-back", "all faults are off", "missed" if left else "held", "; ".join(left) or why)


def of_audit(drill: Drill, audit: Audit) -> list[Check]:
    """The invariants that count; one that the audit had to leave out was not measured."""
    known = {one.name: one for one in audit.invariants}
    asked = [*known] if drill.invariants == "all" else drill.invariants
    checks = []
    for name in asked:
        if (one := known.get(name)) is None:
            why = "; ".join(audit.not_checked) or "the audit left it out"
            checks.append(Check("audit", name, "not-measured", f"not checked: {why}"))
            continue
        first = f"; {one.examples[0].subject}: {one.examples[0].wrong}" if one.examples else ""
        why = f"{one.broken:,} of {one.checked:,} {one.of} break it{first}"
        if not one.checked and not one.broken:
            why = f"there are no {one.of} that could break it"
        checks.append(Check("audit", name, _OF_AUDIT[one.verdict], why, one.broken))
    return checks


def not_come_to(drill: Drill, checks: Sequence[Check]) -> list[Check]:
    """What the drill requires and no check is about, since the run ended before."""
    parts: list[tuple[Phase, Sequence[Requirement]]] = [
        ("steady", drill.steady.require if drill.steady else ()),
        ("faults", drill.expect),
        ("recover", drill.recover.require if drill.recover else ()),
    ]
    wanted = [(phase, requirement.text) for phase, part in parts for requirement in part]
    wanted += [("drain", "every order is finished"), ("audit", "the audit")]
    known = {(check.phase, check.require) for check in checks}
    if any(check.phase == "audit" for check in checks):
        known.add(("audit", "the audit"))
    return [Check(*one, "not-measured", "the run ended before") for one in dict.fromkeys(wanted) if one not in known]


def _judge(phase: Phase, requirement: Requirement, evidence: Evidence) -> Check:
    if requirement.gate is None:
        return _of_breaker(phase, requirement, evidence)
    (check,) = judge_gates([requirement.gate], evidence.measured)
    if check.held is None:
        too_little = f"{requirement.gate.metric}: there is too little to say"
        why = too_little if check.measured is None else check.why
        return Check(phase, requirement.text, "not-measured", why, check.measured)
    return Check(phase, requirement.text, "held" if check.held else "missed", check.why, check.measured)


def _of_breaker(phase: Phase, requirement: Requirement, evidence: Evidence) -> Check:
    after, text = evidence.opened_after, requirement.text
    opened = "the breaker did not open" if after is None else f"the breaker opened after {format_duration(after)}"
    if requirement.breaker == "closed":
        if evidence.is_closed is None:
            return Check(phase, text, "not-measured", _NOBODY_TOLD)
        return Check(phase, text, *(("held", "it is closed") if evidence.is_closed else ("missed", "it is not closed")))
    if after is None and not evidence.is_watched:
        return Check(phase, text, "not-measured", _NOBODY_TOLD)
    if requirement.breaker == "stayed closed":
        return Check(phase, text, "held" if after is None else "missed", opened, after)
    in_time = after is not None and (requirement.within is None or after <= requirement.within)
    return Check(phase, text, "held" if in_time else "missed", opened, after)


def _fired(says: str, injection: Injection | None) -> Check:
    if injection is None:
        return Check("faults", f"fired: {says}", "not-measured", "it never began")
    why = f"injected {injection.hits}" + (f" of {injection.rolls}" if injection.kind == "gremlin" else "")
    return Check("faults", f"fired: {says}", "held" if injection.hits else "not-measured", why, injection.hits)
