"""Detection of stopped processes of this machine, which do not respond but still accept connections."""

import psutil

from valerix_cli.doctor.findings import Finding, Subject

_STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


def is_stopped(pid: int) -> bool:
    """Return True if it was stopped by a signal or a debugger; False if there is no such process."""
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False


def silent(about: Subject, pid: int | None, why: str, hint: str) -> Finding:
    """Return a failed finding for a process that does not respond: it is stopped, or else for the reason `why`."""
    if pid is not None and is_stopped(pid):
        return about.failed(f"Its process {pid} was stopped by a signal.", f"kill -CONT {pid}")
    return about.failed(why, hint)
