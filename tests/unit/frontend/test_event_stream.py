"""A client that sends its last event id receives all that has changed since, once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.frontend import event_stream
from services.frontend.event_stream import MAX_POINTS, EventStream

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Update(msgspec.Struct, frozen=True):
    kind: str
    id: str
    panels: dict[str, str]
    points: list[list[float | None]]
    whole: bool


def read(message: bytes) -> Update:
    kind, id_, data = message.decode().strip().split("\n")
    update: Any = msgspec.json.decode(data.removeprefix("data: "))
    return Update(
        kind.removeprefix("event: "), id_.removeprefix("id: "), update["panels"], update["points"], update["whole"]
    )


async def next_update(follower: AsyncIterator[bytes]) -> Update:
    """Return the next message that is not a comment."""
    while True:
        message = await asyncio.wait_for(anext(follower), 5)
        if message.startswith(b"event:"):
            return read(message)


async def test_a_new_subscriber_gets_every_panel_and_then_changes() -> None:
    feed = EventStream()
    feed.publish(AT, {"queue": "none", "stock": "ten"}, (1.0,))
    follower = feed.subscribe(None)
    first = await next_update(follower)
    assert (first.kind, first.whole, first.panels, first.points) == (
        "snapshot",
        True,
        {"queue": "none", "stock": "ten"},
        [[1.0]],
    )
    feed.publish(AT, {"queue": "one", "stock": "ten"}, (2.0,))
    second = await next_update(follower)
    assert (second.kind, second.panels, second.points) == ("delta", {"queue": "one"}, [[2.0]])


async def test_a_returning_subscriber_gets_missed_changes_once() -> None:
    feed = EventStream()
    for number in range(5):
        feed.publish(AT, {"queue": str(number), "stock": "ten"}, (float(number),))
    last_event_id = (await next_update(feed.subscribe(None))).id
    for number in range(5, 9):
        feed.publish(AT, {"queue": str(number), "stock": "ten"}, (float(number),))
    missed = await next_update(feed.subscribe(last_event_id))
    assert (missed.kind, missed.panels, missed.points) == ("delta", {"queue": "8"}, [[5.0], [6.0], [7.0], [8.0]])
    assert missed.id == feed.last


async def test_a_subscriber_away_longer_than_the_charts_gets_every_panel() -> None:
    feed = EventStream()
    feed.publish(AT, {}, (0.0,))
    last_event_id = (await next_update(feed.subscribe(None))).id
    for number in range(MAX_POINTS + 1):
        feed.publish(AT, {}, (float(number),))
    missed = await next_update(feed.subscribe(last_event_id))
    assert (missed.kind, len(missed.points)) == ("snapshot", MAX_POINTS)


@pytest.mark.parametrize("last_event_id", ["of-another", "another-7", "", "x", "-1", "mine-999999", "mine-²"])
async def test_an_event_id_of_another_process_is_ignored(last_event_id: str) -> None:
    feed = EventStream("mine")
    feed.publish(AT, {"queue": "none"}, (1.0,))
    assert (await next_update(feed.subscribe(last_event_id))).whole


async def test_an_update_between_two_polls_adds_no_chart_point() -> None:
    feed = EventStream()
    feed.publish(AT, {"audit": "-"}, (1.0,))
    follower = feed.subscribe(feed.last)
    feed.publish_panels(AT, {"audit": "clean"})
    amended = await next_update(follower)
    assert (amended.panels, amended.points) == ({"audit": "clean"}, [])


async def test_a_message_is_encoded_once_for_all_subscribers() -> None:
    feed = EventStream()
    feed.publish(AT, {"queue": "none"}, (1.0,))
    followers = [feed.subscribe(None) for _ in range(50)]
    for follower in followers:
        await anext(follower)  # the retry interval
    messages = {id(await anext(follower)) for follower in followers}
    assert (len(messages), feed.subscribers) == (1, 50)


async def test_a_disconnected_subscriber_is_not_counted() -> None:
    feed = EventStream()
    follower = feed.subscribe(None)
    await anext(follower)
    assert feed.subscribers == 1
    await follower.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert feed.subscribers == 0


async def test_an_idle_stream_sends_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_INTERVAL", 0.01)
    follower = EventStream().subscribe(None)
    assert (await anext(follower)).startswith(b"retry: ")
    assert (await asyncio.wait_for(anext(follower), 5)).startswith(b":")


async def test_closing_ends_every_subscription() -> None:
    feed = EventStream()
    feed.publish(AT, {}, (1.0,))
    follower = feed.subscribe(feed.last)
    await anext(follower)
    ending = asyncio.ensure_future(anext(follower, b"the end"))
    await asyncio.sleep(0)
    feed.close()
    assert await asyncio.wait_for(ending, 5) == b"the end"
