"""What a run is judged by besides its requirements, and that what was not looked at is never held."""

from datetime import UTC, datetime
from fractions import Fraction

import msgspec
import pytest

from tests.unit.cli.samples import activation
from tests.unit.drills.test_reading import GOOD
from valerix_cli.audit import model
from valerix_cli.audit.model import Audit, Coverage, Example, Finding
from valerix_cli.clients.wire import Activation
from valerix_cli.drills import judging, reading
from valerix_cli.drills.judging import Evidence
from valerix_cli.drills.receipt import Check, Injection
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.watching import Sighting
from valerix_cli.gates import Measured
from valerix_cli.load.model import CompletedOrder

DRILL = reading.parse(GOOD, "good.yaml")
NOTHING = Coverage(orders={}, events=0, deductions=0, refusals=0, items=0, ledger_lines=0, journal_keys=None)


def seen(*said: str) -> list[CompletedOrder]:
    return [
        CompletedOrder(f"key-{number}", 0.1 * number, 0.1 * number + 0.02, word) for number, word in enumerate(said)
    ]


def audited(*invariants: model.Invariant) -> Audit:
    return Audit("clean", datetime.now(UTC), 0.1, 60.0, NOTHING, [*invariants], ["cached answers: Redis is away"])


def injection(kind: str, hits: int) -> Injection:
    return Injection(kind=kind, target="latency", says="whatever", began=1.0, rolls=90, hits=hits)


@pytest.mark.parametrize(
    ("said", "verdict", "why"),
    [
        ((), "not-measured", "not one was sent"),
        (("timeout", "internal-error"), "not-measured", "0 of 2 were accepted or refused"),
        (("timeout", "confirmed"), "held", "1 of 2 were accepted or refused"),
        (("insufficient-stock",), "held", "1 of 1 were accepted or refused"),
    ],
)
def test_a_load_of_which_no_order_was_answered_says_nothing(said: tuple[str, ...], verdict: str, why: str) -> None:
    check = judging.answered(seen(*said))
    assert (check.verdict, check.why) == (verdict, why)


def test_each_fault_of_a_drill_has_to_have_hit_something() -> None:
    latency, kill = judging.fired(DRILL, {0: injection("gremlin", 3), 1: injection("kill", 1)})
    assert (latency.require, latency.verdict, latency.why) == (
        "fired: latency of 5.0 s on 100 % for 15 s",
        "held",
        "injected 3 of 90",
    )
    assert (kill.verdict, kill.why) == ("held", "injected 1")
    missed, never_began = judging.fired(DRILL, {0: injection("gremlin", 0)})
    assert (missed.verdict, missed.why) == ("not-measured", "injected 0 of 90")
    assert (never_began.verdict, never_began.why) == ("not-measured", "it never began")


def sighting(live: Activation | None = None, *, told: bool = True) -> Sighting:
    return Sighting(1.0, {"order-1": "closed"}, False, 0, 0.0, 0, {} if told else None, gremlin=live)  # noqa: FBT003 - held back


@pytest.mark.parametrize(
    ("sightings", "lost", "verdict", "why"),
    [
        ([sighting(), sighting(told=False)], None, "held", "none was seen"),
        ([sighting(activation(id="ours"))], None, "held", "none was seen"),
        ([sighting(activation(id="late", reason=f"drill {DRILL.name}"))], None, "held", "none was seen"),
        ([sighting(activation(id="x", reason="fun"))], None, "not-measured", "gremlin x was live: fun"),
        ([sighting(activation(id="x"))], None, "not-measured", "gremlin x was live"),
        ([sighting()], "another has it", "not-measured", "another has it"),
        ([], None, "not-measured", "the gremlins could not be read"),
        ([sighting(told=False)], None, "not-measured", "the gremlins could not be read"),
    ],
)
def test_a_run_that_others_disturb_or_may_have_disturbed_says_nothing(
    sightings: list[Sighting], lost: str | None, verdict: str, why: str
) -> None:
    own = msgspec.structs.replace(injection("gremlin", 3), activations=["ours"])
    check = judging.by_itself(DRILL, [own], sightings, lost)
    assert (check.verdict, check.why) == (verdict, why)


def test_what_a_drill_is_given_up_for_is_a_check_of_its_own() -> None:
    (held,) = judging.never(DRILL.abort, [7], None)
    assert (held.require, held.verdict, held.why) == ("never error_rate > 60% for 5s", "held", "7 looks")
    assert [check.verdict for check in judging.never(DRILL.abort, [7], 0)] == ["missed"]
    assert [check.verdict for check in judging.never(DRILL.abort, [0], None)] == ["not-measured"]
    assert judging.never([], [], None) == []


@pytest.mark.parametrize(
    ("unanswered", "is_empty", "left", "verdict"),
    [
        (False, True, 0, "held"),
        (True, True, 0, "missed"),
        (False, False, 3, "missed"),
        (False, False, 0, "not-measured"),
        (False, False, None, "not-measured"),
    ],
)
def test_a_run_has_drained_once_every_order_is_answered_and_the_queue_says_it_is_empty(
    *, unanswered: bool, is_empty: bool, left: int | None, verdict: str
) -> None:
    assert judging.drained(unanswered=unanswered, is_empty=is_empty, left=left, within=60.0).verdict == verdict


def test_faults_are_off_where_nothing_is_left_of_them() -> None:
    off = judging.rolled_back(DRILL, [])
    assert (off.verdict, off.why) == ("held", "no gremlin is live, every process runs")
    alive = msgspec.structs.replace(DRILL, faults=DRILL.faults[:1])
    assert judging.rolled_back(alive, []).why == "no gremlin is live"
    left = judging.rolled_back(DRILL, ["gremlins may be live", "a process is gone"])
    assert (left.verdict, left.why) == ("missed", "gremlins may be live; a process is gone")


def test_each_invariant_that_counts_is_a_check_and_one_that_the_audit_left_out_was_not_measured() -> None:
    broken = model.NO_OVERSELL.evaluate(Finding(12, 1, [Example("ps5", "-1 are left")]))
    found = audited(
        broken,
        model.SETTLED.evaluate(Finding(9, 1)),
        model.ONE_ORDER_PER_KEY.evaluate(Finding(9)),
        model.CACHE_AGREES.unchecked(),
    )
    assert [(check.require, check.verdict) for check in judging.of_audit(DRILL, found)] == [
        ("no-oversell", "violated"),
        ("settled", "not-measured"),
        ("one-order-per-key", "held"),
        ("cache-agrees", "not-measured"),
    ]
    assert judging.of_audit(DRILL, found)[0].why == "1 of 12 items break it; ps5: -1 are left"
    left_out = msgspec.structs.replace(DRILL, invariants=["terminal-stays"])
    assert [check.why for check in judging.of_audit(left_out, found)] == ["not checked: cached answers: Redis is away"]
    silent = msgspec.structs.replace(found, not_checked=[])
    assert [check.why for check in judging.of_audit(left_out, silent)] == ["not checked: the audit left it out"]
    named = msgspec.structs.replace(DRILL, invariants=["no-oversell", "acknowledged-not-lost"])
    assert [(check.require, check.verdict) for check in judging.of_audit(named, found)] == [
        ("no-oversell", "violated"),
        ("acknowledged-not-lost", "not-measured"),
    ]


def looked(at: float, *states: str, held_back: bool = False, told: bool = True) -> Sighting:
    breakers = {f"order-{number}": state for number, state in enumerate(states)} if told else None
    return Sighting(at, breakers, held_back, 0, 0.0, 0, {})


@pytest.mark.parametrize(
    ("last", "is_closed"),
    [
        (looked(3, "closed", "closed"), True),
        (looked(3, "closed", "open"), False),
        (looked(3, "closed", "half-open"), False),
        (looked(3, "closed", held_back=True), False),
        (looked(3), None),
        (looked(3, told=False), None),
    ],
)
def test_breakers_are_closed_where_the_last_look_says_so_of_each(last: Sighting, is_closed: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    assert judging.evidence({}, [looked(2, "open"), last], [], 0.0).is_closed is is_closed


@pytest.mark.parametrize(
    ("sightings", "said", "opened_after"),
    [
        ([looked(1, "closed"), looked(4.126, "closed", "open"), looked(5, "open")], [], 2.13),
        ([looked(1, "open"), looked(3, "closed")], [], None),
        ([looked(2, "open")], [], 0.0),
        ([looked(3, "closed")], [2.5, 1.0, 2.75], 0.5),
        ([looked(5, "open")], [1.0], 3.0),
        ([], [], None),
        ([looked(3, told=False)], [], None),
    ],
)
def test_a_breaker_opened_so_long_after_the_first_fault_as_somebody_saw_or_it_says_itself(
    sightings: list[Sighting], said: list[float], opened_after: float | None
) -> None:
    assert judging.evidence({}, sightings, said, 2.0).opened_after == opened_after


@pytest.mark.parametrize(
    ("sightings", "watched"),
    [
        ([looked(1, "closed"), looked(2, "closed")], True),
        ([looked(1, "closed"), looked(3, told=False)], False),
        ([looked(1, "closed"), looked(3)], False),
        ([], False),
    ],
)
def test_a_breaker_is_watched_where_a_look_since_the_first_fault_tells_its_state(
    sightings: list[Sighting],
    watched: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    found = judging.evidence({}, sightings, [], 2.0)
    assert (found.is_watched, found.is_closed) == (watched, True if watched else None)


def test_why_says_what_was_seen_or_that_too_little_was() -> None:
    def why(text: str, evidence: Evidence) -> str:
        (check,) = judging.judge("faults", [Requirement.parse(text)], evidence)
        return check.why

    assert why("p95 < 1s", Evidence({"p95": None})) == "p95: there is too little to say"
    failed: dict[str, Measured | None] = {"p95": 0.002, "error_rate": Fraction(1)}
    assert why("p95 < 1s", Evidence(failed)) == "p95 was 2.0 ms, but not one order was taken"
    assert why("breaker opened", Evidence({}, opened_after=50.0)) == "the breaker opened after 50 s"
    assert why("breaker opened", Evidence({}, is_watched=True)) == "the breaker did not open"


def test_a_drill_without_phases_has_nothing_there_to_come_to() -> None:
    plain = msgspec.structs.replace(DRILL, steady=None, recover=None, expect=[])
    assert [check.phase for check in judging.not_come_to(plain, [])] == ["drain", "audit"]
    assert [check.phase for check in judging.not_come_to(DRILL, [])][:3] == ["steady", "steady", "faults"]


def test_a_recovery_is_there_once_all_that_it_requires_holds_at_once() -> None:
    assert DRILL.recover is not None
    backlog, p95 = DRILL.recover.require[1:]
    well: dict[str, Measured | None] = {"backlog": 0, "p95": 0.02}
    assert judging.holds([backlog, p95], Evidence(well))
    assert not judging.holds([backlog, p95], Evidence(well | {"p95": 2.0}))
    assert not judging.holds([backlog, p95], Evidence(well | {"backlog": None}))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Finding(0), "there are no keys that could break it"),
        (Finding(3), "0 of 3 keys break it"),
        (Finding(0, 1, [Example("a-key", "nobody sent it")]), "1 of 0 keys break it; a-key: nobody sent it"),
    ],
)
def test_an_invariant_says_how_much_there_was_to_break_it(found: Finding, why: str) -> None:
    (check,) = judging.of_audit(DRILL, audited(model.ACKNOWLEDGED_NOT_LOST.evaluate(found)))
    assert check.why == why


def test_whatever_a_run_did_not_come_to_is_named() -> None:
    checks = [Check("steady", text, "held", "") for text in ("error_rate < 1%", "p95 < 300ms")]
    left = judging.not_come_to(DRILL, checks)
    assert {check.verdict for check in left} == {"not-measured"}
    assert [(check.phase, check.require) for check in left] == [
        *(("faults", requirement.text) for requirement in DRILL.expect),
        *(("recover", text) for text in ("breaker closed", "backlog == 0", "p95 < 300ms")),
        ("drain", "every order is finished"),
        ("audit", "the audit"),
    ]
    assert judging.not_come_to(DRILL, [*checks, *left]) == []
    audited_ = [*checks, *left[:-1], Check("audit", "no-oversell", "held", "")]
    assert judging.not_come_to(DRILL, audited_) == []
