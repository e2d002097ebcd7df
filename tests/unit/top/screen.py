"""`valerix top` without a terminal: snapshots in, the text of the screen out."""

import asyncio
import html
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import msgspec
from textual.pilot import Pilot

from tests.unit.cli.samples import activation, order, sent
from tests.unit.top.samples import snapshot, violated
from valerix_cli.audit import Audit
from valerix_cli.clients.chaos_request import Gremlin
from valerix_cli.clients.order_models import OrderRequest, OrderResponse
from valerix_cli.clients.wire import Activation
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError
from valerix_cli.top.app import TopApp
from valerix_cli.top.model import Snapshot

LOW, TALL = (80, 24), (160, 50)
LOCAL = Context("local", {"order": ("http://127.0.0.1:3001",)}, None, "none", "a test")
STAGING = Context("staging", {"order": ("https://orders.staging.example",)}, None, "none", "a test")

_GLANCE = 0.1  # seconds: rendering the screen takes half as long
_CELL = 12.2  # the width of a character in Textual's SVG
_TEXT = re.compile(r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>')


class Written:
    """Actions that are recorded, with the results of real ones."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.wrong: CliError | None = None

    def place(self, wanted: OrderRequest) -> OrderResponse:
        self._do(wanted)
        again = self.done.count(wanted) > 1
        answer = order(item_id=wanted.item_id, quantity=wanted.quantity, idempotency_key=wanted.key)
        return msgspec.structs.replace(sent(answer, replayed=again), request=wanted)

    def toggle(self, gremlin: Gremlin) -> Activation | None:
        self._do(gremlin)
        return activation()

    def deactivate(self) -> Activation | None:
        self._do("calm")
        return activation()

    def audit(self) -> Audit:
        self._do("audit")
        return violated()

    def _do(self, what: object) -> None:
        self.done.append(what)
        if self.wrong:
            raise self.wrong


class Screen:
    """One run of the screen."""

    def __init__(self, app: TopApp, pilot: Pilot[None], actions: Written) -> None:
        self.app, self._pilot, self.actions = app, pilot, actions

    @property
    def lines(self) -> list[str]:
        rows: dict[float, str] = defaultdict(str)
        for x, y, text in _TEXT.findall(self.app.export_screenshot()):
            shown = html.unescape(text).replace("\xa0", " ").rstrip("\n")
            rows[float(y)] = rows[float(y)].ljust(round(float(x) / _CELL)) + shown
        return [rows[y] for y in sorted(rows)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        """Press the keys one by one, each once the one before has been processed.

        `Pilot.press` waits until the process is idle, which takes up to a second per key on a busy machine.
        """
        for key in keys:
            self.app.simulate_key(key)
            await self._pilot.pause(0)

    async def resize(self, width: int, height: int) -> None:
        await self._pilot.resize_terminal(width, height)

    async def until(self, look: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60  # for a busy machine
        while not look():
            assert time.monotonic() < deadline, self.text
            await asyncio.sleep(_GLANCE)

    async def until_shown(self, *words: str) -> None:
        await self.until(lambda: self._shows(words))

    def _shows(self, words: Iterable[str]) -> bool:
        text = self.text  # rendering takes a while: once for all words
        return all(word in text for word in words)


@asynccontextmanager
async def showing(
    look: Snapshot | Callable[[], Snapshot] | None = None, size: tuple[int, int] = LOW, context: Context = LOCAL
) -> AsyncIterator[Screen]:
    """Yield the screen once it shows the first snapshot."""
    actions, given = Written(), snapshot() if look is None else look
    app = TopApp(given if callable(given) else lambda: given, actions, context)
    app.animation_level = "none"  # each key would wait for animations
    with patch.object(TopApp, "NOTIFICATION_TIMEOUT", 60.0):  # rendering may take more than 5 s on a busy machine
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = Screen(app, pilot, actions)
            await screen.until(lambda: "asking" not in screen.text)
            yield screen


def saved(directory: Path) -> list[str]:
    return [path.read_text()[:4] for path in directory.glob("valerix-top-*.svg")]
