"""An asynchronous writer for a journal: entries that wait at the same time are written and synced together."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.journal import Entry, JournalWriter, OutcomeUnknown, RequestSent, ResponseReceived
from valerix_cli.load.http_client import Response


class BatchedJournal:
    """Each call returns once its entry is on disk, and raises OSError if it cannot be written."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def record_request(self, order: OrderRequest) -> None:
        await self._write(RequestSent(datetime.now(UTC), order.key, order.item_id, order.quantity))

    async def record_response(self, order: OrderRequest, response: Response) -> None:
        entry = ResponseReceived(
            at=datetime.now(UTC),
            key=order.key,
            item_id=order.item_id,
            quantity=order.quantity,
            http_status=response.http_status,
            order_id=response.order_id,
            order_status=response.order_status,
            problem=response.problem,
            replayed=response.replayed,
        )
        await self._write(entry)

    async def record_no_response(self, order: OrderRequest, reason: str) -> None:
        await self._write(OutcomeUnknown(datetime.now(UTC), order.key, reason))

    async def _write(self, entry: Entry) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[tuple[Entry, asyncio.Future[None]]]) -> None:
        failure: OSError | None = None
        try:
            await asyncio.to_thread(self._journal.write, *(entry for entry, _ in batch))
        except OSError as error:
            failure = error
        for _, written in batch:
            if written.done():
                continue
            if failure is None:
                written.set_result(None)
            else:
                written.set_exception(failure)
