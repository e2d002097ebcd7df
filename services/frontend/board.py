"""Keeps the page as it is now: looks, renders each panel once for everybody, and tells the feed."""

import asyncio
from datetime import UTC, datetime

import structlog
from jinja2 import Environment

from services.frontend import viewmodel
from services.frontend.deeds import AuditFailed, Deeds
from services.frontend.feed import Feed
from services.frontend.sights import Seen, Sights, Watcher
from services.frontend.viewmodel import View
from services.frontend.wire import Audit, Item

log = structlog.get_logger()

IDLE = 5  # looks of somebody who watches that take the time of one when nobody does


class Board:
    """The panels by name, and what they were made from."""

    def __init__(self, watcher: Watcher, deeds: Deeds, feed: Feed, environment: Environment) -> None:
        self._watcher = watcher
        self._deeds = deeds
        self._environment = environment
        self._audit: Seen[Audit] = Seen()
        self._sights = Sights(datetime.now(UTC))
        self.feed = feed

    @property
    def items(self) -> list[Item]:
        """The items as seen last."""
        return self._sights.stock.value or []

    async def look(self) -> None:
        """Look at everything, and tell what is new."""
        self._sights = await self._watcher.look()
        self.feed.publish(self._sights.at, self._rendered(), viewmodel.point(self._sights))

    async def look_and_rest(self, every: float) -> None:
        """Look, and while nobody watches pass over some of the next looks, `every` seconds each."""
        await self.look()
        for _ in range(IDLE - 1):
            if not self.feed.watching:
                await asyncio.sleep(every)

    async def show_at_once(self) -> None:
        """Look between two looks, since something was done."""
        self._sights = await self._watcher.look()
        self.feed.amend(self._sights.at, self._rendered())

    async def audit(self) -> Audit:
        """Run the audit and show what it found. Raises AuditFailed."""
        found = await self._deeds.audit()
        self._audit = Seen(found)
        view = viewmodel.panels(self._sights, self._audit, self._deeds.repeats)["audit"]
        self.feed.amend(datetime.now(UTC), {"audit": self._render("audit", view)})
        return found

    async def audit_by_itself(self) -> None:
        """The same, with nobody there to be told why there was none."""
        try:
            await self.audit()
        except AuditFailed as error:
            log.warning("there was no audit", why=str(error))

    def _rendered(self) -> dict[str, str]:
        views = viewmodel.panels(self._sights, self._audit, self._deeds.repeats)
        return {name: self._render(name, view) for name, view in views.items()}

    def _render(self, name: str, view: View) -> str:
        return self._environment.get_template(f"panels/{name}.html").render(view)
