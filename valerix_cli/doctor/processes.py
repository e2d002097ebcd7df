"""Whether a process of this machine is stopped, which looks from outside like one that hangs."""

from pathlib import Path

from valerix_cli.doctor.findings import Finding, Subject

_STOPPED = {"T", "t"}


def is_stopped(pid: int) -> bool:
    """Whether it was stopped by a signal or a debugger, as far as the system tells (Linux, see proc_pid_stat(5))."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return after_name.split()[0] in _STOPPED


def silent(about: Subject, pid: int | None, why: str, hint: str) -> Finding:
    """Failed, since it does not answer: for want of SIGCONT if that is so, else for the reason `why`."""
    if pid is not None and is_stopped(pid):
        return about.failed(f"Its process {pid} was stopped by a signal.", f"kill -CONT {pid}")
    return about.failed(why, hint)
