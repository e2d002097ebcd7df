"""The request to run a drill."""

from pathlib import Path

import msgspec

from valerix_cli.drills.parser import DrillFile
from valerix_cli.drills.receipt import Hit


class RunRequest(msgspec.Struct, frozen=True):
    """The drill to run, the name of the run, and the path of its journal.

    `directory` is the state directory of a local platform. A replay sets `key_prefix`, `script` and `replays`, the name
    of the run that it repeats.
    """

    file: DrillFile
    run: str
    journal: Path
    rerun_command: str
    directory: Path
    key_prefix: str | None = None
    script: list[Hit] | None = None
    replays: str | None = None
