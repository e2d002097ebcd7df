"""Processes started by tests end with them, however the tests end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.processes import eventually

STARTER = """
import signal, sys
from pathlib import Path
from tests.fork_server import FORKS, be_module, start

if __name__ == "__main__":
    child = FORKS.Process(target=be_module, args=("http.server", {}, Path(sys.argv[1])))
    sys.argv[1:] = ["0", "--bind", "127.0.0.1"]
    start(child)
    print(child.pid, flush=True)
    signal.pause()
"""


def test_a_forked_process_dies_with_its_starter(tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(STARTER)
    starter = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert starter.stdout is not None
    child = psutil.Process(int(starter.stdout.readline()))
    assert child.is_running()
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10, "its end")
