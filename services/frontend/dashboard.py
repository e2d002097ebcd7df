"""Keeps the page current: collects a snapshot, renders each panel once for all browsers, and publishes changes."""

import asyncio
from datetime import UTC, datetime

import structlog
from jinja2 import Environment

from services.frontend import viewmodel
from services.frontend.event_stream import EventStream
from services.frontend.operator_actions import AuditFailed, OperatorActions
from services.frontend.snapshot import Collector, Observation, Snapshot
from services.frontend.viewmodel import View
from services.frontend.wire import Audit, Item

log = structlog.get_logger()

IDLE_FACTOR = 5  # the refresh interval is this much longer without subscribers


class Dashboard:
    """The rendered panels, and the snapshot they were rendered from."""

    def __init__(
        self, collector: Collector, actions: OperatorActions, event_stream: EventStream, environment: Environment
    ) -> None:
        self._collector = collector
        self._actions = actions
        self._environment = environment
        self._audit: Observation[Audit] = Observation()
        self._snapshot = Snapshot(datetime.now(UTC))
        self.event_stream = event_stream

    @property
    def items(self) -> list[Item]:
        """The items of the last snapshot."""
        return self._snapshot.stock.value or []

    async def refresh(self) -> None:
        """Collect a snapshot and publish changed panels and a chart point."""
        self._snapshot = await self._collector.collect()
        self.event_stream.publish(self._snapshot.at, self._rendered(), viewmodel.point(self._snapshot))

    async def refresh_periodically(self, interval: float) -> None:
        """Refresh once, then wait some intervals (in seconds) while there are no subscribers."""
        await self.refresh()
        for _ in range(IDLE_FACTOR - 1):
            if not self.event_stream.subscribers:
                await asyncio.sleep(interval)

    async def refresh_now(self) -> None:
        """Refresh between two intervals, after an action. Publishes no chart point."""
        self._snapshot = await self._collector.collect()
        self.event_stream.publish_panels(self._snapshot.at, self._rendered())

    async def audit(self) -> Audit:
        """Run the audit and publish its result. Raises AuditFailed."""
        found = await self._actions.audit()
        self._audit = Observation(found)
        view = viewmodel.panels(self._snapshot, self._audit, self._actions.resend_counts)["audit"]
        self.event_stream.publish_panels(datetime.now(UTC), {"audit": self._render("audit", view)})
        return found

    async def run_scheduled_audit(self) -> None:
        """Run a scheduled audit. Failures are logged."""
        try:
            await self.audit()
        except AuditFailed as error:
            log.warning("audit failed", why=str(error))

    def _rendered(self) -> dict[str, str]:
        views = viewmodel.panels(self._snapshot, self._audit, self._actions.resend_counts)
        return {name: self._render(name, view) for name, view in views.items()}

    def _render(self, name: str, view: View) -> str:
        return self._environment.get_template(f"panels/{name}.html").render(view)
