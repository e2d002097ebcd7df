"""Settings of a service, and their validation."""

import pytest

from services.common.crash_points import arm, crash_point
from services.common.settings import SettingsError, read
from services.inventory.settings import InventorySettings
from services.order.settings import OrderSettings
from tests.unit.common.environment import ENVIRON, TOKENS


def refused(**variables: str) -> str:
    """Return the reason for which these variables, named without their prefix, are refused."""
    with pytest.raises(SettingsError) as caught:
        read(OrderSettings, ENVIRON | {f"VALERIX_{name}": value for name, value in variables.items()})
    return str(caught.value)


def settings_with(**variables: str) -> OrderSettings:
    return read(OrderSettings, ENVIRON | {f"VALERIX_{name}": value for name, value in variables.items()})


def test_optional_settings_have_defaults() -> None:
    settings = read(OrderSettings, ENVIRON)
    assert settings.port == 3001
    assert settings.service_tokens == (TOKENS[0],)
    assert settings.inventory_url == ("http://127.0.0.1:3002",)
    assert settings.lease_seconds == 10.0
    assert settings.chaos_allowed is False
    assert read(InventorySettings, ENVIRON).replica == "order-1"


@pytest.mark.parametrize("name", sorted(ENVIRON))
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_missing_or_empty_setting_is_reported(name: str, empty: str | None) -> None:
    environ = {other: value for other, value in ENVIRON.items() if other != name}
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        read(OrderSettings, environ if empty is None else environ | {name: empty})


def test_variables_without_the_prefix_or_a_field_are_ignored() -> None:
    assert settings_with(ORDER_PORT="tcp://10.0.0.1:3001") == read(OrderSettings, ENVIRON | {"PORT": "99"})


def test_lists_are_separated_by_commas_ignoring_whitespace() -> None:
    assert settings_with(SERVICE_TOKENS=f" {TOKENS[0]} ,{TOKENS[1]},").service_tokens == (TOKENS[0], TOKENS[1])
    assert settings_with(INVENTORY_URL="http://a:1,http://b:2").inventory_url == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.b.example/", "http://10.0.0.1:3002/behind/a/path", "http://[fd00::1]:3002"]
)
def test_inventory_may_have_any_http_url(url: str) -> None:
    assert settings_with(INVENTORY_URL=url).inventory_url == (url,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "tcp://10.0.0.1:3001"),
        ("CHAOS_ALLOWED", "maybe"),
        ("LOG_LEVEL", "loud"),
        ("RATE_LIMIT_PER_MINUTE", "-1"),
        ("TRUSTED_HOPS", "11"),
        ("DATABASE_CONNECTIONS", "0"),
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "nan"),
        ("LEASE_SECONDS", "inf"),
        ("INVENTORY_TIMEOUT_SECONDS", "inf"),
        ("BACKLOG_CAP", "0"),
        ("MAX_ATTEMPTS", "0"),
        ("BREAKER_THRESHOLD_PERCENT", "0"),
        ("BREAKER_THRESHOLD_PERCENT", "101"),
        ("BREAKER_MINIMUM_CALLS", "0"),
        ("BREAKER_OPEN_SECONDS", "-1"),
        ("INVENTORY_URL", "inventory:3002"),
        ("INVENTORY_URL", "http://a:1,b:2"),
        ("INVENTORY_URL", "http://a:http"),
        ("INVENTORY_URL", "http://somebody:password@a:1"),
        ("INVENTORY_URL", "http://a:1/?of=mine"),
        ("INVENTORY_URL", ","),
    ],
)
def test_a_value_out_of_bounds_is_reported(name: str, value: str) -> None:
    assert refused(**{name: value}).startswith(f"VALERIX_{name} ")


@pytest.mark.parametrize("name", ["SERVICE_TOKENS", "OPERATOR_TOKENS"])
@pytest.mark.parametrize(
    "value",
    [
        "short",
        "fifteen-letters",
        f"{TOKENS[1]},short",
        ",".join([TOKENS[1], TOKENS[3], "x-0a1b2c3d4e5f6789"]),
        "changeme-changeme-changeme",
        "CHANGE-ME-BEFORE-PRODUCTION",
        "placeholder-for-a-token",
        "secret-secret-secret",
        "token-token-token-1",
        "password-1234567890",
        "example-0123456789",
        "test-0123456789abc",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "ababababababababab",
        f"{TOKENS[1]},changeme-changeme",
    ],
)
def test_a_token_that_is_short_or_a_placeholder_or_one_too_many_is_refused(name: str, value: str) -> None:
    why = refused(**{name: value})
    assert why.startswith(f"VALERIX_{name}")
    assert value not in why


def test_a_token_may_not_be_used_for_two_levels() -> None:
    why = refused(SERVICE_TOKENS=f"{TOKENS[0]},{TOKENS[1]}", OPERATOR_TOKENS=f"{TOKENS[2]},{TOKENS[1]}")
    assert "share a token" in why
    assert TOKENS[1] not in why


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        read(OrderSettings, ENVIRON).port = 1  # type: ignore[misc]  # the subject of the test


POINTS = frozenset({"before-commit", "after-commit"})


def test_a_crash_point_needs_permission() -> None:
    with pytest.raises(SettingsError, match="VALERIX_CHAOS_ALLOWED"):
        arm(settings_with(CRASH_AT="after-commit"), POINTS)
    with pytest.raises(SettingsError, match="VALERIX_CHAOS_ALLOWED"):
        arm(settings_with(CRASH_AT="after-commit", CHAOS_ALLOWED="0"), POINTS)


def test_an_unknown_crash_point_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'nowhere'.*after-commit, before-commit"):
        arm(settings_with(CRASH_AT="nowhere", CHAOS_ALLOWED="1"), POINTS)


def test_a_crash_point_that_is_not_armed_does_nothing() -> None:
    crash_point("after-commit")
    arm(settings_with(CRASH_AT="before-commit", CHAOS_ALLOWED="1"), POINTS)
    crash_point("after-commit")
    crash_point()
    arm(settings_with(CHAOS_ALLOWED="1"), POINTS)
    crash_point("before-commit")
