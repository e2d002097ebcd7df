"""Applies what was planned, wave by wave, and waits until each has come about."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from valerix_cli.cluster.api import Api, ApiError
from valerix_cli.cluster.health import State, judge, troubles, unscheduled
from valerix_cli.cluster.model import Change, summary
from valerix_cli.cluster.objects import Object, Ref, ref, waves
from valerix_cli.cluster.plan import Planned, explained
from valerix_cli.cluster.pods import Report, pods_of, report
from valerix_cli.durations import say_duration
from valerix_cli.errors import CliError, WaitedTooLongError
from valerix_cli.quoting import command

_LOOK_EVERY = 1.0  # seconds
_GONE_WITHIN = 120.0  # seconds that what is replaced may take to go

Say = Callable[[str], None]


class NotUpError(CliError):
    """Something that was applied does not come up."""


@dataclass(frozen=True)
class Ways:
    """How to go about it: `limit` in seconds holds for each wave; `say` tells what goes on."""

    say: Say
    limit: float
    force: bool = False
    wait: bool = True
    pause: Callable[[float], None] = time.sleep


def apply(api: Api, planned: Sequence[Planned], ways: Ways) -> list[Change]:
    """Apply everything. Raises at the first thing that does not come up; what was applied until then stays."""
    by_ref = {ref(one.thing): one for one in planned}
    order = waves(one.thing for one in planned)
    done: list[Change] = []
    for number, wave in enumerate(order, 1):
        changes = [_apply_one(api, by_ref[ref(thing)], ways) for thing in wave.objects]
        done += changes
        ways.say(f"wave {number} of {len(order)}, {wave.name}: {summary(changes)}")
        if ways.wait:
            await_all(api, [ref(thing) for thing in wave.objects], ways)
    return done


def await_all(api: Api, wanted: Iterable[Ref], ways: Ways) -> None:
    """Wait until each is ready. Raises NotUpError as soon as one cannot be, WaitedTooLongError after the limit."""
    deadline = time.monotonic() + ways.limit
    pending, told = list(wanted), dict[Ref, str]()
    while pending := list(_not_ready(api, pending, told, ways)):
        if time.monotonic() > deadline:
            raise _too_late(api, pending[0], told[pending[0]], ways)
        ways.pause(_LOOK_EVERY)


def _not_ready(api: Api, wanted: Sequence[Ref], told: dict[Ref, str], ways: Ways) -> Iterator[Ref]:
    for one in wanted:
        live = api.get(one)
        state = State("waiting", "it is not there yet") if live is None else judge(live)
        if state.verdict == "ready":
            if one in told:
                ways.say(f"{one}: ready")
            continue
        if live is not None and (state := _seen_closer(api, live, state)).verdict == "failed":
            raise not_up(api, live, state, ways.say)
        if told.get(one) != state.why:
            ways.say(f"{one}: {state.why}")
        told[one] = state.why
        yield one


def not_up(api: Api, live: Object, state: State, say: Say) -> NotUpError:
    """What to say of a workload that does not come up; its latest warnings and last lines are said at once."""
    found, name = report(api, live), ref(live)
    _say_all(found, say)
    why = str(found.trouble) if found.trouble else found.unscheduled or state.why
    return NotUpError(
        f"{name} does not come up.",
        why,
        "correct it and apply again; or go back to what ran before: valerix cluster rollback"
        if live["kind"] == "Deployment"
        else "correct it and apply again; no service was touched",
    )


def _seen_closer(api: Api, live: Object, state: State) -> State:
    """What its pods say of it: it is lost where a container waits in vain, and waits on where no node takes one."""
    pods = pods_of(api, live)
    if trouble := next((found for pod in pods for found in troubles(pod)), None):
        return State("failed", str(trouble))
    homeless = next(filter(None, map(unscheduled, pods)), None)
    return State(state.verdict, f"{state.why}; {homeless}") if homeless else state


def _too_late(api: Api, one: Ref, why: str, ways: Ways) -> WaitedTooLongError:
    live = api.get(one)
    if live is not None:
        found = report(api, live)
        _say_all(found, ways.say)
        why = f"{why}; {found.trouble or found.unscheduled}" if found.trouble or found.unscheduled else why
    return WaitedTooLongError(
        f"{one} was not ready within {say_duration(ways.limit)}.",
        why,
        "valerix cluster status --watch; or apply again with a longer --timeout",
    )


def _say_all(found: Report, say: Say) -> None:
    for warning in found.warnings:
        say(f"  event: {warning}")
    for line in found.log:
        say(f"  log: {line}")


def _apply_one(api: Api, one: Planned, ways: Ways) -> Change:
    if one.thing["kind"] == "Secret":
        api.create(one.thing)
        return one.change
    if one.change.fate == "replaced":
        replace(api, ref(one.thing), ways)
    try:
        api.apply(one.thing, force=ways.force)
    except ApiError as error:
        raise explained(error, ref(one.thing)) from error
    return one.change


def replace(api: Api, old: Ref, ways: Ways) -> None:
    """Delete what cannot be changed, and wait until it is gone."""
    api.delete(old, foreground=True)
    deadline = time.monotonic() + _GONE_WITHIN
    while api.get(old) is not None:
        if time.monotonic() > deadline:
            raise WaitedTooLongError(
                f"{old} does not go away.",
                f"deleted {say_duration(_GONE_WITHIN)} ago",
                command("kubectl describe", old, namespace=old.namespace),
            )
        ways.pause(_LOOK_EVERY)
