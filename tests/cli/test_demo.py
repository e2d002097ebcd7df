"""The demo on real platforms: automatic, controlled by keys on a terminal, and interrupted."""

import json
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import psutil
import pytest

from tests.cli.conftest import PATIENCE, PROGRAM, Valerix
from tests.processes import eventually, open_directory
from valerix_cli.commands.schema import SHAPES
from valerix_cli.demo.script import STORY
from valerix_cli.demo.tampering import LedgerTampering, admin_url
from valerix_cli.local.restart_holds import hold
from valerix_cli.local.stack import read_stack

pytestmark = pytest.mark.timed

LIMIT = 240  # seconds that the whole demo may take


@pytest.fixture(scope="module")
def bare() -> Iterator[Valerix]:
    """A state directory without a platform, with the default breaker settings."""
    with open_directory("demo") as directory:
        valerix = Valerix(directory)
        del valerix.environ["VALERIX_BREAKER_OPEN_SECONDS"]
        yield valerix


@pytest.fixture(scope="module")
def shop(bare: Valerix) -> Iterator[Valerix]:
    """A platform as `valerix up` starts it."""
    bare("up", "--detach")
    try:
        yield bare
    finally:
        bare("down")


def live(valerix: Valerix) -> Callable[[], bool]:
    return lambda: valerix.json("chaos", "status")["live"] is not None


@pytest.mark.long
def test_an_automatic_demo_passes_every_step_and_leaves_nothing(bare: Valerix, tmp_path: Path) -> None:
    cast, stills = tmp_path / "demo.cast", tmp_path / "stills"
    running = bare.start("demo", "--auto", "--fresh", "--record", str(cast), "--stills", str(stills), "-o", "json")
    out, err = running.communicate(timeout=LIMIT)
    assert running.returncode == 0, err
    found = json.loads(out)
    jsonschema.validate(found, msgspec.json.schema(SHAPES["demo"]))
    assert [(one["name"], one["outcome"]) for one in found["steps"]] == [(step.name, "held") for step in STORY]
    assert found["left"] == []
    assert [one["text"].partition(":")[0] for one in found["steps"][-1]["facts"] if one["name"] == "audit"] == [
        "VIOLATED",
        "clean",
    ]
    assert_plays(cast)
    assert_drawn(stills)
    home = found["steps"][0]["by_hand"][0].partition("=")[2]
    assert not Path(home).exists()
    assert [process.pid for process in psutil.process_iter() if home in _typed(process)] == []


def assert_plays(cast: Path) -> None:
    """Assert that a recording has a header, then events in order of time, with every step."""
    header, *events = [json.loads(line) for line in cast.read_text(encoding="utf-8").splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 100, 30)
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    assert {kind for _, kind, _ in events} == {"o"}
    text = "".join(data for _, _, data in events)
    assert [step.title for step in STORY if step.title not in text] == []
    assert "VIOLATED" in text
    assert "\x1b[?1049l" in events[-1][2]


def assert_drawn(stills: Path) -> None:
    """Assert that there is a picture of each step, without external resources."""
    drawn = sorted(stills.iterdir())
    assert [path.name for path in drawn] == [
        f"{number:02}-{step.name}.svg" for number, step in enumerate(STORY, start=1)
    ]
    for path, step in zip(drawn, STORY, strict=True):
        root = ET.parse(path).getroot()  # noqa: S314 - our own
        assert root.tag.endswith("svg")
        assert step.title in " ".join("".join(root.itertext()).split())
        assert "@font-face" not in path.read_text()


def _typed(process: psutil.Process) -> str:
    try:
        return " ".join([*process.cmdline(), process.cwd()])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


class Seat:
    """`valerix` on a terminal of 80 columns and 24 lines."""

    def __init__(self, valerix: Valerix, *typed: str) -> None:
        self._ours, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (24, 80))
        self.before = termios.tcgetattr(self.terminal)
        environ = {name: value for name, value in valerix.environ.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [PROGRAM, *typed],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            cwd=valerix.directory,
            env=environ | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.set_blocking(self._ours, False)
        self.sent = ""

    def press(self, key: str) -> None:
        """Press a key. The next `sees` only considers output that follows."""
        self.read()
        self.sent = ""
        os.write(self._ours, key.encode())

    def read(self) -> str:
        try:
            while chunk := os.read(self._ours, 65536):
                self.sent += chunk.decode(errors="replace")
        except BlockingIOError:
            pass
        return self.sent

    def sees(self, *words: str, within: float = PATIENCE) -> None:
        """Wait for all of these words."""
        eventually(lambda: all(word in self.read() for word in words), within, f"{words}")

    def ended(self) -> int:
        eventually(lambda: self.read() is not None and self.process.poll() is not None, PATIENCE, "the end")
        return int(self.process.returncode)

    def leave(self) -> None:
        """Close the terminal. No signal is sent."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)
        os.close(self.terminal)


@pytest.fixture
def seat(shop: Valerix) -> Iterator[Seat]:
    """A demo controlled by keys, on the running platform, with its first step in progress."""
    made = Seat(shop, "demo")
    try:
        made.sees("Calm", "under way")
        yield made
    finally:
        made.close()
        shop("chaos", "off")  # so that a failed test does not affect the next


def test_keys_navigate_the_demo_and_quitting_during_a_fault_turns_it_off(shop: Valerix, seat: Seat) -> None:
    seat.sees("HELD")
    seat.press("n")
    seat.sees("The impatient customer", "HELD", "1 deduction")
    seat.press("r")
    seat.sees("HELD", "impatient-2")
    seat.press("b")
    seat.sees("step 1 of 10", "Calm")
    seat.press("t")
    seat.sees("Speaker's notes")
    seat.press("n")
    seat.sees("step 2 of 10", "HELD")
    seat.press("\x1b[6~")
    seat.sees("The cheater", "HELD", "idempotency-key-reused")
    seat.press("n")
    seat.sees("The slow gremlin", "under way", "ends by itself in")
    seat.press("n")
    seat.sees("still under way")
    assert live(shop)()
    seat.press("q")
    assert seat.ended() == 0, seat.sent
    assert not live(shop)()
    assert termios.tcgetattr(seat.terminal) == seat.before
    assert "\x1b[?1049l" in seat.sent
    assert "\x1b[?25h" in seat.sent


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_demo_turns_its_faults_off_first(
    shop: Valerix, seat: Seat, number: signal.Signals, code: int
) -> None:
    for key, title in (("s", "The impatient customer"), ("n", "The cheater")):
        seat.press(key)
        seat.sees(title, "HELD")
    seat.press("n")
    seat.sees("ends by itself in")
    assert live(shop)()
    seat.process.send_signal(number)
    assert seat.ended() == code, seat.sent
    assert not live(shop)()
    assert termios.tcgetattr(seat.terminal) == seat.before


def test_a_demo_that_loses_its_terminal_turns_its_faults_off_and_exits(shop: Valerix, seat: Seat) -> None:
    for key, title in (("s", "The impatient customer"), ("n", "The cheater")):
        seat.press(key)
        seat.sees(title, "HELD")
    seat.press("n")
    seat.sees("ends by itself in")
    assert live(shop)()
    seat.leave()
    assert seat.process.wait(PATIENCE) == 129
    assert not live(shop)()


def test_a_fault_that_cannot_be_confirmed_as_off_exits_with_13(shop: Valerix, seat: Seat) -> None:
    """Inventory is down, and only inventory can confirm that the gremlins are off."""
    state = shop.directory / "state"
    seat.sees("waiting for")
    hold(state, "inventory-1", 15)
    os.kill(shop.stack()["services"]["inventory"][0]["pid"], signal.SIGKILL)
    seat.press("q")
    assert seat.ended() == 13, seat.sent
    assert "gremlins may be live" in seat.sent
    assert termios.tcgetattr(seat.terminal) == seat.before
    eventually(lambda: shop("chaos", "off", code=None).code == 0, PATIENCE, "inventory to be back")
    assert not live(shop)()


def test_a_demo_without_a_terminal_hints_at_automatic_mode(bare: Valerix) -> None:
    assert "valerix demo --auto" in bare("demo", code=2).err


def test_tampering_fails_the_audit_and_undoing_it_restores_the_ledger(shop: Valerix) -> None:
    state = shop.directory / "state"
    os.environ["VALERIX_STATE_DIR"] = str(state)
    try:
        stack = read_stack(state)
        assert stack is not None
        forgery = LedgerTampering(admin_url(stack) or "")
    finally:
        del os.environ["VALERIX_STATE_DIR"]
    eventually(lambda: shop("audit", code=None).code == 0, PATIENCE, "orders of the tests before to be settled")
    before = stock(shop)
    forgery.forge("monitor")
    assert "deducted-means-ordered (1)" in shop("audit", code=11).err
    forgery.undo()
    forgery.undo()
    assert stock(shop) == before
    shop("audit")


def stock(valerix: Valerix) -> Any:
    return {one["item_id"]: one["quantity"] for one in valerix.json("stock", "list")}
