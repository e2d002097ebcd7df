"""Start of the supervisor in the background."""

import math
import os
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from valerix_cli.errors import CliError, ExitCode, TimeoutExpiredError
from valerix_cli.local import state_directory
from valerix_cli.local.environment import needed_by_supervisor
from valerix_cli.local.logs import last_lines, log_file, open_log, rotate
from valerix_cli.local.stack import Stack, read_stack
from valerix_cli.local.supervisor_log import SUPERVISOR, Notice
from valerix_cli.local.up_options import UpOptions

_POLL_INTERVAL = 0.03  # seconds
_MODULE = "valerix_cli.local.daemon_main"


class DaemonProcess:
    """A background supervisor of the platform in `directory`, which outlives this process; it inherits `lock`."""

    def __init__(self, directory: Path, options: UpOptions, lock: int) -> None:
        log = log_file(directory / state_directory.LOGS, SUPERVISOR)
        rotate(log)
        self._directory = directory
        self._startup_log = _StartupLog(log, since=log.stat().st_size if log.exists() else 0)
        command = [
            sys.executable,
            "-P",
            "-m",
            _MODULE,
            str(directory),
            str(lock),
            msgspec.json.encode(options).decode(),
        ]
        with open_log(log, "ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the argv is ours # nosec B603
                command,
                cwd=directory,
                env=needed_by_supervisor(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(lock,),
            )
        os.close(lock)

    def wait_until_ready(self, notify: Callable[[Notice], None], within: float | None) -> Stack:
        """Wait until everything is ready and return its stack; `notify` is called with each notice meanwhile.

        Raises the supervisor's CliError, or TimeoutExpiredError after `within` seconds (None: only the supervisor's own
        limits apply). No process is left running then.
        """
        deadline = time.monotonic() + within if within else math.inf
        try:
            while self._process.poll() is None:
                stack = read_stack(self._directory)
                self._startup_log.pass_on(notify)
                if stack and stack.state == "running" and stack.supervisor_pid == self._process.pid:
                    return stack
                if time.monotonic() > deadline:
                    raise TimeoutExpiredError(  # noqa: TRY301 - ended like every other way out
                        "The platform was not ready in time.",
                        f"the time limit of {within:g} s has passed; it was stopped",
                        "the same with a longer --timeout",
                    )
                time.sleep(_POLL_INTERVAL)
        except BaseException:  # an interrupted start leaves no process
            self._process.terminate()
            self._process.wait()
            raise
        raise self._startup_log.why_it_ended(self._process.returncode)


class _StartupLog:
    """The new part of the supervisor's log."""

    def __init__(self, log: Path, since: int) -> None:
        self._log = log
        self._since = since
        self._passed_on = 0

    def pass_on(self, notify: Callable[[Notice], None]) -> None:
        notices = self._notices()
        for notice in notices[self._passed_on :]:
            if notice.level != "error":  # raised below
                notify(notice)
        self._passed_on = len(notices)

    def why_it_ended(self, code: int) -> CliError:
        errors = [notice for notice in self._notices() if notice.level == "error"]
        if errors:
            last = errors[-1]
            error = CliError(last.event, last.why or "", last.hint or "")
        else:
            output = " ".join(last_lines(self._log, 3, since=self._since))
            error = CliError("The platform did not start.", output or f"exit code {code}", f"read {self._log}")
        error.code = ExitCode(code) if code in set(ExitCode) else ExitCode.FAILED
        return error

    def _notices(self) -> list[Notice]:
        found = []
        for line in last_lines(self._log, 1000, since=self._since):
            try:
                found.append(msgspec.json.decode(line, type=Notice))
            except msgspec.DecodeError:  # a warning or a traceback of Python's own
                continue
        return found
