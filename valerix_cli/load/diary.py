"""A journal for many orders at once: lines that wait for the disk together share its writes."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from valerix_cli.clients.sends import Wanted
from valerix_cli.journal import Answered, Entry, JournalWriter, Sent, Unknown
from valerix_cli.load.wire import Answer


class Diary:
    """Each call returns once its line is on disk. A journal that cannot be written any more raises OSError."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def sent(self, wanted: Wanted) -> None:
        await self._write(Sent(datetime.now(UTC), wanted.key, wanted.item_id, wanted.quantity))

    async def answered(self, wanted: Wanted, answer: Answer) -> None:
        entry = Answered(
            at=datetime.now(UTC),
            key=wanted.key,
            item_id=wanted.item_id,
            quantity=wanted.quantity,
            http_status=answer.http_status,
            order_id=answer.order_id,
            order_status=answer.order_status,
            problem=answer.problem,
            replayed=answer.replayed,
        )
        await self._write(entry)

    async def unknown(self, wanted: Wanted, why: str) -> None:
        await self._write(Unknown(datetime.now(UTC), wanted.key, why))

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
