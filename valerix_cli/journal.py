"""A client's record of its requests and responses: JSON lines, each on disk before the client continues.

A lost *acknowledged* order cannot be detected from the databases alone, so a client that sends load keeps a journal,
and `valerix audit --journal FILE` compares it with them.
"""

import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from valerix_cli import files
from valerix_cli.errors import BadUsageError
from valerix_cli.reasons import why


class RunStarted(msgspec.Struct, frozen=True, tag_field="event", tag="began"):
    """A run. If it has a `key_prefix`, no other client uses keys with it.

    `platform` is the id of the platform that it sends to; None if unknown.
    """

    at: datetime
    run: str
    key_prefix: str | None
    platform: str | None = None


class RequestSent(msgspec.Struct, frozen=True, tag_field="event", tag="sent"):
    """Written before an order is sent."""

    at: datetime
    key: str
    item_id: str
    quantity: int


class ResponseReceived(msgspec.Struct, frozen=True, tag_field="event", tag="answered"):
    """The response: an order, or the slug of a problem, and the order's id if either has one.

    The request is repeated here, since one key may be sent with several bodies concurrently.
    """

    at: datetime
    key: str
    item_id: str
    quantity: int
    http_status: int
    order_id: str | None
    order_status: str | None
    problem: str | None
    replayed: bool


class OutcomeUnknown(msgspec.Struct, frozen=True, tag_field="event", tag="unknown"):
    """There was no response, so the outcome is unknown."""

    at: datetime
    key: str
    error: str


Entry: TypeAlias = RunStarted | RequestSent | ResponseReceived | OutcomeUnknown

_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(
    RunStarted | RequestSent | ResponseReceived | OutcomeUnknown
)
_encoder = msgspec.json.Encoder()
_BLOCK = 65_536
_BEGINNING = b'{"event":"'  # of every line
_FIRST = b'{"event":"began"'


class JournalWriter:
    """Appends to the journal at `path`; each call returns once its line is on disk.

    Opening a journal whose last line is incomplete, because its writer was killed, removes that line: an order is sent
    only after its line is complete, and an incomplete response counts as none.
    Raises BadUsageError if the file cannot be written, or if its content is not a journal.
    """

    def __init__(self, path: Path, run: str, key_prefix: str | None = None, platform: str | None = None) -> None:
        try:
            self._file = _open_after_last_line(path)
            _sync_directory(path.parent)
        except OSError as error:
            why = f"{path}: {error.strerror}"
            raise BadUsageError("The journal cannot be written.", why, "name a file in a directory of yours") from error
        self.write(RunStarted(datetime.now(UTC), run, key_prefix, platform))

    def sent(self, key: str, item_id: str, quantity: int) -> RequestSent:
        """Return the entry, for which the response will be recorded."""
        entry = RequestSent(datetime.now(UTC), key, item_id, quantity)
        self.write(entry)
        return entry

    def answered(
        self,
        sent: RequestSent,
        http_status: int,
        order_id: str | None = None,
        order_status: str | None = None,
        problem: str | None = None,
        *,
        replayed: bool = False,
    ) -> None:
        now, body = datetime.now(UTC), (sent.key, sent.item_id, sent.quantity)
        self.write(ResponseReceived(now, *body, http_status, order_id, order_status, problem, replayed))

    def unknown(self, sent: RequestSent, error: str) -> None:
        self.write(OutcomeUnknown(datetime.now(UTC), sent.key, error))

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, *entries: Entry) -> None:
        """Append `entries`, with a single fsync."""
        os.write(self._file, _encoder.encode_lines(entries))  # a single write, so that threads do not interleave lines
        os.fsync(self._file)


class JournalReader:
    """Reads a journal that may still be growing: each `entries` continues after the previous one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._line = 0

    def entries(self) -> Iterator[Entry]:
        """Return the entries added, up to the last complete line. Raises BadUsageError naming a malformed line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    self._line += 1
                    yield self._decode(line)
        except OSError as error:
            raise BadUsageError(
                "The journal cannot be read.", f"{self._path}: {why(error)}", "valerix audit --help"
            ) from error

    def _decode(self, line: bytes) -> Entry:
        try:
            return _decoder.decode(line)
        except msgspec.DecodeError as error:
            raise BadUsageError(
                "That is not a journal.", f"{self._path}, line {self._line}: {why(error)}", "valerix audit --help"
            ) from error


def check_journal(path: Path | None) -> None:
    """Raise BadUsageError if no journal can be written to `path`; creates and changes nothing."""
    files.check(path, JOURNAL)


def _begins_as_ours(head: bytes) -> bool:
    """Return whether the first line is an entry, or the beginning of one if it is incomplete."""
    line, newline, _ = head.partition(b"\n")
    return _is_entry(line) if newline else line.startswith(_FIRST)


def _is_entry(line: bytes) -> bool:
    try:
        _decoder.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _is_cut_short(line: bytes) -> bool:
    return _BEGINNING.startswith(line[: len(_BEGINNING)]) and line.startswith(_BEGINNING[: len(line)])


JOURNAL = files.Kind("a journal of valerix", _begins_as_ours)


def _open_after_last_line(path: Path) -> int:
    """Open a journal. Raises OSError, and BadUsageError if its first line or its end is not of a journal."""
    file = files.open_to_change(path, JOURNAL, mode=0o600, flags=os.O_APPEND)
    try:
        _cut_off(file, path)
    except BaseException:
        os.close(file)
        raise
    return file


def _cut_off(file: int, path: Path) -> None:
    """Remove an incomplete line at the end."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    end = _end_of_last_line(file, found.st_size)
    if not _is_cut_short(os.pread(file, len(_BEGINNING), end)):
        raise BadUsageError(
            f"{path} cannot be appended to.",
            "its journal is followed by other content",
            "name another file, or move that one away",
        )
    os.ftruncate(file, end)


def _end_of_last_line(file: int, end: int) -> int:
    while end:  # from the end, block by block, to the end of the last complete line
        start = max(0, end - _BLOCK)
        last = os.pread(file, end - start, start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


def _sync_directory(directory: Path) -> None:
    """Make the directory entry of a new file durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
