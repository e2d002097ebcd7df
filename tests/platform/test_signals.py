"""Stopping the platform with signals, and cleaning up where that was not possible."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

from tests.platform.installation import PATIENCE, Installation
from tests.processes import eventually
from valerix_cli.local.lock import take


def test_the_terminal_shows_the_services_and_a_second_signal_forces_the_stop(stopped: Installation) -> None:
    """The worker is paused, so that it would take its full time to end."""
    ours, theirs = pty.openpty()
    screen = _Screen(ours)
    with stopped.started("up", into=theirs) as process:
        os.close(theirs)
        eventually(lambda: "Running." in screen.text(), PATIENCE)
        assert f"http://127.0.0.1:{stopped.service('order-1').port}" in screen.text()
        worker = stopped.service("worker-1").pid
        assert worker
        os.kill(worker, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        eventually(lambda: "Stopping" in screen.text(), PATIENCE)
        process.send_signal(signal.SIGINT)
        eventually(lambda: screen.text() and process.poll() is not None, 10)
    assert process.returncode == 0
    assert "worker-1 did not end in time and was killed" in screen.text()
    assert stopped.is_gone()
    os.close(ours)


class _Screen:
    """The output on a terminal so far; reading it makes room for more."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._seen = b""
        os.set_blocking(terminal, False)

    def text(self) -> str:
        with suppress(OSError):  # no more output for now, or no writer left
            while part := os.read(self._terminal, 65536):
                self._seen += part
        return self._seen.decode(errors="replace")


def test_an_interrupted_start_leaves_no_process(stopped: Installation) -> None:
    with stopped.started("up") as process:
        eventually(lambda: len(stopped.processes) > 1, PATIENCE)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert stopped.is_gone()


def test_a_platform_in_the_background_of_a_shell_survives_hang_ups_and_ctrl_c(stopped: Installation) -> None:
    shell = ("/bin/sh", "-c", 'trap \'\' HUP INT; exec "$0" "$@"')
    with replace(stopped, prefix=shell).started("up") as process:
        eventually(lambda: stopped.is_ready or process.poll() is not None, PATIENCE)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        output = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, output
    assert "stopping, since SIGTERM was received" in output
    assert stopped.is_gone()


def test_remaining_processes_of_a_killed_platform_are_stopped(stopped: Installation) -> None:
    """No real process outlives its platform, so a process of ours that holds the lock stands in for one."""
    lock = take(stopped.directory)
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)) as left:
        os.close(lock)
        assert stopped.run("down").returncode == 0
        assert left.wait(PATIENCE) == -signal.SIGTERM
    assert stopped.is_gone()
