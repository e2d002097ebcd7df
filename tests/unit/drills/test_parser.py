"""Drill files: valid ones are parsed, and every mistake is reported with its line and the nearest name."""

import re
from fractions import Fraction

import jsonschema
import pytest
import yaml

from valerix_cli.drills import model, parser
from valerix_cli.errors import BadUsageError

GOOD = """\
name: checkout-survives-slow-inventory
seed: 42
load: {rate: 50/s, for: 30s, retry: {times: 3, same_key: true}}
steady: {window: 10s, require: ["error_rate < 1%", "p95 < 300ms"]}
faults:
  - {at: 10s, gremlin: latency, delay: 5s, rate: 1.0, ttl: 15s}
  - {at: 12s, kill: inventory, restart_after: 2s}
expect: ["breaker opened within 10s", "error_rate < 1%", "p95 < 3s"]
recover: {within: 30s, require: ["breaker closed", "backlog == 0", "p95 < 300ms"]}
invariants: all
abort: ["error_rate > 60% for 5s"]
"""

SLIPS = [
    ("gremlin: latency", "gremlim: latency", 6, "unknown field `gremlim`; perhaps `gremlin`"),
    ("times: 3", "tmes: 3", 3, "unknown field `tmes`; perhaps `times`"),
    ("name: ", "nme: ", 1, "unknown field `nme`; perhaps `name`"),
    ("kill: inventory", "kill: inventori", 7, "order, inventory, worker"),
    ("p95 < 300ms", "p96 < 300ms", 4, "perhaps p99"),
    ("error_rate < 1%", "error_rate < 1s", 4, "written as 1% or 0.01"),
    ("breaker closed", "breaker shut", 9, "perhaps breaker closed"),
    ("opened within 10s", "opened within ages", 8, "not a length of time"),
    ("delay: 5s", "delay: fast", 6, "not a length of time"),
    ("rate: 1.0", "rate: 1.5", 6, "not a share"),
    ("rate: 50/s", "rate: 50", 3, "not a rate"),
    ("rate: 50/s", "rate: 50/s, clients: 5", 3, "either a `rate` or `clients`"),
    (", ttl: 15s", ", ttl: 16m", 6, "at most 900 s"),
    (", ttl: 15s", ", kill: order", 6, "this is gremlin and kill"),
    ("kill: inventory, restart_after: 2s", "stop: inventory", 7, "`stop` needs `for`"),
    ("at: 10s", "at: 40s", 6, "never comes"),
    ("at: 10s", "at: 9s", 6, "falls into the steady window"),
    ("invariants: all", "invariants: [settld]", 10, "perhaps `settled`"),
    ("seed: 42", "seed: -1", 2, "a whole number, at least 0"),
    ("same_key: true", "same_key: false", 3, "keeps the key of its order"),
    ("gremlin: latency", "gremlin: latncy", 6, "perhaps `latency`"),
    ("faults:\n", "faults: [\n", 6, "expected"),
    ("seed: 42", "seed: 42\nseed: 42", 3, "`seed` is there already, in line 2"),
    ("window: 10s", "window: 10s, window: 9s", 4, "`window` is there already"),
    ("kill: inventory", "kill: inventory, ttl: 5s", 7, "`kill` has no `ttl`; it takes `restart_after`"),
    ("kill: inventory", "kill: inventory, rate: 10%", 7, "`kill` has no `rate`"),
    ("kill: inventory", "kill: inventory, delay: 5s", 7, "`kill` has no `delay`"),
    ("{at: 12s, kill: inventory, restart_after: 2s}", "5", 7, "has to be an object"),
    ("at: 10s", "at: 30s", 6, "never comes"),
    (
        "error_rate > 60% for 5s",
        "p999 > 3s for 10s",
        11,
        "p999 is measured from 1,000 orders on, and in 10 s there are 500",
    ),
    ("error_rate > 60% for 5s", "error_rate > 60% for 31s", 11, "it is over 31 s, and the load ends after 30 s"),
    ("kill: inventory, restart_after", "restart: inventory, for", 7, "`restart` has no `for`; it takes nothing more"),
    ("gremlin: latency", "gremlin: crash", 6, "crash has no `delay`"),
    ("p95 < 3s", "p95 < 3s for 1h", 8, "here a figure is over all that was due from the first fault on"),
    ("p95 < 300ms", "p95 < 300ms for 1s", 4, "here a figure is over the whole window"),
    ("backlog == 0", "backlog == 0 for 9s", 9, "here a figure is over the last 5 s"),
    ("breaker closed", "breaker closed within 1s", 9, "only `breaker opened` has a `within`"),
    ("breaker opened within", "breaker stayed closed within", 8, "only `breaker opened` has a `within`"),
    ("p95 < 300ms", "p999 < 300ms", 4, "p999 is measured from 1,000 orders on, and in 10 s there are 500"),
    ("rate: 50/s", "rate: 3/s", 9, "p95 is measured from 20 orders on, and in 5 s there are 15"),
    ("invariants: all", "invariants: []", 10, "at least 1 entry"),
    ("window: 10s", "window: 0s", 4, "does not fit"),
    ("window: 10s", "window: 30s", 4, "does not fit"),
    ("seed: 42", "seed: 010", 2, "a whole number, not "),
    ("same_key: true", "same_key: yes", 3, "true or false, not text"),
    ("times: 3", "times: 1:30", 3, "a whole number, not "),
    ("window: 10s", "window: 1:30", 4, "not a length of time"),
    ("seed: 42", "seed: 1_000", 2, "a whole number, not "),
    ("seed: 42", f"seed: {'9' * 400}", 2, "a whole number, not "),
    ("rate: 50/s", "rate: 1e400/s", 3, "not a rate"),
]


def test_a_drill_is_parsed_with_durations_in_seconds_and_shares() -> None:
    drill = parser.parse(GOOD, "good.yaml")
    assert (drill.load.rate, drill.load.seconds, drill.load.retry.times) == (50.0, 30.0, 3)
    latency, kill = drill.faults
    assert (latency.kind, latency.target, latency.at, latency.delay, latency.rate, latency.ttl) == (
        "gremlin",
        "latency",
        10.0,
        5.0,
        1.0,
        15.0,
    )
    assert (kill.kind, kill.target, kill.restart_after) == ("kill", "inventory", 2.0)
    opened, errors, _ = drill.expect
    assert (opened.breaker, opened.within) == ("opened", 10.0)
    assert errors.gate is not None
    assert (errors.gate.metric, errors.gate.limit) == ("error_rate", Fraction(1, 100))
    assert drill.abort[0].lasting == 5
    assert drill.affects_processes


@pytest.mark.parametrize(("right", "wrong", "line", "why"), SLIPS, ids=[wrong for _, wrong, _, _ in SLIPS])
def test_a_mistake_is_reported_with_its_line_and_a_suggestion(right: str, wrong: str, line: int, why: str) -> None:
    text = GOOD.replace(right, wrong, 1)
    assert text != GOOD
    with pytest.raises(BadUsageError) as refused:
        parser.parse(text, "drill.yaml")
    assert refused.value.what == "drill.yaml is not a valid drill file."
    assert refused.value.why.startswith(f"line {line}: ")
    assert why in refused.value.why


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("load: {rate: 4/s, for: 30s}\nrecover: {within: 9s, require: [p95 < 1s]}", None),
        ("load: {rate: 50/s, for: 30s}\nsteady: {window: 500ms, require: [p95 < 1s]}", None),
        ("load: {clients: 1, for: 1s}\nexpect: [p999 < 1s]", None),
        ("load: {rate: 50/s, for: 5s}\nabort: [dead > 3]", None),
        ("load: {rate: 50/s, for: 4s}\nabort: [dead > 3]", "line 3: it is over 5 s, and the load ends after 4 s"),
        ("load: {rate: 50/s, for: 4s}\nabort: [dead > 3 for 4s]", None),
        (
            "load: {rate: 50/s, for: 30s}\nfaults: [{at: 29900ms, flush: redis}]\nexpect: [p95 < 1s]",
            "line 4: p95 is measured from 20 orders on, and in 0.1 s there are 5",
        ),
        ("load: {rate: 10/s, for: 30s}\nabort: [p95 > 1s for 1s]", "in 1 s there are 10"),
        ("load: {rate: 10/s, for: 30s}\nabort: [p95 > 1s for 2s]", None),
    ],
)
def test_a_requirement_that_could_never_be_measured_is_refused(rest: str, reason: str | None) -> None:
    if reason is None:
        assert parser.parse(f"name: x\n{rest}", "x.yaml").name == "x"
        return
    with pytest.raises(BadUsageError) as refused:
        parser.parse(f"name: x\n{rest}", "x.yaml")
    assert reason in refused.value.why


def test_all_mistakes_of_a_file_are_reported_with_their_lines() -> None:
    slips = [
        slip for slip in SLIPS if slip[0] in {"times: 3", "p95 < 300ms", "delay: 5s", "kill: inventory", "seed: 42"}
    ]
    by_line = {line: [(right, wrong, why) for right, wrong, at, why in slips if at == line] for line in (2, 3, 4, 6, 7)}
    text = GOOD
    for each in by_line.values():
        right, wrong, _ = each[0]
        text = text.replace(right, wrong, 1)
    with pytest.raises(BadUsageError) as refused:
        parser.parse(text, "drill.yaml")
    assert refused.value.why.startswith("5 mistakes: ")
    for line, each in by_line.items():
        assert f"line {line}: " in refused.value.why
        assert each[0][2] in refused.value.why


def test_the_line_of_a_mistake_is_correct_after_others_in_its_list() -> None:
    faults = [
        "{at: 1s}",
        "{at: 2s, kill: order}",
        "{at: 3s, kill: ordr}",
        "{at: 4s, stop: order}",
        "{at: 40s, kill: order}",
    ]
    text = "\n".join(["name: x", "load: {rate: 50/s, for: 30s}", "faults:", *(f"  - {fault}" for fault in faults)])
    with pytest.raises(BadUsageError) as refused:
        parser.parse(text, "drill.yaml")
    lines = [int(line) for line in re.findall(r"line ([0-9]+):", refused.value.why)]
    assert lines == [4, 6, 7, 8]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("{at: 1s, gremlin: [crash], delay: 5s}", "line 3: "),
        ("{at: 1s, kill: order, 5: x, ttl: 3s, y: 2}", "unknown field `5`"),
        ("{at: 1s, gremlin: latency, delay: 2h}", "`delay` is more than 0 s and at most 60 s"),
    ],
)
def test_a_malformed_fault_is_refused_with_its_mistake(fault: str, why: str) -> None:
    with pytest.raises(BadUsageError) as refused:
        parser.parse(f"name: x\nload: {{rate: 50/s, for: 30s}}\nfaults: [{fault}]", "drill.yaml")
    assert why in refused.value.why


def test_a_mistake_is_reported_once_without_its_consequences() -> None:
    with pytest.raises(BadUsageError) as refused:
        parser.parse(
            GOOD.replace("gremlin: latency", "gremlim: latency").replace("rate: 50/s", "rate: 50"), "drill.yaml"
        )
    assert refused.value.why.startswith("2 mistakes: ")


@pytest.mark.parametrize(
    "text", ["", "[]", "name", "42", "a: b: c", "\t", "name: x\nname: y", "{}", "a: &a [*a]", "? [a]\n: b", "1: 2"]
)
def test_a_file_that_is_not_a_drill_is_refused(text: str) -> None:
    with pytest.raises(BadUsageError, match="is not a valid drill file"):
        parser.parse(text, "drill.yaml")


def test_every_shipped_drill_is_valid_described_and_named_like_its_file() -> None:
    shipped = [*parser.shipped()]
    assert {file.origin.removesuffix(".yaml") for file in shipped} == {file.drill.name for file in shipped}
    assert {file.drill.name for file in shipped} == {
        *("slow-inventory", "crashing-inventory", "schrodinger", "seed-chaos", "redis-gone"),
        *("database-restart", "worker-killed", "flash-sale", "zero-downtime"),
    }
    assert all(len(file.drill.description) > 100 and file.drill.expect for file in shipped)


def test_the_published_schema_agrees_with_the_parser() -> None:
    schema = model.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for file in parser.shipped():
        jsonschema.validate(yaml.safe_load(file.text), schema)
    for wrong in ("gremlim: latency", "tmes: 3", "kill: inventori", "delay: fast"):
        right = next(right for right, slip, _, _ in SLIPS if slip == wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(GOOD.replace(right, wrong, 1)), schema)


def test_an_unknown_drill_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadUsageError, match="Unknown drill `flash-sail`") as refused:
        parser.find("flash-sail")
    assert refused.value.hint == "valerix drill show flash-sale"
    with pytest.raises(BadUsageError, match="no such file"):
        parser.find("nowhere/drill.yaml")
