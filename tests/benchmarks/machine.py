"""Where a benchmark runs."""

import os
import platform
from pathlib import Path

import psutil

from tests.benchmarks.results import Machine


def machine(directory: Path) -> Machine:
    """This machine, with the file system that `directory` is on."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        python=platform.python_version(),
        filesystem=_filesystem(directory.resolve()),
    )


def _processor() -> str:
    """As Linux names it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _filesystem(directory: Path) -> str:
    """Of the mount point nearest above it."""
    above = {str(path) for path in (directory, *directory.parents)}
    mounted = [one for one in psutil.disk_partitions(all=True) if one.mountpoint in above]
    return max(mounted, key=lambda one: len(one.mountpoint)).fstype if mounted else "unknown"
