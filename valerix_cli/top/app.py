"""The application of `valerix top`: shows the snapshots and handles the keys."""

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.filter import LineFilter
from textual.message import Message
from textual.widgets import Footer, Static

from valerix_cli import files
from valerix_cli.audit.model import Audit
from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.clients.chaos_text import summary
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.wire import Activation
from valerix_cli.console import SafeConsole
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError, ExitCode
from valerix_cli.escaping import escape, escape_values, printable
from valerix_cli.signals import is_ignored
from valerix_cli.top import layout, messages
from valerix_cli.top.actions import Actions, is_live
from valerix_cli.top.dialogs import GremlinChoice, Help, OrderForm, Question
from valerix_cli.top.escaping import SafeText
from valerix_cli.top.keyboard import Driver
from valerix_cli.top.model import Reading, Snapshot
from valerix_cli.top.panels import header
from valerix_cli.top.widgets import Panel

T = TypeVar("T")

EVERY = 1.0  # seconds
_TALL = 40  # lines
_REMEMBERED = 50  # sends
_SIGNALS = {
    signal.SIGHUP: ExitCode.HUNG_UP,
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


class TopApp(App[None]):
    """`collect` returns a snapshot and may take seconds; `context` is the platform's at the start."""

    CSS_PATH = "top.tcss"
    TITLE = "valerix-top"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - App declares it for instances
        (0, "-low"),
        (_TALL, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "order", "order"),
        Binding("a", "again", "again"),
        Binding("g", "gremlin", "gremlin"),
        Binding("x", "calm", "off"),
        Binding("u", "audit", "audit"),
        Binding("v", "view", "view"),
        Binding("s", "save", "save"),
        Binding("p", "pause", "pause"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    class Looked(Message):
        """A new snapshot."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    class Done(Message):
        """The result of a background action: `then` handles it."""

        def __init__(self, then: Callable[[], None]) -> None:
            super().__init__()
            self.then = then

    def __init__(self, collect: Callable[[], Snapshot], actions: Actions, context: Context) -> None:
        super().__init__(driver_class=Driver, ansi_color=True)  # otherwise NO_COLOR gives black on black
        self.error_console = SafeConsole(file=sys.__stderr__)
        self.theme = "ansi-dark"  # only the terminal's own colours, readable on any background
        self._collect, self._actions = collect, actions
        self._platform, self._where = context, escape(messages.where(context))
        self._over = threading.Event()
        self._snapshot: Snapshot | None = None
        self._paused = False
        self._chosen = 0
        self._sends: tuple[OrderResponse, ...] = ()
        self._audit: Reading[Audit] = Reading()
        self._auditing = False

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Horizontal(id="columns"):
            yield Vertical(*layout.left(), id="left")
            yield Vertical(*layout.right(), id="right")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._choose(0)
        self._show_head()
        if not self.is_headless:
            for number, code in _SIGNALS.items():
                if not is_ignored(number):
                    asyncio.get_running_loop().add_signal_handler(number, self.exit, None, code)
        self._in_background(self._keep_looking)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), SafeText()]

    def on_resize(self) -> None:
        self.refresh_bindings()

    def on_unmount(self) -> None:
        self._over.set()

    def on_top_app_looked(self, message: Looked) -> None:
        if self.screen_stack and not self._paused:
            self._snapshot = message.snapshot
            self._show()

    def on_top_app_done(self, message: Done) -> None:
        if self.screen_stack:  # results during shutdown are discarded
            message.then()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer `v` only where it has an effect."""
        return not (action == "view" and self.size.height >= _TALL) and super().check_action(action, parameters)

    def action_order(self) -> None:
        stock = self._snapshot.stock.value if self._snapshot else None
        form = OrderForm([item.item_id for item in stock or []], self._where)
        self.push_screen(form, lambda request: self._send(request) if request else None)

    def action_again(self) -> None:
        if self._sends:
            self._send(self._sends[-1].request)
        else:
            self._notify("Nothing was sent from here yet: o places an order.")

    def action_gremlin(self) -> None:
        self.push_screen(GremlinChoice(self._is_live), lambda one: self._ask_toggle(one) if one else None)

    def action_calm(self) -> None:
        def deactivate() -> None:
            self._do(self._actions.deactivate, self._calmed)

        self._ask(f"Turn all gremlins off for {self._where}?", deactivate, unless=self._platform.is_local)

    def action_audit(self) -> None:
        if not self._auditing:
            self._choose(layout.CHOICES.index("audit"))
            self._auditing = True
            self._audit = Reading(self._audit.value, fault="Auditing …")
            self._show()
            self._do(self._actions.audit, self._audited, self._not_audited)

    def action_view(self) -> None:
        self._choose((self._chosen + 1) % len(layout.CHOICES))

    def action_save(self) -> None:
        name = f"{self.TITLE}-{datetime.now().astimezone():%Y%m%d-%H%M%S}.svg"
        try:
            files.write(Path(name), self.export_screenshot().encode(), files.PICTURE)
        except CliError as error:
            self._notify(error.why, wrong=True)
        except OSError as error:
            self._notify(f"{name} cannot be written: {error.strerror}", wrong=True)
        else:
            self._notify(f"Saved as {name}, in the directory where top was started.")

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._show_head()

    def action_help(self) -> None:
        self.push_screen(Help(messages.HELP))

    def action_interrupt(self) -> None:
        self.exit(return_code=ExitCode.INTERRUPTED)

    def _keep_looking(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                snapshot = self._collect()
            except RuntimeError:  # the threads no longer matter at exit
                if self._over.is_set():
                    return
                raise
            self._post(self.Looked(snapshot))
            self._over.wait(max(0.0, EVERY - (time.monotonic() - began)))

    def _show(self) -> None:
        self._show_head()
        shown = self._snapshot or Snapshot(datetime.now(UTC))
        shown = msgspec.structs.replace(shown, sends=self._sends, audit=self._audit)
        for panel in self.screen_stack[0].query(Panel):
            panel.show(shown)

    def _show_head(self) -> None:
        for line in self.screen_stack[0].query("#head").results(Static):  # there is none during shutdown
            line.update(header.draw(escape_values(self._snapshot), escape(self._platform.name), paused=self._paused))

    def _choose(self, number: int) -> None:
        """Show one of the panels that take turns on a low screen."""
        self._chosen = number
        for place, name in enumerate(layout.CHOICES):
            self.screen_stack[0].query(f"#right .{name}").set_class(place == number, "-chosen")

    def _send(self, request: OrderRequest) -> None:
        self._choose(layout.CHOICES.index("feed"))
        self._do(lambda: self._actions.place(request), self._sent)

    def _sent(self, sent: OrderResponse) -> None:
        self._sends = (*self._sends, sent)[-_REMEMBERED:]
        self._notify(messages.send_result(sent), wrong=sent.order is None)
        self._show()

    def _is_live(self, gremlin: Gremlin) -> bool:
        return self._snapshot is not None and is_live(gremlin, self._snapshot.chaos.value)

    def _ask_toggle(self, gremlin: Gremlin) -> None:
        question = messages.ask_toggle(gremlin, self._where, live=self._is_live(gremlin))
        self._ask(question, lambda: self._do(lambda: self._actions.toggle(gremlin), self._toggled))

    def _toggled(self, live: Activation | None) -> None:
        self._notify(f"Live now: {summary(live)}. Undo: x" if live else "No gremlin is live now.")

    def _calmed(self, ended: Activation | None) -> None:
        self._notify(f"Off: {summary(ended)}." if ended else "No gremlin was live.")

    def _audited(self, audit: Audit) -> None:
        self._auditing, self._audit = False, Reading(audit)
        self._show()

    def _not_audited(self, error: CliError) -> None:
        self._auditing, self._audit = False, Reading(None, fault=str(error))
        self._show()

    def _ask(self, question: str, action: Callable[[], None], *, unless: bool = False) -> None:
        if unless:
            action()
        else:
            self.push_screen(Question(printable(question)), lambda yes: action() if yes else None)

    def _do(
        self, action: Callable[[], T], then: Callable[[T], None], otherwise: Callable[[CliError], None] | None = None
    ) -> None:
        """Run `action` in the background, and handle its result with `then`, or its error with `otherwise`."""

        def run() -> None:
            try:
                found = action()
            except CliError as error:
                self._post(self.Done(partial(otherwise or self._complain, error)))
            else:
                self._post(self.Done(partial(then, found)))

        self._in_background(run)

    def _complain(self, error: CliError) -> None:
        self._notify(f"{error.what} {error.why}", wrong=True)

    def _notify(self, text: str, *, wrong: bool = False) -> None:
        self.notify(escape(text), severity="error" if wrong else "information", markup=False)

    def _post(self, message: Message) -> None:
        with suppress(RuntimeError):  # the screen is closed
            self.post_message(message)

    @staticmethod
    def _in_background(work: Callable[[], None]) -> None:
        """Run `work` in a daemon thread, so that quitting does not wait for the slowest response."""
        threading.Thread(target=work, daemon=True).start()
