"""The screen of `valerix top`, and its keys."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.cli.samples import order
from tests.unit.top.samples import item, snapshot
from tests.unit.top.screen import LOW, STAGING, TALL, saved, showing
from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.clients.wire import Chaos, DrillLease, Queue
from valerix_cli.errors import UnreachableError
from valerix_cli.top.feed import Feed, fold
from valerix_cli.top.model import Reading, Services, Snapshot

ESSENTIAL = [
    "running for 70 s",
    "inventory-1",
    "backing-off",
    "3 (exit -9)",
    "redis",
    "42 per s, 3.0 replayed, 1.5 errors",
    "p50    12 ms",
    "p99    2.4 s",
    "over limit",
    "order-1  open, next trial in 6.4 s",
    "12 of 20 calls failed",
    "worker-1  closed",
    "42 s",
    "37 of 50 hit",
    "7 queued, oldest 12 s",
    "1 dead",
    "confirmed",
    "q quit",
]


@pytest.mark.parametrize("size", [LOW, TALL])
async def test_the_essentials_fit_without_scrolling(size: tuple[int, int]) -> None:
    async with showing(size=size) as screen:
        await screen.until_shown(*ESSENTIAL)
        assert len(screen.lines) <= size[1]
        assert max(map(len, screen.lines)) <= size[0]


async def test_a_low_screen_shows_orders_stock_and_audit_in_turn() -> None:
    async with showing() as screen:
        assert "sold out" not in screen.text
        await screen.press("v")
        await screen.until_shown("Stock, lowest first", "sold out  mouse")
        await screen.press("v")
        await screen.until_shown("Not audited yet")
        await screen.press("v")
        await screen.until_shown("Orders  » sent here")


async def test_a_tall_screen_shows_everything_and_the_latency_history() -> None:
    async with showing(size=TALL) as screen:
        await screen.until_shown("sold out  mouse", "Not audited yet", "Orders  » sent here", "╌ is the limit", "a-key")
        assert "v view" not in screen.text


async def test_a_larger_terminal_shows_more() -> None:
    async with showing() as screen:
        await screen.until_shown("v view")
        await screen.resize(*TALL)
        await screen.until_shown("sold out  mouse", "╌ is the limit")
        await screen.until(lambda: "v view" not in screen.text)


@pytest.mark.parametrize("size", [(60, 15), (20, 5)])
async def test_a_too_small_terminal_shows_what_fits(size: tuple[int, int]) -> None:
    async with showing(size=size) as screen:
        await screen.until_shown("valerix top", "order-1")


async def test_the_scarcest_item_comes_first() -> None:
    stock = Reading([item("ps5", 100), item("mouse", 0), item("webcam", 7)])
    async with showing(snapshot(stock=stock), TALL) as screen:
        places = [screen.text.index(f"{name}  ") for name in ("MOUSE", "WEBCAM", "PS5")]
        assert places == sorted(places)


async def test_states_are_distinguishable_without_colours() -> None:
    async with showing() as screen:
        row = next(line for line in screen.lines if "▁█" in line)
        assert row.rstrip().endswith("▁████")


async def test_an_order_is_placed_by_key_and_its_repeat_is_a_replay() -> None:
    async with showing(size=TALL) as screen:
        await screen.press("o")
        await screen.until_shown("Place an order on `local`", "Key top-")
        assert not screen.actions.done
        await screen.press("enter")
        await screen.until_shown("1 x ps5: confirmed")
        await screen.press("a")
        await screen.until_shown("confirmed, replayed")
        first, second = screen.actions.done
        assert first == second
        assert isinstance(first, OrderRequest)
        assert (first.item_id, first.quantity) == ("ps5", 1)


async def test_an_invalid_quantity_is_not_sent() -> None:
    async with showing() as screen:
        await screen.press("o", "tab", "backspace", "0", "enter")
        await screen.until_shown("from 1 to 1000")
        await screen.press("escape")
        assert not screen.actions.done


async def test_a_resend_needs_an_earlier_order() -> None:
    async with showing() as screen:
        await screen.press("a")
        await screen.until_shown("Nothing was sent from here yet")
        assert not screen.actions.done


async def test_a_running_drill_is_shown() -> None:
    lease = DrillLease("20261130-small", "slow-inventory", "ann@laptop", datetime.now(UTC), 12.0)
    async with showing(snapshot(chaos=Reading(Chaos(halted=False, live=None, drill=lease)))) as screen:
        await screen.until_shown("Drill slow-inventory runs")


async def test_a_gremlin_requires_confirmation() -> None:
    async with showing(snapshot(chaos=Reading(Chaos(halted=False, live=None)))) as screen:
        for no in ("n", "escape", "enter"):
            await screen.press("g", "c")
            await screen.until_shown("Turn crash on for `local`?", "for 60 s")
            await screen.press(no)
            await screen.until(lambda: "Turn crash on for" not in screen.text)
        assert not screen.actions.done
        await screen.press("g", "c", "y")
        await screen.until_shown("Live now: latency")
        assert screen.actions.done == [Gremlin.CRASH]


async def test_a_live_gremlin_is_offered_to_be_turned_off() -> None:
    async with showing() as screen:
        await screen.press("g")
        await screen.until_shown("l  turn latency off", "c  turn crash on")
        await screen.press("l")
        await screen.until_shown("Turn latency off for `local`?")


async def test_a_remote_platform_is_named_before_every_action() -> None:
    async with showing(context=STAGING) as screen:
        await screen.press("g", "c")
        await screen.until_shown("for `staging` (https://orders.staging.example)?")
        await screen.press("n", "o")
        await screen.until_shown("on `staging` (https://orders.staging.example)")
        await screen.press("escape", "x")
        await screen.until_shown("Turn all gremlins off for `staging`")
        await screen.press("n")
        assert not screen.actions.done


async def test_all_local_gremlins_are_turned_off_without_confirmation() -> None:
    async with showing() as screen:
        await screen.press("x")
        await screen.until_shown("Off: latency")
        assert screen.actions.done == ["calm"]


@pytest.mark.parametrize("size", [LOW, TALL])
async def test_an_audit_shows_violations_first(size: tuple[int, int]) -> None:
    async with showing(size=size) as screen:
        await screen.press("u")
        await screen.until_shown("violated at", "no-oversell (violated, 1)", "ps5: has -1", "1 rules held")


async def test_a_failed_action_is_reported_and_the_screen_continues() -> None:
    async with showing() as screen:
        screen.actions.wrong = UnreachableError("The order service is unreachable.", "refused", "valerix status")
        await screen.press("u")
        await screen.until_shown("The order service is unreachable.")
        await screen.press("v", "o", "enter")
        await screen.until_shown("refused")


async def test_an_unreachable_service_shows_the_last_values_and_their_age() -> None:
    away = snapshot(queue=Reading(Queue(7, 12.0, 1, 50_000, []), 12.0, "The order service is unreachable."))
    async with showing(away) as screen:
        await screen.until_shown("Queue, 12 s old", "The order service is unreachable.", "7 queued")


async def test_a_panel_that_needs_the_operator_token_shows_it() -> None:
    fault = "An operator's token is needed to read the breaker."
    async with showing(snapshot(breaker=Reading(None, fault=fault)), TALL) as screen:
        await screen.until_shown(fault)


async def test_a_stopped_platform_is_shown_again_when_it_returns() -> None:
    stopped = snapshot(services=Reading(Services("stopped", [])))
    looks = itertools.chain([snapshot(), stopped], itertools.repeat(snapshot()))
    async with showing(lambda: next(looks)) as screen:
        await screen.until_shown("stopped, waiting for it", "No platform runs here.")
        await screen.until_shown("running for 70 s", "inventory-1")


async def test_a_pause_freezes_the_screen() -> None:
    looks: list[Snapshot] = []

    def look() -> Snapshot:
        looks.append(snapshot(queue=Reading(Queue(len(looks), None, 0, 50_000, []))))
        return looks[-1]

    async with showing(look) as screen:
        await screen.press("p")
        await screen.until_shown("PAUSED")
        held, then = next(line for line in screen.lines if "queued of" in line), len(looks)
        await screen.until(lambda: len(looks) > then + 1)
        assert held in screen.lines
        await screen.press("p")
        await screen.until(lambda: held not in screen.lines)


async def test_the_screen_is_saved_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with showing() as screen:
        await screen.press("s")
        await screen.until_shown("Saved as valerix-top-")
        assert saved(tmp_path) == ["<svg"]


async def test_help_lists_keys_and_the_sources_of_values() -> None:
    async with showing() as screen:
        await screen.press("question_mark")
        await screen.until_shown("a  send the last order again", "buckets of http_request_duration_seconds")


async def test_text_of_a_client_is_not_interpreted_as_markup() -> None:
    feed = fold(Feed(), [order(item_id="[bold]x\x1b[2J")])
    async with showing(snapshot(feed=Reading(feed)), TALL) as screen:
        await screen.until_shown("[bold]x\\x1b[2J")


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+c", 130)])
async def test_the_exit_code_depends_on_the_key_pressed(key: str, code: int) -> None:
    async with showing() as screen:
        await screen.press(key)
        assert (screen.app.return_code or 0) == code
