"""The results in a campaign's directory, one per line, so that an interrupted campaign can be resumed."""

import os
import threading
from pathlib import Path

import msgspec

from tests.faults.parallel import Planned
from tests.faults.receipt import Campaign
from tests.faults.trials import Trial


class Refused(Exception):  # noqa: N818 - named for the reason
    """The directory belongs to another campaign. The message names the difference."""


class Results:
    """The plan, and each finished trial."""

    def __init__(self, directory: Path, campaign: Campaign) -> None:
        self.directory, self.campaign = directory, campaign
        self._path = directory / "trials.jsonl"
        self._lock = threading.Lock()
        self.trials = _read(self._path)

    @classmethod
    def begin(cls, directory: Path, campaign: Campaign) -> "Results":
        """Start a new file. Raises Refused if there is a campaign already."""
        path = directory / "campaign.json"
        if path.exists():
            raise Refused(f"{directory} holds a campaign already: --resume goes on with it")
        directory.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(campaign))
        return cls(directory, campaign)

    @classmethod
    def resume(cls, directory: Path, campaign: Campaign) -> "Results":
        """Read an existing file. Raises Refused unless it is of a campaign with the same seed."""
        path = directory / "campaign.json"
        if not path.exists():
            raise Refused(f"{directory} holds no campaign to resume")
        begun = msgspec.json.decode(path.read_bytes(), type=Campaign)
        if begun.seed != campaign.seed:
            raise Refused(f"{directory} holds a campaign of seed {begun.seed}, not of {campaign.seed}")
        return cls(directory, msgspec.structs.replace(campaign, started=begun.started))

    def add(self, trial: Trial) -> None:
        """Append a trial; it is on disk when this returns."""
        with self._lock, self._path.open("ab") as file:
            file.write(msgspec.json.encode(trial) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self.trials.append(trial)

    def left(self) -> list[Planned]:
        """Return the remaining trials: every crash point once before any is repeated."""
        over = {(trial.cell, trial.number) for trial in self.trials if trial.is_over}
        again = {(trial.cell, trial.number): trial.again + 1 for trial in self.trials}
        wanted = [(cell, number) for number in range(1, self.campaign.trials + 1) for cell in self.campaign.cells]
        return [
            Planned(cell, number, again.get((cell, number), 0)) for cell, number in wanted if (cell, number) not in over
        ]


def _read(path: Path) -> list[Trial]:
    """Return the complete trials. The last line is truncated after a kill; it is removed."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return msgspec.json.Decoder(Trial).decode_lines(whole)
