"""Stores receipts in one directory per run; names sort by time."""

import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from valerix_cli.drills.receipt import Receipt, decoder, encode
from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.files import write_atomically
from valerix_cli.reasons import why

RECEIPT, JOURNAL = "receipt.json", "journal.jsonl"


class ReceiptStore:
    """The receipts of the current user."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "ReceiptStore":
        """Use VALERIX_RECEIPTS_DIR, or the data directory of the user."""
        if chosen := environ.get("VALERIX_RECEIPTS_DIR"):
            return cls(Path(chosen).expanduser().absolute())
        from platformdirs import user_data_path  # noqa: PLC0415 - only without VALERIX_RECEIPTS_DIR

        return cls(user_data_path("valerix", appauthor=False) / "drills")

    def new_run(self, drill: str, at: datetime) -> str:
        """Create a directory for a new run and return the run's name. Raises UnreachableError."""
        run = f"{at:%Y%m%d-%H%M%S}-{drill}-{secrets.token_hex(2)}"
        try:
            (self.directory / run).mkdir(parents=True)
        except OSError as error:
            raise UnreachableError(
                "The receipt cannot be stored.", f"{self.directory}: {error.strerror}", "set VALERIX_RECEIPTS_DIR"
            ) from error
        return run

    def journal(self, run: str) -> Path:
        return self.directory / run / JOURNAL

    def save(self, receipt: Receipt) -> Path:
        path = self.directory / receipt.run / RECEIPT
        write_atomically(path, encode(receipt), mode=0o644)
        return path

    def runs(self) -> list[str]:
        """Return the names of the runs with a receipt, oldest first."""
        return sorted(path.parent.name for path in self.directory.glob(f"*/{RECEIPT}"))

    def find(self, name_or_path: str) -> Receipt:
        """Return the receipt of a run by its name, the path of a receipt, or `last`. Raises BadUsageError."""
        path = Path(name_or_path)
        if not path.is_file():
            runs = self.runs()
            name = runs[-1] if name_or_path == "last" and runs else name_or_path
            path = self.directory / name / RECEIPT
        try:
            return decoder.decode(path.read_bytes())
        except OSError:
            raise BadUsageError(
                f"Unknown run `{name_or_path}`.", f"none in {self.directory}", "valerix drill list --runs"
            ) from None
        except msgspec.DecodeError as error:
            raise BadUsageError(f"{path} is not a receipt.", why(error, Receipt), "valerix drill list --runs") from None
