"""A PostgreSQL whose clock can be set while it runs, by libfaketime."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from valerix_cli.local.launch import Launch
from valerix_cli.local.servers import PostgresServer

_PLACES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")
LIBRARY = next((file for place in _PLACES if (file := Path(place) / "libfaketime.so.1").exists()), None)

needs_faketime = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed: apt-get install faketime")


@dataclass(frozen=True)
class ClockedPostgres(PostgresServer):
    """An embedded PostgreSQL that is `set_clock` seconds ahead of this machine."""

    def set_clock(self, ahead: float) -> None:
        """Set the clock forward by that many seconds, from the server's next read of it.

        Negative values set it back.
        """
        self._clock.write_text(f"{ahead:+g}\n")
        self._clock.chmod(0o644)

    def running(self) -> Launch:
        self.set_clock(0)
        launch = super().running()
        environment = {
            **launch.environment,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        # Loaded by `env` only, as the server's account: it could not open files that the launcher creates as root.
        command = ("/usr/bin/env", f"LD_PRELOAD={LIBRARY}", *launch.command)
        return replace(launch, command=command, environment=environment)

    @property
    def _clock(self) -> Path:
        return self.directory / "clock"
