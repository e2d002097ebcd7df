"""The screen: never larger than the terminal, without loss of important parts, and readable without colour."""

import re

import msgspec
import pytest
from rich.text import Text

from tests.unit.demo.samples import FACTS, frame
from valerix_cli.demo.model import Fact, Outcome
from valerix_cli.demo.renderer import changes, render
from valerix_cli.demo.screens import bars
from valerix_cli.demo.script import STORY

SIZES = [(80, 24), (160, 50), (120, 30), (100, 30), (60, 20), (20, 5)]
NAMES = [step.name for step in STORY]


def plain(lines: list[str]) -> list[str]:
    return [Text.from_ansi(line).plain for line in lines]


def words(lines: list[str]) -> str:
    """Return all words of the screen, without its line breaks."""
    return " ".join(" ".join(plain(lines)).split())


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_a_screen_is_exactly_as_large_as_the_terminal(name: str, size: tuple[int, int], *, colour: bool) -> None:
    for notes in (False, True):
        lines = plain(render(frame(name, notes=notes), size, colour=colour))
        assert len(lines) <= size[1]
        assert max(Text(line).cell_len for line in lines) <= size[0]


@pytest.mark.parametrize("notes", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_80_columns_and_24_lines_show_the_essentials(name: str, *, notes: bool) -> None:
    shown = words(render(frame(name, notes=notes), (80, 24), colour=False))
    step = STORY[NAMES.index(name)]
    assert step.title in shown
    assert step.text in shown
    assert "HELD after 10 s" in shown or "HELD after 11 s" in shown
    for fact in FACTS.get(name, []):
        assert " ".join(fact) in shown
    for figure in ("19.8 orders/s", "p50 17 ms", "p95 3.0 s", "backlog 1288", "order-1 open", "order-2 half-open"):
        assert figure in shown
    assert "latency 5.0 s on 100 %, 1 m 53 s left" in shown
    assert "n next" in shown or "n end" in shown
    if name not in FACTS:
        assert (step.notes if notes else f"$ {step.by_hand[0]}") in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_large_terminal_shows_the_agenda_the_commands_and_the_notes_at_once(name: str) -> None:
    lines = plain(render(frame(name, notes=True), (160, 50), colour=False))
    right = " ".join(" ".join(line[108:] for line in lines).split())
    step = STORY[NAMES.index(name)]
    assert step.notes in right
    assert "The last minute" in right
    shown = "\n".join(lines)
    assert all(one.title.split(",")[0] in shown for one in STORY)
    assert all(f"$ {command[:40]}" in shown for command in step.by_hand)


def test_a_screen_without_colour_has_no_colour_codes() -> None:
    sent = "".join(render(frame(), (80, 24), colour=False))
    codes = {int(code) for codes in re.findall(r"\x1b\[([\d;]*)m", sent) for code in codes.split(";") if code}
    assert not {code for code in codes if 30 <= code <= 49 or 90 <= code <= 107}
    assert re.search(r"\x1b\[[\d;]*3[1-6]", "".join(render(frame(), (80, 24), colour=True)))


@pytest.mark.parametrize("outcome", ["held", "missed", "violated", "skipped"])
def test_the_outcome_of_a_step_is_shown_as_one_word(outcome: Outcome) -> None:
    result = msgspec.structs.replace(frame("calm").result, outcome=outcome, why="not within 20 s: the breakers to open")
    shown = words(render(frame("calm", result=result), (80, 24), colour=False))
    assert outcome.upper() in shown
    assert "not within 20 s: the breakers to open" in shown


def test_a_running_step_shows_its_condition_its_duration_and_ignored_keys() -> None:
    shown = words(
        render(
            frame(under_way=True, waiting_for="the breakers to open", seconds=3.2, hint="still under way"),
            (80, 24),
            colour=False,
        )
    )
    assert "under way, 3.2 s of at most 90 s" in shown
    assert "waiting for the breakers to open" in shown
    assert shown.endswith("still under way")


def test_control_codes_in_facts_are_escaped() -> None:
    result = msgspec.structs.replace(frame("calm").result, facts=[Fact("item", "mon\x1b[2Jitor")])
    assert "\x1b[2J" not in "".join(render(frame("calm", result=result), (80, 24), colour=True))


def test_only_the_lines_that_have_changed_are_sent() -> None:
    assert "".join(changes(["one", "two", "three"], ["one", "TWO", "three"])) == "\x1b[2;1HTWO\x1b[0m\x1b[K"


def test_bars_have_the_height_of_their_values_and_a_limited_number() -> None:
    assert bars([0.0, 0.5, 1.0, None], 10, 1.0) == "▁▅█ "
    assert len(bars([1.0] * 240, 38, 1.0)) <= 38
    assert bars([0.01] * 3, 10, 1.0) == "▁▁▁"


def test_the_demo_has_ten_steps_with_unique_names_and_titles() -> None:
    assert len(STORY) == len({step.name for step in STORY}) == len({step.title for step in STORY}) == 10
