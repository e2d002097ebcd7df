"""Requests that turn gremlins on."""

import math

import msgspec
import pytest
import typer

from services.inventory import gremlins
from tests.unit.cli.samples import activation
from valerix_cli.clients.chaos_request import Gremlin, merged
from valerix_cli.clients.chaos_text import notice
from valerix_cli.clients.wire import DELAY_LIMIT, TTL_LIMIT, Activation, Chaos, Count
from valerix_cli.commands.chaos import again, changed, latest, parse_delay, parse_ttl
from valerix_cli.errors import CliError
from valerix_cli.options import MOST
from valerix_cli.units import parse_share
from valerix_cli.views.chaos import chaos_line


def wanted(live: Activation | None, gremlin: Gremlin, rate: float | None = 0.3, **given: object) -> dict[str, object]:
    settings = {"delay": None, "ttl": None, "seed": None, "reason": None, **given}
    return merged(live, gremlin, rate=rate, **settings)  # type: ignore[arg-type]  # the keywords are those above


def test_latency_defaults_to_five_seconds() -> None:
    assert wanted(None, Gremlin.LATENCY) == {
        "latency": True,
        "latency_ms": 5000,
        "latency_rate": 0.3,
        "ttl_seconds": 60,
    }
    assert wanted(None, Gremlin.LATENCY, delay=0.25)["latency_ms"] == 250


@pytest.mark.parametrize("text", ["500ms", "1500ms", "0s", "20m", "901s"])
def test_an_imprecise_time_to_live_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_ttl(text)


@pytest.mark.parametrize("text", ["0s", "0.5ms", "2h", "60001ms"])
def test_an_imprecise_delay_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_delay(text)


def test_the_longest_and_the_shortest_durations_are_accepted() -> None:
    assert (parse_ttl("1s"), parse_ttl("15m"), parse_delay("1ms"), parse_delay("60s")) == (1.0, 900.0, 0.001, 60.0)


def test_the_limits_are_those_of_the_service() -> None:
    limits = msgspec.json.schema(gremlins.ActivationRequest)["$defs"]["ActivationRequest"]["properties"]
    assert (limits["ttl_seconds"]["maximum"], limits["latency_ms"]["maximum"]) == (TTL_LIMIT, DELAY_LIMIT * 1000)
    assert limits["seed"]["anyOf"][0]["maximum"] == MOST


def test_a_second_gremlin_keeps_the_first_and_its_seed() -> None:
    asked = wanted(activation(), Gremlin.PARTIAL_FAILURE, ttl=10.0)
    assert (asked["latency"], asked["latency_ms"], asked["partial_failure_rate"]) == (True, 5000, 0.3)
    assert (asked["seed"], asked["ttl_seconds"]) == (42, 10)


def test_a_new_seed_and_reason_override_live_ones() -> None:
    asked = wanted(activation(reason="old"), Gremlin.CRASH, seed=7, reason="new")
    assert (asked["seed"], asked["reason"]) == (7, "new")


@pytest.mark.parametrize(("typed", "rate"), [("0.3", 0.3), ("30%", 0.3), ("1", 1.0), ("0", 0.0)])
def test_a_rate_may_be_a_share_or_a_percentage(typed: str, rate: float) -> None:
    assert math.isclose(parse_share(typed), rate)


@pytest.mark.parametrize("typed", ["30", "-0.1", "nan", "half", "101%", "%"])
def test_an_invalid_share_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_share(typed)


def test_the_undo_command_of_chaos_off_has_the_same_seed() -> None:
    assert again(activation(crash_rate=0.3)) == [
        "valerix chaos on latency --rate 1 --delay 5000ms --ttl 60s --seed 42",
        "valerix chaos on crash --rate 0.3 --ttl 60s --seed 42",
    ]


def test_a_hit_is_a_change_and_passing_time_is_not() -> None:
    before = Chaos(halted=False, live=activation())
    aged = Chaos(halted=False, live=activation(remaining_seconds=29.0))
    hit = Chaos(halted=False, live=activation(counts={"latency": Count(1, 1)}))
    assert changed(None, before) == [before]
    assert changed(before, aged) == []
    assert changed(before, hit) == [hit]


def test_the_notice_shows_gremlins_rates_remaining_time_and_the_off_command() -> None:
    live = activation(crash_rate=0.3, latency_rate=0.5)
    assert notice(live) == "A gremlin is live: latency 5.0 s on 50 %, crash 30 %; 30 s left. Off: valerix chaos off"


def test_the_notice_of_a_script_shows_no_rates() -> None:
    scripted = activation(crash_rate=0.3, script_length=12)
    assert notice(scripted) == (
        "A gremlin is live: scripted: 12 attempts (latency, crash); 30 s left. Off: valerix chaos off"
    )
    one = Chaos(halted=False, live=activation(script_length=1))
    assert chaos_line(one) == "live: scripted: 1 attempt (latency); hits 0 of 0"


def test_an_ended_script_has_no_undo_command() -> None:
    assert again(activation(crash_rate=0.3, script_length=12)) == ["none, its script ended with it"]


def test_hits_default_to_the_live_or_the_last_activation() -> None:
    recent = [activation(id="two"), activation(id="three")]
    assert latest(Chaos(halted=False, live=activation(), recent=recent)) == "one"
    assert latest(Chaos(halted=False, live=None, recent=recent)) == "two"
    with pytest.raises(CliError, match="no hits to list"):
        latest(Chaos(halted=False, live=None))
