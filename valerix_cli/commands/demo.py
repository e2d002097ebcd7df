"""`valerix demo`: the story of the order that would not duplicate, on a real platform."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import typer

from valerix_cli.audit import Sources
from valerix_cli.audit.sources import find_sources
from valerix_cli.config import LOCAL
from valerix_cli.demo import screens as views
from valerix_cli.demo.asciicast import Recording
from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.keyboard import Keyboard, single_keys
from valerix_cli.demo.model import Demo, StepResult
from valerix_cli.demo.player import AutoAdvance, Player, Screen
from valerix_cli.demo.renderer import Renderer, Size, Stills
from valerix_cli.demo.script import STORY, TITLE
from valerix_cli.demo.step_context import Step
from valerix_cli.drills import ephemeral_platform
from valerix_cli.errors import (
    BadUsageError,
    CliError,
    ExpectationError,
    GuardError,
    InvariantError,
    RollbackError,
)
from valerix_cli.local.instance import running
from valerix_cli.local.stack import state_dir
from valerix_cli.output import draw, info, is_terminal, print_result
from valerix_cli.session import Session
from valerix_cli.signals import ignore_signals

_REPLICAS = {"order": 2}  # killing one has to leave one
_PAPER = (100, 30)  # columns and lines of a recording without a terminal


def demo(
    ctx: typer.Context,
    *,
    auto: Annotated[bool, typer.Option("--auto", help="Advance automatically, without keys (for CI).")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Show the speaker's notes from the start.")] = False,
    on_fresh: Annotated[bool, typer.Option("--fresh", help="Use a temporary platform even if one is running.")] = False,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE.cast", help="Record it for asciinema (asciicast v2).")
    ] = None,
    stills: Annotated[
        Path | None, typer.Option("--stills", metavar="DIR", help="Keep a picture of each step, as SVG.")
    ] = None,
) -> None:
    """Play the story of the order that would not duplicate: ten real steps; faults are off at the end."""
    session: Session = ctx.obj
    if not auto and not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise BadUsageError("The demo needs a terminal.", "keys control it", "valerix demo --auto")
    began = time.monotonic()
    with ExitStack() as ends:
        outputs = _Outputs.of(ends, auto=auto, record=record, stills=stills)
        on_fresh = on_fresh or _nothing_runs(session)
        if on_fresh:
            ends.enter_context(ephemeral_platform.started(_REPLICAS, lambda text: info(text, session.output)))
            session = session.with_option("context", LOCAL)
        session.confirm_remote("run the demo, which places orders and turns gremlins on and off")
        environment = ends.enter_context(DemoEnvironment(session, _sources(session), state_dir()))
        log = _logger(session, environment) if auto else _silence
        player = Player(
            STORY,
            environment,
            outputs.screens,
            reason_to_skip=lambda step: reason_to_skip(step, environment),
            log=log,
            notes=notes,
        )
        end, left = _run(session, player, environment, outputs.renderer, auto=auto)
    result = Demo(
        context="a temporary platform" if on_fresh else session.context.name,
        fresh=on_fresh,
        seconds=round(time.monotonic() - began, 2),
        steps=player.result,
        left=left,
        interrupted=end is not None,
        recording=str(record) if record else None,
        stills=outputs.stills.written if outputs.stills else [],
    )
    print_result(result, views.demo_view, session.output)
    _finish(result, end)


@dataclass(frozen=True)
class _Outputs:
    """The outputs of the demo: the terminal, a recording, stills."""

    renderer: Renderer
    stills: Stills | None
    screens: list[Screen]

    @classmethod
    def of(cls, ends: ExitStack, *, auto: bool, record: Path | None, stills: Path | None) -> Self:
        """Open the outputs. Raises CliError if one cannot be written."""
        size = _size if is_terminal(sys.stdout) and not auto else lambda: _PAPER
        renderer = Renderer(size, colour="NO_COLOR" not in os.environ)
        kept = Stills(stills, size) if stills else None
        if record:
            renderer.recording = ends.enter_context(Recording(record, *size(), TITLE))
        if not auto:
            renderer.listeners.append(draw)
        is_seen = record is not None or not auto
        screens: list[Screen] = [*([renderer] if is_seen else []), *([kept] if kept else [])]
        return cls(renderer, kept, screens)


def _run(
    session: Session, player: Player, environment: DemoEnvironment, renderer: Renderer, *, auto: bool
) -> tuple[BaseException | None, list[str]]:
    """Play the demo, and always undo its changes. Returns the reason of an early end, and the changes that remain."""
    end: BaseException | None = None
    try:
        with _keyboard(renderer, player, auto=auto) as keyboard:
            player.run(keyboard)
    except (KeyboardInterrupt, SystemExit) as why:
        end = why
    finally:
        with ignore_signals():
            info("turning all faults off", session.output)
            left = [why for why in [player.leave()] if why] + environment.roll_back()
            if left and sys.exc_info()[0] is not None:  # more important than the other error
                raise _not_undone(left)
    return end, left


def _nothing_runs(session: Session) -> bool:
    return session.settings.setting("context").value == LOCAL and running(state_dir()) is None


def _sources(session: Session) -> Sources | None:
    try:
        return find_sources(session.context)
    except GuardError:
        return None


def reason_to_skip(step: Step, environment: DemoEnvironment) -> str | None:
    """Return why a step cannot run here."""
    name = environment.session.context.name
    match step.needs:
        case "processes" if environment.processes is None:
            return f"it kills a process, and `{name}` is not on this machine"
        case "admin" if environment.local_tampering is None:
            return f"it tampers with the ledger, and `{name}` has no PostgreSQL of this machine"
        case "auditor" | "admin" if environment.sources is None:
            return f"the context `{name}` has no auditor's addresses of the databases"
        case _:
            return None


@contextmanager
def _keyboard(renderer: Renderer, player: Player, *, auto: bool) -> Iterator[Keyboard]:
    renderer.begin()
    try:
        if auto:
            yield AutoAdvance(player)
        else:
            with single_keys(sys.stdin.fileno()) as terminal:
                yield terminal
    finally:
        renderer.end()


def _size() -> Size:
    columns, lines = shutil.get_terminal_size()
    return columns, lines


def _logger(session: Session, environment: DemoEnvironment) -> Callable[[str], None]:
    return lambda text: info(f"{max(0.0, environment.clock()):6.1f} s  {text}", session.output)


def _silence(text: str) -> None:
    """Discard a line that the screen shows anyway."""


def _finish(result: Demo, end: BaseException | None) -> None:
    """Exit with the code of the most severe error. Raises CliError, KeyboardInterrupt or SystemExit."""
    if result.left:
        raise _not_undone(result.left)
    if end is not None:
        raise end
    if error := error_of(result.steps):
        raise error


def _not_undone(left: list[str]) -> CliError:
    return RollbackError("Not everything could be undone.", "; ".join(left), "valerix chaos off; valerix status")


def error_of(result: list[StepResult]) -> CliError | None:
    """Return the error to exit with; None if every step held."""
    for outcome, kind, hint in (
        ("violated", InvariantError, "keep the databases as they are; valerix audit"),
        ("missed", ExpectationError, "valerix status, then valerix demo again"),
    ):
        wrong = [one for one in result if one.outcome == outcome]
        if wrong:
            why = "; ".join(f"{one.title}: {one.why}" for one in wrong)
            return kind(f"{len(wrong)} of {len(result)} steps did not hold.", why, hint)
    return None
