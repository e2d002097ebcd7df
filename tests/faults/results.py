"""What a campaign leaves in its directory, line by line, so that another run can go on where one stopped."""

import os
import threading
from pathlib import Path

import msgspec

from tests.faults.parallel import Planned
from tests.faults.receipt import Campaign
from tests.faults.trials import Trial


class Refused(Exception):  # noqa: N818 - named for the reason
    """The directory holds something else than what is asked for. The message says what."""


class Results:
    """What was asked for, and each trial that ended."""

    def __init__(self, directory: Path, campaign: Campaign) -> None:
        self.directory, self.campaign = directory, campaign
        self._path = directory / "trials.jsonl"
        self._lock = threading.Lock()
        self.trials = _read(self._path)

    @classmethod
    def begin(cls, directory: Path, campaign: Campaign) -> "Results":
        """Raises Refused when there is a campaign already."""
        path = directory / "campaign.json"
        if path.exists():
            raise Refused(f"{directory} holds a campaign already: --resume goes on with it")
        directory.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(campaign))
        return cls(directory, campaign)

    @classmethod
    def resume(cls, directory: Path, campaign: Campaign) -> "Results":
        """Raises Refused unless there is a campaign of the same seed."""
        path = directory / "campaign.json"
        if not path.exists():
            raise Refused(f"{directory} holds no campaign to resume")
        begun = msgspec.json.decode(path.read_bytes(), type=Campaign)
        if begun.seed != campaign.seed:
            raise Refused(f"{directory} holds a campaign of seed {begun.seed}, not of {campaign.seed}")
        return cls(directory, msgspec.structs.replace(campaign, started=begun.started))

    def add(self, trial: Trial) -> None:
        """Keep it; on disk before this returns."""
        with self._lock, self._path.open("ab") as file:
            file.write(msgspec.json.encode(trial) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self.trials.append(trial)

    def left(self) -> list[Planned]:
        """What is still to be run: each point once before any comes again."""
        over = {(trial.cell, trial.number) for trial in self.trials if trial.is_over}
        again = {(trial.cell, trial.number): trial.again + 1 for trial in self.trials}
        wanted = [(cell, number) for number in range(1, self.campaign.trials + 1) for cell in self.campaign.cells]
        return [
            Planned(cell, number, again.get((cell, number), 0)) for cell, number in wanted if (cell, number) not in over
        ]


def _read(path: Path) -> list[Trial]:
    """The trials written down whole: the last line is cut short where a run was killed, and is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return msgspec.json.Decoder(Trial).decode_lines(whole)
