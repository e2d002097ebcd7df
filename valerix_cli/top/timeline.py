"""The recent states of a breaker, cell by cell. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from valerix_cli.clients.wire import BreakerTransition, ReplicaBreaker

MARKS: dict[str | None, str] = {"closed": "▁", "half-open": "▄", "open": "█", None: " "}
"""Each state has another height, so that it is distinguishable without colours."""

_SHOWN_FIRST = ("half-open", "open", "closed")  # a trial takes milliseconds, and is the most interesting state


def timeline(
    replica: ReplicaBreaker, history: Iterable[BreakerTransition], now: datetime, *, cells: int, seconds: float
) -> list[str | None]:
    """Return the state in each of the last `cells` intervals of `seconds`, oldest first; None if unknown.

    An interval with several states shows the rarest and shortest.
    """
    changes = _changes(replica, history)
    begin = now - timedelta(seconds=cells * seconds)
    return [
        _of_stretch(changes, begin + timedelta(seconds=cell * seconds), begin + timedelta(seconds=(cell + 1) * seconds))
        for cell in range(cells)
    ]


def _changes(replica: ReplicaBreaker, history: Iterable[BreakerTransition]) -> list[tuple[datetime, str]]:
    """Return the time and state of each transition, oldest first; the replica's own last report is more recent."""
    own = sorted((one for one in history if one.replica == replica.replica), key=lambda one: one.at)
    changes = [(one.at, one.to) for one in own]
    if own and own[0].from_:
        changes.insert(0, (datetime.min.replace(tzinfo=own[0].at.tzinfo), own[0].from_))
    if not own or own[-1].to != replica.state:
        changes.append((replica.since, replica.state))
    return changes


def _of_stretch(changes: Sequence[tuple[datetime, str]], begin: datetime, end: datetime) -> str | None:
    before = [state for at, state in changes if at <= begin]
    during = [state for at, state in changes if begin < at < end]
    states = {*before[-1:], *during}
    return next((state for state in _SHOWN_FIRST if state in states), None)
