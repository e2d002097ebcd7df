"""Drills against a real platform: each way in which they end leaves no fault behind."""

import getpass
import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree as ET

import psycopg
import pytest
import redis

from services.inventory.drill_lease import LEASE_KEY
from tests.cli.conftest import PATIENCE, Valerix
from tests.cli.drills.small import can_begin, is_calm, receipt, started, state_of, verdicts, written
from tests.processes import eventually
from valerix_cli.local.restart_holds import hold, release


def test_a_drill_passes_if_its_fault_fired_and_its_gates_held(own: Valerix, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("drill.xml", "drill.html", "drill.md")]
    documents = [part for pair in zip(("--junit", "--html", "--md"), files, strict=True) for part in pair]
    done = own("drill", "run", written(tmp_path), *documents)
    assert "Passed" in done.out
    found = receipt(own)
    (injection,) = found["injections"]
    assert 0 < injection["hits"] < injection["rolls"]
    assert found["outcome"] == "passed"
    assert set(verdicts(found, "audit").values()) == {"held"}
    assert verdicts(found, "roll-back") == {"all faults are off": "held"}
    assert found["audit"]["compared"]["journal_keys"] == found["orders"]
    assert ET.parse(files[0]).getroot()[0].get("failures") == "0"  # noqa: S314 - our own
    assert "<svg" in Path(files[1]).read_text()
    assert Path(files[2]).read_text().startswith("# Drill small: passed")
    assert is_calm(own)()


@pytest.mark.long
def test_a_replay_on_a_temporary_platform_hits_the_same_attempts(own: Valerix, tmp_path: Path) -> None:
    """Replays the last run, or a new one if there is none."""
    if not own.json("drill", "list", "--runs"):
        own("drill", "run", written(tmp_path))
    replays_what_it_hit(own)


@pytest.mark.long
def test_a_replay_of_a_run_on_a_temporary_platform_hits_the_same_attempts(own: Valerix, tmp_path: Path) -> None:
    own("drill", "run", written(tmp_path), "--fresh")
    replays_what_it_hit(own)


def replays_what_it_hit(own: Valerix) -> None:
    before = receipt(own)
    assert before["hits_complete"]
    assert len(before["hits"]) == before["injections"][0]["hits"] > 0
    own("drill", "replay", "last")
    again = receipt(own)
    assert again["hits"] == before["hits"]
    assert again["replays"] == before["run"]
    assert verdicts(again, "faults")["the same attempts were hit"] == "held"
    assert [*Path(own.environ["TMPDIR"]).iterdir()] == []


@pytest.mark.long
def test_a_gremlin_without_hits_is_inconclusive(own: Valerix, tmp_path: Path) -> None:
    done = own("drill", "run", written(tmp_path, fault="gremlin: crash, rate: 0%, ttl: 2s"), code=12)
    assert "injected 0 of" in done.err


@pytest.mark.long
def test_a_missed_gate_reports_the_measured_value(own: Valerix, tmp_path: Path) -> None:
    done = own("drill", "run", written(tmp_path, expect="throughput > 5000/s"), code=10)
    assert "throughput > 5000/s: throughput was " in done.err


def test_no_fault_is_injected_without_a_steady_state(own: Valerix, tmp_path: Path) -> None:
    done = own("drill", "run", written(tmp_path, steady="p50 < 1us"), code=12)
    assert "the platform is not in a steady state" in done.err
    assert receipt(own)["injections"] == []


@pytest.mark.long
def test_an_abort_condition_ends_a_drill(own: Valerix, tmp_path: Path) -> None:
    drill = written(tmp_path, seconds=60)
    with Path(drill).open("a") as file:
        file.write('abort: ["injected >= 0 for 2s"]\n')
    done = own("drill", "run", drill, code=10)
    assert "abort: injected >= 0 for 2s" in done.err
    assert is_calm(own)()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_drill_turns_its_faults_off_first(
    own: Valerix, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    running = started(
        own, written(tmp_path, fault="gremlin: crash, rate: 30%, ttl: 300s", seconds=301), "crash on 30 %"
    )
    eventually(lambda: not is_calm(own)(), 10, "the gremlin")
    done = own.end(running, number)
    assert done.code == code, done.err
    assert is_calm(own)()
    assert (found := receipt(own))["outcome"] == "interrupted"
    assert verdicts(found, "roll-back") == {"all faults are off": "held"}


@pytest.mark.long
def test_a_gremlin_of_a_killed_drill_ends_with_its_lease(own: Valerix, tmp_path: Path) -> None:
    running = started(own, written(tmp_path, fault="gremlin: crash, rate: 30%, ttl: 15s", seconds=30), "crash on 30 %")
    eventually(lambda: not is_calm(own)(), 15, "the gremlin")  # at the first poll, unless a command takes that long
    own.end(running, signal.SIGKILL)
    eventually(is_calm(own), 20, "the end of the gremlin's lease")
    eventually(can_begin(own), 20, "the end of the drill's lease")


def test_a_second_drill_is_refused_with_the_name_of_the_first(own: Valerix, tmp_path: Path) -> None:
    drill = written(tmp_path, seconds=301)
    running = started(own, drill, "steady state")
    refused = own("drill", "run", drill, code=4)
    first = own.json("chaos", "status")["drill"]
    assert first["run"] in refused.err
    assert f"{getpass.getuser()}@" in refused.err
    assert "Drill small runs" in own("chaos", "status").out
    assert own("demo", "--auto", code=4).err.count(first["run"]) == 1
    own.end(running, signal.SIGTERM)
    assert can_begin(own)()


@pytest.mark.long
def test_a_foreign_gremlin_makes_a_drill_inconclusive(own: Valerix, tmp_path: Path) -> None:
    running = started(own, written(tmp_path, fault="stop: worker, for: 1s", seconds=6), "worker stopped")
    own("chaos", "on", "latency", "--rate", "1%", "--delay", "1ms", "--reason", "just trying")
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 12, out + err
    (check,) = [one for one in receipt(own)["checks"] if one["require"] == "no faults but its own"]
    assert (check["verdict"], "just trying" in check["why"]) == ("not-measured", True)


@pytest.mark.long
def test_a_drill_that_loses_its_lease_is_aborted(own: Valerix, tmp_path: Path, store: redis.Redis) -> None:
    running = started(own, written(tmp_path, seconds=301), "steady state")
    store.set(LEASE_KEY, b"another {}", px=60_000)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 12, out + err
    assert "run another" in err


@pytest.mark.long
def test_a_killed_process_is_restarted_after_restart_after(own: Valerix, tmp_path: Path) -> None:
    own("drill", "run", written(tmp_path, fault="kill: worker, restart_after: 2s"))
    (injection,) = receipt(own)["injections"]
    (affected,) = injection["affected"]
    assert affected["name"] == "worker-1"
    assert 2 <= affected["back_after"] < 20


@pytest.mark.long
def test_a_stopped_process_resumes_after_the_drill_is_killed(own: Valerix, tmp_path: Path) -> None:
    running = started(own, written(tmp_path, fault="stop: worker, for: 2s", seconds=10), "worker stopped")
    worker = own.stack()["services"]["worker"][0]["pid"]
    eventually(lambda: state_of(worker) == "T", 5, "the worker to be stopped")
    own.end(running, signal.SIGKILL)
    eventually(lambda: state_of(worker) != "T", 5, "the worker to go on")


@pytest.mark.long
def test_an_interrupted_drill_resumes_a_stopped_process_immediately(own: Valerix, tmp_path: Path) -> None:
    running = started(own, written(tmp_path, fault="stop: worker, for: 300s", seconds=301), "worker stopped")
    worker = own.stack()["services"]["worker"][0]["pid"]
    eventually(lambda: state_of(worker) == "T", 5, "the worker to be stopped")
    done = own.end(running, signal.SIGINT)
    assert done.code == 130, done.err
    assert state_of(worker) != "T"


@pytest.mark.long
def test_a_restart_and_a_flush_are_recorded_in_the_receipt(own: Valerix, tmp_path: Path) -> None:
    own("drill", "run", written(tmp_path, fault="restart: inventory"))
    assert [one["affected"][0]["name"] for one in receipt(own)["injections"]] == ["inventory-1"]
    own("drill", "run", written(tmp_path, fault="flush: redis"))
    assert receipt(own)["injections"][0]["hits"] > 0


@pytest.mark.long
def test_an_unconfirmed_roll_back_exits_with_13(own: Valerix, tmp_path: Path) -> None:
    """Inventory is down, so nothing can confirm that the gremlins are off."""
    state = own.directory / "state"
    drill = written(tmp_path, fault="gremlin: crash, rate: 30%, ttl: 60s", seconds=61)
    running = started(own, drill, "crash on 30 %")
    eventually(lambda: not is_calm(own)(), 10, "the gremlin")
    hold(state, "inventory-1", 60)
    try:
        os.kill(own.stack()["services"]["inventory"][0]["pid"], signal.SIGKILL)
        done = own.end(running, signal.SIGINT)
    finally:
        release(state, "inventory-1")
    assert done.code == 13, done.err
    assert "faults may be live" in done.err
    assert receipt(own)["outcome"] == "not-rolled-back"
    eventually(lambda: own("chaos", "off", code=None).code == 0, 30, "inventory back")
    assert is_calm(own)()


def test_drills_are_listed_shown_written_and_validated_without_a_platform(own: Valerix, tmp_path: Path) -> None:
    assert {one["name"] for one in own.json("drill", "list")} >= {"seed-chaos", "flash-sale"}
    assert own("drill", "show", "schrodinger").out.startswith("name: schrodinger")
    file = tmp_path / "mine.yaml"
    own("drill", "init", str(file), "--like", "flash-sale")
    assert own.json("drill", "validate", str(file))[0]["name"] == "flash-sale"
    assert "was not overwritten" in own("drill", "init", str(file), code=2).err
    file.write_text(file.read_text().replace("load:", "lode:"))
    assert "perhaps `load`" in own("drill", "validate", str(file), code=2).err
    assert json.loads(own("schema", "drill-file").out)["$ref"].endswith("Drill")


def test_two_runs_are_compared_and_an_unknown_run_is_refused(own: Valerix, tmp_path: Path) -> None:
    if not own.json("drill", "list", "--runs"):
        own("drill", "run", written(tmp_path))
    runs = [one["run"] for one in own.json("drill", "list", "--runs") if one["outcome"] == "passed"]
    found = own.json("drill", "compare", runs[0], runs[0], "--tolerance", "0%")
    assert {one["worse"] for one in found["differences"]} == {False}
    assert "Unknown run" in own("drill", "compare", "last", "nothing", code=2).err


def test_a_failed_preflight_changes_nothing(own: Valerix, tmp_path: Path) -> None:
    drill = Path(written(tmp_path))
    drill.write_text(drill.read_text().replace("{stock_at", "{replicas: {order: 9}, stock_at"))
    assert "needs 9 replicas of order" in own("drill", "run", str(drill), code=3).err
    own("chaos", "on", "crash", "--rate", "1%", "--ttl", "30s")
    assert "a gremlin is live" in own("drill", "run", written(tmp_path), code=3).err
    own("chaos", "off")
    own("breaker", "open")
    assert "forced open" in own("drill", "run", written(tmp_path), code=4).err
    own("breaker", "auto")


@pytest.mark.long
def test_broken_idempotency_violates_an_invariant(doomed: Valerix, tmp_path: Path) -> None:
    """The database is changed so that it deducts an order twice."""
    with psycopg.connect(admin_url(doomed), autocommit=True) as conn:
        conn.execute("DROP INDEX one_transaction_per_order_and_type")
        conn.execute(DEDUCT_TWICE)
    junit = tmp_path / "drill.xml"
    done = doomed("drill", "run", written(tmp_path), "--junit", str(junit), code=11)
    assert "confirmed-means-deducted" in done.err
    red = ET.parse(junit).getroot().findall(".//testcase/failure/..")  # noqa: S314 - our own
    assert "confirmed-means-deducted" in {case.get("name") for case in red}


DEDUCT_TWICE = b"""
CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.transaction_type = 'deduct' AND pg_trigger_depth() = 1 THEN
        INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
        VALUES (NEW.item_id, NEW.order_id, NEW.quantity_change, 'deduct');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER twice AFTER INSERT ON inventory_transactions FOR EACH ROW EXECUTE FUNCTION twice();
"""


def admin_url(valerix: Valerix) -> str:
    secrets = json.loads((valerix.directory / "state" / "secrets.json").read_text())
    server = valerix.stack()["databases"]["postgres"]
    password = secrets["postgres_admin_password"]
    return f"postgresql://postgres:{password}@{server['host']}:{server['port']}/inventory_db"
