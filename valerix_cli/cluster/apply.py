"""Applies planned changes wave by wave, and waits until each object is ready."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from valerix_cli.cluster import scaling
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import State, evaluate
from valerix_cli.cluster.history import kept, was_available
from valerix_cli.cluster.lease import LeaseLostError
from valerix_cli.cluster.model import Change, summary
from valerix_cli.cluster.objects import Object, Ref, ref, waves
from valerix_cli.cluster.plan import Planned, explained
from valerix_cli.cluster.pods import Report, report, seen_closer
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import CliError, TimeoutExpiredError, UnreachableError
from valerix_cli.quoting import command
from valerix_cli.units import format_duration

_LOOK_EVERY = 1.0  # seconds
_GONE_WITHIN = 120.0  # seconds for the deletion of a replaced object

Log = Callable[[str], None]


class RolloutError(CliError):
    """An applied object does not become ready."""


@dataclass(frozen=True)
class ApplyOptions:
    """Options of an apply: `limit` is the timeout of each wave in seconds; `log` reports progress.

    `check` is called before each write, and raises once writing is no longer allowed.
    """

    log: Log
    limit: float
    force: bool = False
    wait: bool = True
    pause: Callable[[float], None] = time.sleep
    check: Callable[[], None] = lambda: None


def apply(api: Api, planned: Sequence[Planned], options: ApplyOptions) -> list[Change]:
    """Apply all changes. Raises at the first object that does not become ready; earlier changes stay.

    The objects of a wave are applied concurrently.
    """
    by_ref = {ref(one.manifest): one for one in planned}
    order = waves(one.manifest for one in planned)
    done: list[Change] = []
    for number, wave in enumerate(order, 1):
        try:
            changes = api.each(lambda manifest: _apply_one(api, by_ref[ref(manifest)], options), wave.objects)
        except (UnreachableError, LeaseLostError) as error:
            far = f"it came as far as wave {number} of {len(order)}, {wave.name}; {len(done)} objects are applied"
            error.why = f"{error.why}; {far}"
            error.hint = "valerix cluster apply continues with the rest"
            raise
        done += changes
        options.log(f"wave {number} of {len(order)}, {wave.name}: {summary(changes)}")
        if options.wait:
            here = map(ref, wave.objects)
            await_all(api, [one for one in here if not by_ref[one].is_settled], options)
    return done


def await_all(api: Api, refs: Iterable[Ref], options: ApplyOptions) -> None:
    """Wait until each is ready. Raises RolloutError as soon as one has failed, TimeoutExpiredError after the limit."""
    deadline = time.monotonic() + options.limit
    pending, shown = list(refs), dict[Ref, str]()
    while pending := list(_not_ready(api, pending, shown, options)):
        if time.monotonic() > deadline:
            raise _too_late(api, pending[0], shown[pending[0]], options)
        options.pause(_LOOK_EVERY)


def _not_ready(api: Api, refs: Sequence[Ref], shown: dict[Ref, str], options: ApplyOptions) -> Iterator[Ref]:
    for one, live in zip(refs, api.each(api.get, refs), strict=True):
        state = State("waiting", "it is not there yet") if live is None else evaluate(live)
        if state.verdict == "ready":
            if one in shown:
                options.log(f"{one}: ready")
            continue
        if live is not None and (state := seen_closer(api, live, state)).verdict == "failed":
            raise rollout_failed(api, live, state, options.log)
        if shown.get(one) != state.why:
            options.log(f"{one}: {state.why}")
        shown[one] = state.why
        yield one


def rollout_failed(api: Api, live: Object, state: State, log: Log) -> RolloutError:
    """Report the latest warnings and log lines of a workload that does not become ready; return its error."""
    found, name = report(api, live), ref(live)
    _log_report(found, log)
    why = str(found.trouble) if found.trouble else found.unscheduled or state.why
    return RolloutError(f"{name} does not become ready.", why, way_back(api, live))


def way_back(api: Api, live: Object) -> str:
    """Return the hint for a workload that does not become ready: a rollback if a service has an available revision."""
    again = "correct it and apply again"
    if live["kind"] != "Deployment":
        return again
    back = any(map(was_available, kept(api, live).earlier))
    return f"{again}; or {command('valerix cluster rollback', live['metadata']['name'])}" if back else again


def _too_late(api: Api, one: Ref, why: str, options: ApplyOptions) -> TimeoutExpiredError:
    live = api.get(one)
    if live is not None:
        found = report(api, live)
        _log_report(found, options.log)
        why = f"{why}; {found.trouble or found.unscheduled}" if found.trouble or found.unscheduled else why
    return TimeoutExpiredError(
        f"{one} was not ready within {format_duration(options.limit)}.",
        why,
        "valerix cluster status --watch; or apply again with a longer --timeout",
    )


def _log_report(found: Report, log: Log) -> None:
    for warning in found.warnings:
        log(f"  event: {warning}")
    for line in found.log:
        log(f"  log: {line}")


def _apply_one(api: Api, one: Planned, options: ApplyOptions) -> Change:
    if one.is_settled:
        return one.change
    options.check()
    if one.manifest["kind"] == "Secret":
        _create(api, one.manifest)
        return one.change
    if one.replaced_by and one.live is not None:
        replace(api, one.live, one.replaced_by, options)
    if one.hands_over is not None:
        scaling.hand_over(api, ref(one.manifest), one.hands_over)
    try:
        api.apply(one.manifest, force=options.force or one.force)
    except ApiError as error:
        raise explained(error, ref(one.manifest)) from error
    return one.change


def _create(api: Api, secret: Object) -> None:
    """Create a secret. An existing one stays: it is from a repeated request or from another user."""
    try:
        api.create(secret)
    except ApiError as error:
        if not error.is_outdated:
            raise


def replace(api: Api, live: Object, policy: Literal["Foreground", "Orphan"], options: ApplyOptions) -> None:
    """Delete an object that cannot be changed, with or without its pods, and wait until it does not exist."""
    old, uid = ref(live), live["metadata"]["uid"]
    api.delete(old, policy=policy, uid=uid)
    deadline = time.monotonic() + _GONE_WITHIN
    while (now := api.get(old)) is not None and now["metadata"]["uid"] == uid:
        if time.monotonic() > deadline:
            raise TimeoutExpiredError(
                f"{old} still exists.",
                f"deleted {format_duration(_GONE_WITHIN)} ago",
                command("kubectl describe", old, namespace=old.namespace),
            )
        options.pause(_LOOK_EVERY)
