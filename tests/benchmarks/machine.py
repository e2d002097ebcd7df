"""The machine that a benchmark runs on."""

import os
import platform
from pathlib import Path

import psutil

from tests.benchmarks.results import Machine


def machine(directory: Path) -> Machine:
    """Return the description of this machine, with the file system of `directory`."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        python=platform.python_version(),
        filesystem=_filesystem(directory.resolve()),
    )


def _processor() -> str:
    """Return the processor's name: Linux's name for it, elsewhere Python's."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _filesystem(directory: Path) -> str:
    """Return the type of the file system mounted nearest above `directory`."""
    above = {str(path) for path in (directory, *directory.parents)}
    mounted = [one for one in psutil.disk_partitions(all=True) if one.mountpoint in above]
    return max(mounted, key=lambda one: len(one.mountpoint)).fstype if mounted else "unknown"
