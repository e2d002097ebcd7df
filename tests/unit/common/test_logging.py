"""The log has one JSON object per line, whatever the message."""

import logging
import unicodedata

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from services.common import request_context
from tests.unit.common.logs import events, recorded


@given(value=st.text(st.characters()), key=st.from_regex("[a-z_]{1,10}", fullmatch=True))
@example('"}\n{"event":"forged"}', "value")
@example("a\r\nb\x00\x1b[2J\x7f", "value")
@example("\x85\x9b31m\u2028\u2029", "value")
@example("\ud800", "value")
@example("\N{PILE OF POO}", "value")
def test_an_event_with_any_characters_is_one_line(value: str, key: str) -> None:
    with recorded() as log:
        structlog.get_logger().info("said", **{f"_{key}": value, "nested": [{"value": value}]})
    (event,) = events(log)
    assert event[f"_{key}"] == event["nested"][0]["value"] == value
    assert not {unicodedata.category(character) for character in log.getvalue().removesuffix("\n")} & {"Cc", "Cs"}


@pytest.mark.parametrize("text", ["two\nlines", "\u2028", "\ud800"])
def test_the_standard_library_logs_one_line_too(text: str) -> None:
    with recorded() as log:
        logging.getLogger("psycopg.pool").warning("discarding %s", text)
    (event,) = events(log)
    assert event["event"] == f"discarding {text}"
    assert event["level"] == "warning"
    assert event["service"] == "order"


def test_a_traceback_is_one_line() -> None:
    with recorded() as log:
        try:
            int("two\nlines")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("elsewhere").exception("failed too")
    ours, theirs = events(log)
    for event in (ours, theirs):
        assert event["level"] == "error"
        assert "ValueError: invalid literal" in event["exception"]
        assert "\n" in event["exception"]


def test_an_event_has_the_service_the_time_and_the_request_id() -> None:
    token = request_context.request_id.set("request-7")
    try:
        with recorded() as log:
            structlog.get_logger().warning("said")
            structlog.get_logger().warning("said", request_id="another")
            logging.getLogger("elsewhere").warning("said")
    finally:
        request_context.request_id.reset(token)
    first, second, third = events(log)
    assert {name: first[name] for name in ("event", "level", "service", "replica", "request_id")} == {
        "event": "said",
        "level": "warning",
        "service": "order",
        "replica": "order-1",
        "request_id": "request-7",
    }
    assert first["timestamp"].endswith("Z")
    assert second["request_id"] == "another"
    assert third["request_id"] == "request-7"


def test_an_event_outside_a_request_has_no_request_id() -> None:
    with recorded() as log:
        structlog.get_logger().info("said")
    assert "request_id" not in events(log)[0]


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_events_below_the_level_are_dropped(level: str, heard: int) -> None:
    with recorded(level) as log:
        for logger in (structlog.get_logger(), logging.getLogger("elsewhere")):
            for name in ("debug", "info", "warning", "error"):
                getattr(logger, name)("said")
    assert len(events(log)) == 2 * heard


def test_values_unknown_to_json_are_logged_as_text() -> None:
    with recorded() as log:
        structlog.get_logger().info("said", error=ValueError("x"), names={"a"}, raw=b"\n", path=object)
    assert events(log)[0]["error"] == "x"
