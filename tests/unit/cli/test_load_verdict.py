"""Exit code of `valerix load`: 0 only if orders were accepted, and every requirement was measured and holds."""

import pytest

from valerix_cli.commands.load import error_of
from valerix_cli.errors import ExitCode
from valerix_cli.gates import Check
from valerix_cli.load.model import Latency, LoadResult, Plan

PLAN = Plan(rate=10.0, clients=None, seconds=1.0, seed=1, key_prefix="k-", items=["monitor"], mix="uniform")
HELD = Check("p95 < 300ms", 0.02, held=True, why="p95 was 20.0 ms")
MISSED = Check("p95 < 1ms", 0.02, held=False, why="p95 was 20.0 ms")
UNCLEAR = Check("p999 < 1s", None, held=None, why="p999 was not measured")


def result(*checks: Check, orders: int = 10, errors: int = 0) -> LoadResult:
    nothing = Latency(None, None, None, None, None, None, None)
    return LoadResult(
        plan=PLAN,
        interrupted=False,
        seconds=1.0,
        orders=orders,
        requests=orders,
        retried=0,
        replayed=0,
        outcomes={"timeout": errors, "confirmed": orders - errors},
        answers={},
        throughput=float(orders),
        error_rate=errors / orders if orders else None,
        latency=nothing,
        behind=0.0,
        cpu=0.1,
        is_bottleneck=False,
        checks=[*checks],
    )


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (result(), None),
        (result(HELD), None),
        (result(HELD, errors=9), None),
        (result(errors=10), ExitCode.FAILED),
        (result(HELD, errors=10), ExitCode.FAILED),
        (result(HELD, UNCLEAR), ExitCode.INCONCLUSIVE),
        (result(UNCLEAR, errors=10), ExitCode.INCONCLUSIVE),
        (result(HELD, UNCLEAR, MISSED), ExitCode.EXPECTATION),
        (result(orders=0), ExitCode.INCONCLUSIVE),
        (result(HELD, orders=0), ExitCode.INCONCLUSIVE),
    ],
)
def test_a_load_passes_only_if_orders_were_accepted_and_every_gate_held(
    found: LoadResult, code: ExitCode | None
) -> None:
    error = error_of(found)
    assert (error.code if error else None) is code


def test_missed_and_inconclusive_gates_are_reported() -> None:
    missed = error_of(result(HELD, MISSED, UNCLEAR))
    assert missed is not None
    assert (missed.what, missed.why) == ("1 of 3 requirements were missed.", "p95 < 1ms: p95 was 20.0 ms")
    unclear = error_of(result(HELD, UNCLEAR))
    assert unclear is not None
    assert unclear.why == "p999 was not measured"
    failed = error_of(result(errors=10))
    assert failed is not None
    assert "10 timeout" in failed.why
