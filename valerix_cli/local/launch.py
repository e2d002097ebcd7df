"""Start of a child process: its command, user, directory, and the signal that it gets when its parent dies."""

import os
import pwd
import signal
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LAUNCHER = str(Path(__file__).with_name("exec_child.py"))


@dataclass(frozen=True)
class Account:
    """A user for a process."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account":
        entry = pwd.getpwnam(name)
        return cls(name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True)
class Launch:
    """A command with its environment.

    `on_death` is the signal to the child when the thread that started it ends (Linux), so start children from the
    main thread. `account` None is this user.
    """

    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    account: Account | None = None
    on_death: signal.Signals = signal.SIGKILL

    def argv(self) -> list[str]:
        """Return the complete command line, for callers that start the process themselves."""
        who = (str(self.account.uid), str(self.account.gid)) if self.account else ("-", "-")
        parent = (str(os.getpid()), str(self.on_death.value))
        return [sys.executable, "-I", "-S", LAUNCHER, *parent, *who, *self.command]

    def start(self, output: IO[bytes] | int, *, keep: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        """Start it in a new session, so that Ctrl-C in the terminal does not reach it; `keep` descriptors open."""
        return subprocess.Popen(  # noqa: S603 - the argv is ours # nosec B603
            self.argv(),
            cwd=self.directory,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep,
        )
