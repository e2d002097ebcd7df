"""Comparison of this machine's clock with the database's, which is authoritative, and with each service's."""

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from valerix_cli.audit.queries.databases import Connection
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import Finding, Subject
from valerix_cli.units import format_duration

_COARSE = timedelta(seconds=2)  # a Date header has whole seconds, and servers update it once a second
_SET_IT = "sudo timedatectl set-ntp true" if sys.platform == "linux" else "sudo sntp -sS time.apple.com"


def of_database(conn: Connection, setup: Setup) -> Finding:
    about = Subject("clock", "postgres")
    before = setup.now()
    [(theirs,)] = conn.execute("SELECT clock_timestamp()").fetchall()
    return evaluate(about, ahead((theirs, theirs), (before, setup.now())), setup.limits.drift)


def of_service(name: str, answer: httpx.Response, ours: tuple[datetime, datetime], limit: float) -> Iterator[Finding]:
    """Compare the Date header of `answer` with the local times before and after; yields nothing without the header."""
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return
    yield evaluate(Subject("clock", name), ahead((theirs, theirs + _COARSE), ours), limit)


def ahead(theirs: tuple[datetime, datetime], ours: tuple[datetime, datetime]) -> float:
    """Return the minimum of seconds by which their clock is ahead of ours (negative: behind); 0 if both may be equal.

    Both times were read at the same moment; each is given as an interval.
    """
    least, most = (theirs[0] - ours[1]).total_seconds(), (theirs[1] - ours[0]).total_seconds()
    return max(least, 0.0) or min(most, 0.0)


def evaluate(about: Subject, seconds: float, limit: float) -> Finding:
    if abs(seconds) <= limit:
        return about.ok(f"It agrees with this machine's to within {format_duration(limit)}.")
    how = f"{format_duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} this machine's"
    return about.warning(f"It is {how}; their events cannot be put in order.", f"{_SET_IT}, where date -u is wrong")
