"""A part of the fault campaign: a few trials with a new seed on every run, and the evaluation of a campaign."""

import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.conftest import Databases
from tests.faults.parallel import Lanes, Planned
from tests.faults.receipt import Campaign, Receipt, as_json, as_markdown, bound, write_up
from tests.faults.results import Refused, Results
from tests.faults.retrying_clients import OrderResponse
from tests.faults.scenarios import CELLS, Cell, Request, Scenario, scenario
from tests.faults.trial_platform import Grounds, Row
from tests.faults.trials import Outcome, Trial, wrongs
from tests.processes import eventually
from valerix_cli.local.servers import ValkeyServer

SLICE = (
    Cell("order", "after-accept", "kill"),
    Cell("order", "before-settle", "stop"),
    Cell("worker", "after-deduct", "stop"),
    Cell("inventory", "before-commit", "kill"),
)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
KILLED, STOPPED = Cell("order", "after-accept", "kill"), Cell("worker", "after-read", "stop")


@pytest.fixture
def servers(databases: Databases, valkey_server: ValkeyServer, tmp_path: Path) -> Grounds:
    for name in ("lanes", "journals"):
        (tmp_path / name).mkdir()
    return Grounds(databases, valkey_server, tmp_path / "lanes", tmp_path / "journals")


def test_every_key_has_exactly_one_effect_whichever_process_is_hit_at_a_step(servers: Grounds) -> None:
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}")  # noqa: T201 - printed if the test fails, to repeat it
    ran: list[Trial] = []
    Lanes(servers, seed, ran.append, threading.Event()).run([Planned(cell, 1) for cell in SLICE], 2)
    assert [(trial.seed, trial.wrong) for trial in ran if trial.wrong] == []
    assert {trial.cell for trial in ran if trial.fired} == set(SLICE)


def campaign_of(*cells: Cell, seed: int = 7, trials: int = 2) -> Campaign:
    return Campaign(seed=seed, trials=trials, cells=cells, started=NOON, versions={"valerix": "1"}, repeat="again")


def ended(cell: Cell, number: int, outcome: Outcome = "held", *, again: int = 0, after: float = 1.0) -> Trial:
    fired = outcome != "not-fired"
    return Trial(
        cell=cell,
        number=number,
        again=again,
        seed=f"7/{cell}/{number}",
        at=NOON,
        outcome=outcome,
        fired=fired,
        seconds=5.0,
        orders=3,
        settled_after=after if fired else None,
        wrong=() if outcome in {"held", "not-fired"} else ("it broke",),
    )


def test_a_killed_campaign_resumes(tmp_path: Path) -> None:
    begun = Results.begin(tmp_path, campaign_of(KILLED, STOPPED))
    begun.add(ended(KILLED, 1))
    begun.add(ended(STOPPED, 1, "not-fired"))
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(b'{"cell": {"proc')
    later = msgspec.structs.replace(campaign_of(KILLED, STOPPED), started=datetime.now(UTC))
    resumed = Results.resume(tmp_path, later)
    assert resumed.campaign.started == NOON
    assert resumed.left() == [Planned(STOPPED, 1, again=1), Planned(KILLED, 2), Planned(STOPPED, 2)]
    resumed.add(ended(STOPPED, 1, again=1))
    assert [trial.again for trial in Results.resume(tmp_path, later).trials] == [0, 0, 1]


def test_a_campaign_cannot_resume_with_another_seed_or_overwrite_another(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no campaign"):
        Results.resume(tmp_path, campaign_of(KILLED))
    Results.begin(tmp_path, campaign_of(KILLED))
    with pytest.raises(Refused, match="seed 7, not of 8"):
        Results.resume(tmp_path, campaign_of(KILLED, seed=8))
    with pytest.raises(Refused, match="--resume"):
        Results.begin(tmp_path, campaign_of(KILLED))


def receipt(*trials: Trial, cells: tuple[Cell, ...] = (KILLED, STOPPED), planned: int = 1) -> Receipt:
    return write_up(campaign_of(*cells, trials=planned), trials, None, NOON)


def test_a_receipt_with_every_trial_and_no_violation_states_its_bound() -> None:
    made = receipt(ended(KILLED, 1, after=2.0), ended(STOPPED, 1, "not-fired"), ended(STOPPED, 1, again=1, after=4.0))
    assert made.exit_code == 0
    assert made.bound is not None
    assert made.settling is not None
    assert (made.settling.p50, made.settling.p99, made.settling.longest) == (2.0, 4.0, 4.0)
    assert [(count.point, count.fired, count.not_fired) for count in made.trials] == [
        ("after-accept", 1, 0),
        ("after-read", 1, 1),
    ]
    assert "**HELD**" in as_markdown(made)
    assert msgspec.json.decode(as_json(made))["repeat"] == "again"


@pytest.mark.parametrize(
    ("trials", "code"),
    [
        ([ended(KILLED, 1), ended(STOPPED, 1, "not-fired")], 12),
        ([ended(KILLED, 1), ended(STOPPED, 1, "unsettled")], 12),
        ([ended(KILLED, 1), ended(STOPPED, 1, "violated")], 11),
        ([ended(KILLED, 1, "violated")], 11),
        ([], 12),
    ],
)
def test_trials_that_never_fired_never_settled_or_broke_are_no_success(trials: list[Trial], code: int) -> None:
    made = receipt(*trials)
    assert made.exit_code == code
    assert (made.bound is None) == (code == 11 or not trials)
    assert "**HELD**" not in as_markdown(made)


def test_three_hundred_trials_without_a_violation_bound_it_by_one_in_a_hundred() -> None:
    assert "at most 1.00% of trials" in (bound(300) or "")
    assert "at most 100.00% of trials" in (bound(2) or "")
    assert bound(0) is None


def test_a_trial_depends_only_on_its_seed() -> None:
    for cell in CELLS:
        assert scenario(1, cell, 1) == scenario(1, cell, 1)
        others = [scenario(2, cell, 1), scenario(1, cell, 2), scenario(1, cell, 1, again=1)]
        assert scenario(1, cell, 1) not in others
    assert len({scenario(1, cell, number).item_id for cell in CELLS for number in range(30)}) == 30 * len(CELLS)


def test_trials_cover_repeated_keys_changed_bodies_exhausted_stock_and_skipped_hits() -> None:
    drawn = [scenario(1, cell, number) for cell in CELLS for number in range(10)]
    assert all(1 <= len({request.key for request in each.requests}) <= 12 for each in drawn)
    assert any(max(Counter(each.requests).values()) > 1 for each in drawn)
    assert any(len(set(each.requests)) > len({request.key for request in each.requests}) for each in drawn)
    assert {each.covers_all for each in drawn} == {True, False}
    assert {each.skip > 0 for each in drawn} == {True, False}
    assert {each.way for each in drawn} == {"plain", "unreachable", "lost-answers"}


def sold(key: str = "k", quantity: int = 2, status: str = "confirmed", order_id: str = "o") -> Row:
    return Row(key, order_id, quantity, status, None, 1, NOON)


def response(
    status: int, *, quantity: int = 2, order_id: str | None = "o", status_text: str = "", problem: str = ""
) -> OrderResponse:
    return OrderResponse("k", quantity, status, order_id, status_text or None, problem or None)


def selling(stock: int, quantity: int = 2) -> Scenario:
    return msgspec.structs.replace(scenario(1, KILLED, 1), stock=stock, requests=(Request("k", quantity),))


@pytest.mark.parametrize(
    ("answer", "row", "left"),
    [
        (response(201, status_text="confirmed"), sold(), 0),
        (response(202, status_text="queued"), sold(), 0),
        (response(202, status_text="queued"), sold(status="failed"), 1),
        (response(409, problem="insufficient-stock"), sold(status="failed"), 1),
        (response(409, problem="request-in-flight", order_id=None), sold(), 0),
        (response(422, quantity=3, problem="idempotency-key-reused"), sold(), 0),
    ],
)
def test_consistent_answers_and_rows_have_no_errors(answer: OrderResponse, row: Row, left: int) -> None:
    assert wrongs(selling(stock=1 if row.status == "failed" else 2), [answer], [row], left) == []


@pytest.mark.parametrize(
    ("answer", "rows", "why"),
    [
        (response(201, status_text="confirmed"), [], "there is None"),
        (response(201, status_text="confirmed", order_id="p"), [sold()], "for order p"),
        (response(201, status_text="confirmed"), [sold(status="failed")], "is failed"),
        (response(409, problem="insufficient-stock"), [sold()], "is confirmed"),
        (response(201, status_text="confirmed", quantity=3), [sold()], "is of 2"),
        (response(422, problem="idempotency-key-reused"), [sold()], "is of 2"),
        (response(500, problem="internal-error", order_id=None), [sold()], "nobody should be told"),
        (response(201, status_text="confirmed"), [sold(status="dead")], "is dead"),
    ],
)
def test_an_answer_that_contradicts_the_database_is_an_error(answer: OrderResponse, rows: list[Row], why: str) -> None:
    assert any(why in wrong for wrong in wrongs(selling(stock=1), [answer], rows, 0))


def test_a_refusal_despite_sufficient_stock_is_an_error() -> None:
    assert wrongs(selling(stock=1), [], [sold(status="failed")], 1) == []
    assert wrongs(selling(stock=2), [], [sold(status="failed")], 1) != []
    assert wrongs(selling(stock=1), [], [sold(status="failed", quantity=1)], 1) != []


@contextmanager
def running_campaign(directory: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a campaign of one crash point as a process; terminate it at the end of the block if it still runs."""
    command = [sys.executable, "-m", "tests.faults.campaign", "--only", "trials", "--lanes", "1"]
    with subprocess.Popen(
        [*command, "--match", "order/after-accept/kill", "--directory", str(directory), *more]
    ) as run:
        try:
            yield run
        finally:
            run.send_signal(signal.SIGINT)


def exit_code(directory: Path, *more: str) -> int:
    with running_campaign(directory, *more) as run:
        return run.wait(60)


@pytest.mark.long
def test_an_interrupted_campaign_leaves_no_process_and_can_resume(tmp_path: Path) -> None:
    results = tmp_path / "trials.jsonl"
    with running_campaign(tmp_path, "--seed", "7", "--trials", "100") as run:
        eventually(lambda: results.exists() and b'"held"' in results.read_bytes(), 120, "the first trial")
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    assert [process for process in psutil.wait_procs(started, 5)[1] if process.is_running()] == []

    assert exit_code(tmp_path, "--seed", "8", "--trials", "1", "--resume") == 2
    kept = results.read_bytes()
    assert exit_code(tmp_path, "--seed", "7", "--trials", "1", "--resume") == 0
    assert results.read_bytes() == kept  # the first trial had finished
    assert "**HELD**" in (tmp_path / "receipt.md").read_text()
