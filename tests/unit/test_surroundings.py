"""Tests are independent of their starter: signals, terminal, standard input and variables."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.surroundings import FIXED, NAMES, OWN, PREFIXES, settle_variables

HOSTILE = {
    "PGSSLMODE": "require",
    "PGHOSTADDR": "127.0.0.9",
    "PGSERVICE": "nosuch",
    "PGOPTIONS": "-c x=y",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "COLUMNS": "20",
    "TERM": "dumb",
    "LANG": "C",
    "LC_ALL": "POSIX",
    "PYTHONWARNINGS": "error",
    "VALERIX_CONTEXT": "production",
}
CHILD = """
import json, os, signal
inherited = [signal.Signals(number).name for number in signal.valid_signals()
             if signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ)]
print(json.dumps([inherited, [*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))], dict(os.environ)]))
"""
PARENT = f"""
import os, subprocess, sys
from tests.surroundings import settle
settle()
assert os.path.samestat(os.fstat(0), os.stat(os.devnull))
sys.exit(subprocess.run([sys.executable, "-I", "-c", {CHILD!r}]).returncode)
"""


def test_a_process_started_by_a_test_has_the_signals_and_environment_of_a_shell() -> None:
    """However this run was started: here as a background job, under nohup, without standard input."""
    started = subprocess.run(
        ["/bin/sh", "-c", 'trap \'\' HUP INT QUIT USR1 CHLD; exec "$0" -c "$1" <&-', sys.executable, PARENT],
        env=os.environ | HOSTILE | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    ignored, blocked, environ = json.loads(started.stdout)
    assert (ignored, blocked) == ([], [])
    assert {name for name in environ if name.startswith(PREFIXES) or name.upper() in NAMES} == set(FIXED)
    assert environ.items() >= FIXED.items()


def test_settings_for_the_tests_are_kept() -> None:
    environ = dict.fromkeys(OWN, "x") | {"PATH": "/bin", "KUBEBUILDER_ASSETS": "/y"}
    expected = environ | FIXED
    settle_variables(environ)
    assert environ == expected
