"""Where receipts are kept: one folder per run, newest last by name."""

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


class Shelf:
    """The folder that holds the receipts of this user."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "Shelf":
        """VALERIX_RECEIPTS_DIR, else where this user's programs keep data."""
        if chosen := environ.get("VALERIX_RECEIPTS_DIR"):
            return cls(Path(chosen).expanduser().absolute())
        from platformdirs import user_data_path  # noqa: PLC0415 - only where nothing was chosen

        return cls(user_data_path("valerix", appauthor=False) / "drills")

    def begin(self, drill: str, at: datetime) -> str:
        """A new run's name, and a folder for it. Raises UnreachableError where none can be made."""
        run = f"{at:%Y%m%d-%H%M%S}-{drill}-{secrets.token_hex(2)}"
        try:
            (self.directory / run).mkdir(parents=True)
        except OSError as error:
            raise UnreachableError(
                "No receipt could be kept.", f"{self.directory}: {error.strerror}", "set VALERIX_RECEIPTS_DIR"
            ) from error
        return run

    def journal(self, run: str) -> Path:
        return self.directory / run / JOURNAL

    def keep(self, receipt: Receipt) -> Path:
        path = self.directory / receipt.run / RECEIPT
        write_atomically(path, encode(receipt), mode=0o644)
        return path

    def runs(self) -> list[str]:
        """The names of the runs that have a receipt, oldest first."""
        return sorted(path.parent.name for path in self.directory.glob(f"*/{RECEIPT}"))

    def find(self, wanted: str) -> Receipt:
        """A run's receipt by its name, by a file's, or the `last` one's. Raises BadUsageError."""
        path = Path(wanted)
        if not path.is_file():
            runs = self.runs()
            name = runs[-1] if wanted == "last" and runs else wanted
            path = self.directory / name / RECEIPT
        try:
            return decoder.decode(path.read_bytes())
        except OSError:
            raise BadUsageError(
                f"Unknown run `{wanted}`.", f"none in {self.directory}", "valerix drill list --runs"
            ) from None
        except msgspec.DecodeError as error:
            raise BadUsageError(f"{path} is not a receipt.", why(error, Receipt), "valerix drill list --runs") from None
