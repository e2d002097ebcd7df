"""Turning one gremlin on and off while others are on."""

from tests.unit.cli.samples import activation
from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.top.actions import toggled


def test_the_first_gremlin_has_the_defaults_of_the_command() -> None:
    asked = toggled(None, Gremlin.LATENCY)
    assert asked is not None
    assert (asked["latency"], asked["latency_ms"], asked["latency_rate"], asked["ttl_seconds"]) == (True, 5000, 1.0, 60)


def test_the_only_gremlin_turned_off_leaves_nothing() -> None:
    assert toggled(activation(), Gremlin.LATENCY) is None


def test_turning_off_one_of_two_gremlins_keeps_the_other_for_its_remaining_time() -> None:
    both = activation(crash_rate=0.25, latency_rate=0.5, remaining_seconds=17.2)
    asked = toggled(both, Gremlin.CRASH)
    assert asked is not None
    assert (asked["latency"], asked["latency_rate"], asked["crash_rate"]) == (True, 0.5, 0.0)
    assert (asked["ttl_seconds"], asked["seed"]) == (18, 42)
    asked = toggled(both, Gremlin.LATENCY)
    assert asked is not None
    assert (asked["latency"], asked["crash_rate"]) == (False, 0.25)
