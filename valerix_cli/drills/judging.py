"""Holds what a drill requires against what was seen. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from valerix_cli.drills.receipt import Check, Phase
from valerix_cli.drills.requirements import Requirement
from valerix_cli.durations import say_duration
from valerix_cli.gates import Measured
from valerix_cli.gates import judge as judge_gates


class Evidence(msgspec.Struct, frozen=True):
    """What there is to go by: the metrics (None for what was not measured), and what the breaker did.

    `opened_after` is in seconds after the first fault, `is_closed` how it is now; None where nobody could be asked.
    """

    measured: Mapping[str, Measured | None]
    opened_after: float | None = None
    is_closed: bool | None = None


def judge(phase: Phase, requirements: Sequence[Requirement], evidence: Evidence) -> list[Check]:
    return [_judge(phase, requirement, evidence) for requirement in requirements]


def holds(requirements: Sequence[Requirement], evidence: Evidence) -> bool:
    """Whether all of them do."""
    return all(check.verdict == "held" for check in judge("recover", requirements, evidence))


def _judge(phase: Phase, requirement: Requirement, evidence: Evidence) -> Check:
    if requirement.gate is None:
        return _of_breaker(phase, requirement, evidence)
    (check,) = judge_gates([requirement.gate], evidence.measured)
    if check.held is None:
        return Check(phase, requirement.text, "not-measured", f"{requirement.gate.metric}: there is too little to say")
    return Check(phase, requirement.text, "held" if check.held else "missed", check.why, check.measured)


def _of_breaker(phase: Phase, requirement: Requirement, evidence: Evidence) -> Check:
    after, text = evidence.opened_after, requirement.text
    opened = "the breaker did not open" if after is None else f"the breaker opened after {say_duration(after)}"
    if requirement.breaker == "closed":
        if evidence.is_closed is None:
            return Check(phase, text, "not-measured", "nobody could be asked about the breaker")
        return Check(phase, text, *(("held", "it is closed") if evidence.is_closed else ("missed", "it is not closed")))
    if requirement.breaker == "stayed closed":
        return Check(phase, text, "held" if after is None else "missed", opened, after)
    in_time = after is not None and (requirement.within is None or after <= requirement.within)
    return Check(phase, text, "held" if in_time else "missed", opened, after)
