"""The supervisor as a background process, started by `daemon.py`."""

import sys
from pathlib import Path

import msgspec

from valerix_cli.errors import CliError, ExitCode
from valerix_cli.local import state_directory
from valerix_cli.local.environment import forget_libpq
from valerix_cli.local.supervisor import supervise
from valerix_cli.local.up_options import UpOptions


def main(directory: str, lock: str, options: str) -> int:
    """Run the supervisor. Returns the exit code; an error is the last line of the log."""
    forget_libpq()
    place = Path(directory)
    try:
        with state_directory.cli_errors(place):
            stopped_by = supervise(
                place, msgspec.json.decode(options, type=UpOptions), lock=int(lock), listener=None, watch=lambda _: None
            )
    except CliError as error:
        return error.code
    return 128 + stopped_by if stopped_by else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
