"""Checks of a run beyond its requirements; one that was not measured never passes."""

from datetime import UTC, datetime
from fractions import Fraction

import msgspec
import pytest

from tests.unit.cli.samples import activation
from tests.unit.drills.test_parser import GOOD
from valerix_cli.audit import model
from valerix_cli.audit.model import Audit, Coverage, Example, Finding
from valerix_cli.clients.wire import Activation
from valerix_cli.drills import evaluate, parser
from valerix_cli.drills.evaluate import Measurements
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.receipt import Check, Injection
from valerix_cli.drills.requirements import Requirement
from valerix_cli.gates import Measured
from valerix_cli.load.model import CompletedOrder

DRILL = parser.parse(GOOD, "good.yaml")
NOTHING = Coverage(orders={}, events=0, deductions=0, refusals=0, items=0, ledger_lines=0, journal_keys=None)


def orders(*outcomes: str) -> list[CompletedOrder]:
    return [
        CompletedOrder(f"key-{number}", 0.1 * number, 0.1 * number + 0.02, word) for number, word in enumerate(outcomes)
    ]


def audited(*invariants: model.Invariant) -> Audit:
    return Audit("clean", datetime.now(UTC), 0.1, 60.0, NOTHING, [*invariants], ["cached answers: Redis is away"])


def injection(kind: str, hits: int) -> Injection:
    return Injection(kind=kind, target="latency", description="whatever", began=1.0, rolls=90, hits=hits)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "why"),
    [
        ((), "not-measured", "not one was sent"),
        (("timeout", "internal-error"), "not-measured", "0 of 2 were accepted or refused"),
        (("timeout", "confirmed"), "held", "1 of 2 were accepted or refused"),
        (("insufficient-stock",), "held", "1 of 1 were accepted or refused"),
    ],
)
def test_a_load_without_an_answered_order_is_not_measured(outcomes: tuple[str, ...], verdict: str, why: str) -> None:
    check = evaluate.orders_answered(orders(*outcomes))
    assert (check.verdict, check.why) == (verdict, why)


def test_a_fault_without_a_hit_is_not_measured() -> None:
    latency, kill = evaluate.faults_fired(DRILL, {0: injection("gremlin", 3), 1: injection("kill", 1)})
    assert (latency.require, latency.verdict, latency.why) == (
        "fired: latency of 5.0 s on 100 % for 15 s",
        "held",
        "injected 3 of 90",
    )
    assert (kill.verdict, kill.why) == ("held", "injected 1")
    missed, never_began = evaluate.faults_fired(DRILL, {0: injection("gremlin", 0)})
    assert (missed.verdict, missed.why) == ("not-measured", "injected 0 of 90")
    assert (never_began.verdict, never_began.why) == ("not-measured", "it never began")


def sample(live: Activation | None = None, *, readable: bool = True) -> Sample:
    return Sample(1.0, {"order-1": "closed"}, False, 0, 0.0, 0, {} if readable else None, gremlin=live)  # noqa: FBT003 - held back


@pytest.mark.parametrize(
    ("samples", "lost", "verdict", "why"),
    [
        ([sample(), sample(readable=False)], None, "held", "none was seen"),
        ([sample(activation(id="ours"))], None, "held", "none was seen"),
        ([sample(activation(id="late", reason=f"drill {DRILL.name}"))], None, "held", "none was seen"),
        ([sample(activation(id="x", reason="fun"))], None, "not-measured", "gremlin x was live: fun"),
        ([sample(activation(id="x"))], None, "not-measured", "gremlin x was live"),
        ([sample()], "another has it", "not-measured", "another has it"),
        ([], None, "not-measured", "the gremlins could not be read"),
        ([sample(readable=False)], None, "not-measured", "the gremlins could not be read"),
    ],
)
def test_a_run_with_possible_faults_of_others_is_not_measured(
    samples: list[Sample], lost: str | None, verdict: str, why: str
) -> None:
    own = msgspec.structs.replace(injection("gremlin", 3), activations=["ours"])
    check = evaluate.only_own_faults(DRILL, [own], samples, lost)
    assert (check.verdict, check.why) == (verdict, why)


def test_each_abort_condition_is_a_check() -> None:
    (held,) = evaluate.never(DRILL.abort, [7], None)
    assert (held.require, held.verdict, held.why) == ("never error_rate > 60% for 5s", "held", "7 evaluations")
    assert [check.verdict for check in evaluate.never(DRILL.abort, [7], 0)] == ["missed"]
    assert [check.verdict for check in evaluate.never(DRILL.abort, [0], None)] == ["not-measured"]
    assert evaluate.never([], [], None) == []


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
def test_a_run_is_drained_once_orders_are_answered_and_the_queue_is_empty(
    *, unanswered: bool, is_empty: bool, left: int | None, verdict: str
) -> None:
    assert evaluate.drained(unanswered=unanswered, is_empty=is_empty, left=left, within=60.0).verdict == verdict


def test_a_roll_back_is_held_only_if_no_fault_is_left() -> None:
    off = evaluate.rolled_back(DRILL, [])
    assert (off.verdict, off.why) == ("held", "no gremlin is live, every process runs")
    alive = msgspec.structs.replace(DRILL, faults=DRILL.faults[:1])
    assert evaluate.rolled_back(alive, []).why == "no gremlin is live"
    left = evaluate.rolled_back(DRILL, ["gremlins may be live", "a process is gone"])
    assert (left.verdict, left.why) == ("missed", "gremlins may be live; a process is gone")


def test_each_required_invariant_is_a_check_and_an_omitted_one_is_not_measured() -> None:
    broken = model.NO_OVERSELL.evaluate(Finding(12, 1, [Example("ps5", "-1 are left")]))
    found = audited(
        broken,
        model.SETTLED.evaluate(Finding(9, 1)),
        model.ONE_ORDER_PER_KEY.evaluate(Finding(9)),
        model.CACHE_AGREES.unchecked(),
    )
    assert [(check.require, check.verdict) for check in evaluate.invariants(DRILL, found)] == [
        ("no-oversell", "violated"),
        ("settled", "not-measured"),
        ("one-order-per-key", "held"),
        ("cache-agrees", "not-measured"),
    ]
    assert evaluate.invariants(DRILL, found)[0].why == "1 of 12 items break it; ps5: -1 are left"
    left_out = msgspec.structs.replace(DRILL, invariants=["terminal-stays"])
    assert [check.why for check in evaluate.invariants(left_out, found)] == [
        "not checked: cached answers: Redis is away"
    ]
    silent = msgspec.structs.replace(found, not_checked=[])
    assert [check.why for check in evaluate.invariants(left_out, silent)] == ["not checked: the audit left it out"]
    named = msgspec.structs.replace(DRILL, invariants=["no-oversell", "acknowledged-not-lost"])
    assert [(check.require, check.verdict) for check in evaluate.invariants(named, found)] == [
        ("no-oversell", "violated"),
        ("acknowledged-not-lost", "not-measured"),
    ]


def breaker_sample(at: float, *states: str, held_back: bool = False, readable: bool = True) -> Sample:
    breakers = {f"order-{number}": state for number, state in enumerate(states)} if readable else None
    return Sample(at, breakers, held_back, 0, 0.0, 0, {})


@pytest.mark.parametrize(
    ("last", "is_closed"),
    [
        (breaker_sample(3, "closed", "closed"), True),
        (breaker_sample(3, "closed", "open"), False),
        (breaker_sample(3, "closed", "half-open"), False),
        (breaker_sample(3, "closed", held_back=True), False),
        (breaker_sample(3), None),
        (breaker_sample(3, readable=False), None),
    ],
)
def test_breakers_are_closed_if_all_are_in_the_last_sample(last: Sample, is_closed: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    assert evaluate.summarize({}, [breaker_sample(2, "open"), last], [], 0.0).is_closed is is_closed


@pytest.mark.parametrize(
    ("samples", "reported", "opened_after"),
    [
        ([breaker_sample(1, "closed"), breaker_sample(4.126, "closed", "open"), breaker_sample(5, "open")], [], 2.13),
        ([breaker_sample(1, "open"), breaker_sample(3, "closed")], [], None),
        ([breaker_sample(2, "open")], [], 0.0),
        ([breaker_sample(3, "closed")], [2.5, 1.0, 2.75], 0.5),
        ([breaker_sample(5, "open")], [1.0], 3.0),
        ([], [], None),
        ([breaker_sample(3, readable=False)], [], None),
    ],
)
def test_a_breaker_opened_at_its_first_open_sample_or_reported_transition(
    samples: list[Sample], reported: list[float], opened_after: float | None
) -> None:
    assert evaluate.summarize({}, samples, reported, 2.0).opened_after == opened_after


@pytest.mark.parametrize(
    ("samples", "monitored"),
    [
        ([breaker_sample(1, "closed"), breaker_sample(2, "closed")], True),
        ([breaker_sample(1, "closed"), breaker_sample(3, readable=False)], False),
        ([breaker_sample(1, "closed"), breaker_sample(3)], False),
        ([], False),
    ],
)
def test_a_breaker_is_monitored_if_a_sample_since_the_first_fault_has_its_state(
    samples: list[Sample],
    monitored: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    found = evaluate.summarize({}, samples, [], 2.0)
    assert (found.is_monitored, found.is_closed) == (monitored, True if monitored else None)


def test_the_reason_of_a_check_is_the_measured_value_or_too_little_data() -> None:
    def why(text: str, measurements: Measurements) -> str:
        (check,) = evaluate.evaluate("faults", [Requirement.parse(text)], measurements)
        return check.why

    assert why("p95 < 1s", Measurements({"p95": None})) == "p95: too little data"
    failed: dict[str, Measured | None] = {"p95": 0.002, "error_rate": Fraction(1)}
    assert why("p95 < 1s", Measurements(failed)) == "p95 was 2.0 ms, but not one order was taken"
    assert why("breaker opened", Measurements({}, opened_after=50.0)) == "the breaker opened after 50 s"
    assert why("breaker opened", Measurements({}, is_monitored=True)) == "the breaker did not open"


def test_a_drill_without_optional_phases_lacks_no_checks_of_them() -> None:
    plain = msgspec.structs.replace(DRILL, steady=None, recover=None, expect=[])
    assert [check.phase for check in evaluate.not_reached(plain, [])] == ["drain", "audit"]
    assert [check.phase for check in evaluate.not_reached(DRILL, [])][:3] == ["steady", "steady", "faults"]


def test_a_platform_has_recovered_once_all_requirements_hold_together() -> None:
    assert DRILL.recover is not None
    backlog, p95 = DRILL.recover.require[1:]
    well: dict[str, Measured | None] = {"backlog": 0, "p95": 0.02}
    assert evaluate.all_hold([backlog, p95], Measurements(well))
    assert not evaluate.all_hold([backlog, p95], Measurements(well | {"p95": 2.0}))
    assert not evaluate.all_hold([backlog, p95], Measurements(well | {"backlog": None}))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Finding(0), "there are no keys that could break it"),
        (Finding(3), "0 of 3 keys break it"),
        (Finding(0, 1, [Example("a-key", "never sent")]), "1 of 0 keys break it; a-key: never sent"),
    ],
)
def test_an_invariant_reports_the_number_of_things_checked(found: Finding, why: str) -> None:
    (check,) = evaluate.invariants(DRILL, audited(model.ACKNOWLEDGED_NOT_LOST.evaluate(found)))
    assert check.why == why


def test_requirements_that_a_run_did_not_reach_are_not_measured() -> None:
    checks = [Check("steady", text, "held", "") for text in ("error_rate < 1%", "p95 < 300ms")]
    left = evaluate.not_reached(DRILL, checks)
    assert {check.verdict for check in left} == {"not-measured"}
    assert [(check.phase, check.require) for check in left] == [
        *(("faults", requirement.text) for requirement in DRILL.expect),
        *(("recover", text) for text in ("breaker closed", "backlog == 0", "p95 < 300ms")),
        ("drain", "every order is finished"),
        ("audit", "the audit"),
    ]
    assert evaluate.not_reached(DRILL, [*checks, *left]) == []
    audited_ = [*checks, *left[:-1], Check("audit", "no-oversell", "held", "")]
    assert evaluate.not_reached(DRILL, audited_) == []
