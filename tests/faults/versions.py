"""Versions of the software in a campaign."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import valerix_cli
from valerix_cli.local.binaries import embedded_postgres, embedded_valkey, postgres_version


def versions() -> dict[str, str]:
    """Return the versions of all components, and the commit if this is a Git repository."""
    found = {
        "valerix": valerix_cli.__version__,
        "commit": _commit(),
        "Python": platform.python_version(),
        "PostgreSQL": ".".join(map(str, postgres_version(embedded_postgres(None, Path())))),
        "Valkey": _said_by(str(embedded_valkey()), "--version").partition("v=")[2].partition(" ")[0],
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors",
    }
    return {name: version for name, version in found.items() if version}


def _commit() -> str:
    git = shutil.which("git")
    here = str(Path(__file__).parent)
    return _said_by(git, "-C", here, "describe", "--always", "--dirty", "--abbrev=12") if git else ""


def _said_by(*command: str) -> str:
    """Return the output of a program; "" if it fails."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
