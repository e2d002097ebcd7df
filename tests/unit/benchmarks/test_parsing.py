"""Parsing the output of pgbench, wrk and `valerix load`."""

from typing import Any

import pytest

from tests.benchmarks import bounds, drivers, loads, wrk
from tests.benchmarks.errors import Broken

PGBENCH = """\
pgbench (18.6)
transaction type: rows.sql
number of clients: 16
number of transactions actually processed: 7556
number of failed transactions: 0 (0.000%)
latency average = 4.113 ms
initial connection time = 75.402 ms
tps = 3890.519664 (without initial connection time)
"""
WRK = """\
Running 2s test @ http://127.0.0.1:3001
Requests/sec:   2656.66
{"requests":5334,"micros":2008000,"p50":22239,"p95":45860,"p99":70814,"statuses":{"202":1,"201":5333},"replayed":2,"unanswered":3}
"""
LATENCY = {"p50": 0.0107, "p90": 0.02, "p95": 0.0234, "p99": 0.05, "p999": 0.06, "mean": 0.01, "max": 0.07}


def load(answers: dict[str, int], latency: dict[str, float | None]) -> dict[str, Any]:
    """Return the output of `valerix load -o json`."""
    plan = {"rate": 500, "clients": None, "seconds": 2, "seed": 1, "key_prefix": "a-", "items": ["hot"], "mix": "hot"}
    counts = {"orders": 10, "requests": 10, "retried": 0, "replayed": 1, "outcomes": {}, "answers": answers}
    figures = {"throughput": 499.5, "error_rate": 0.0, "latency": latency, "behind": 0.1, "cpu": 0.95}
    rest = {"interrupted": False, "seconds": 2.0, "is_bottleneck": True, "checks": []}
    return {"plan": plan, **counts, **figures, **rest}


def test_pgbench_output_has_the_rate_and_the_latency() -> None:
    assert bounds.parse(PGBENCH) == bounds.Done(3890.519664, 4.113)


def test_pgbench_output_with_failed_transactions_is_refused() -> None:
    with pytest.raises(Broken, match="no figure to go by"):
        bounds.parse(PGBENCH.replace("transactions: 0 (0.000%)", "transactions: 12 (0.1%)"))


def test_empty_pgbench_output_is_refused() -> None:
    with pytest.raises(Broken, match="it said nothing"):
        bounds.parse("")


def test_wrk_output_has_a_rate_per_second_and_times_in_milliseconds() -> None:
    sample = wrk.parse(WRK)
    assert (sample.per_second, sample.p50, sample.p95, sample.p99) == (2656.4, 22.24, 45.86, 70.81)
    assert list(sample.statuses.items()) == [("201", 5333), ("202", 1)]
    assert (sample.replayed, sample.unanswered) == (2, 3)


def test_wrk_output_without_its_last_line_is_refused() -> None:
    with pytest.raises(Broken, match="no figures"):
        wrk.parse("unable to connect to 127.0.0.1:3001 Connection refused\n")


def test_a_load_without_an_answered_request_is_refused() -> None:
    silent = '{"requests":0,"micros":2000000,"p50":0,"p95":0,"p99":0,"statuses":{},"replayed":0,"unanswered":64}'
    with pytest.raises(Broken, match="64 requests got no answer"):
        wrk.parse(silent)


def test_valerix_load_output_has_counts_by_status_and_milliseconds() -> None:
    answers = {"201 confirmed": 6, "409 insufficient-stock": 1, "409 request-in-flight": 1, "timeout": 2}
    sample = loads.sample_of(load(answers, dict(LATENCY)))
    assert (sample.statuses, sample.unanswered) == ({"201": 6, "409": 2}, 2)
    assert (sample.per_second, sample.p50, sample.p95, sample.p99) == (499.5, 10.7, 23.4, 50.0)
    assert sample.limited


def test_valerix_load_output_without_a_response_is_refused() -> None:
    with pytest.raises(Broken, match="2 requests got no answer"):
        loads.sample_of(load({"timeout": 2}, dict.fromkeys(LATENCY)))


def test_valerix_load_is_used_without_wrk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert drivers.choose(None).name == "valerix load"


def test_a_requested_wrk_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Broken, match="There is no wrk"):
        drivers.choose("wrk")
