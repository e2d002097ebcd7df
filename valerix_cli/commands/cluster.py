"""valerix cluster: check, diff, apply, status, rollback, delete."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from valerix_cli.app import App
from valerix_cli.errors import BadUsageError, ChangesFoundError, CliError, ExitCode, UnreachableError
from valerix_cli.output import busy, follow, show, talk, warn
from valerix_cli.polling import poll
from valerix_cli.session import Session

if TYPE_CHECKING:  # an extra, and slow
    from collections.abc import Sequence

    from valerix_cli.cluster.api import Api
    from valerix_cli.cluster.apply import Ways
    from valerix_cli.cluster.model import Change
    from valerix_cli.cluster.objects import Object, Ref
    from valerix_cli.cluster.plan import Planned
    from valerix_cli.cluster.where import Target

app = App("Run the platform in a Kubernetes cluster.")

_WAIT = 300.0  # seconds that each wave of an apply may take, unless --timeout says otherwise
_EVERY = 1.0  # seconds

OverlayOption = Annotated[
    str | None,
    typer.Option("--overlay", metavar="NAME|DIR", help="What the cluster is to look like; the context's, else local."),
]
ImageOption = Annotated[
    str | None, typer.Option("--image", metavar="NAME:TAG", help="The services' image, instead of the overlay's.")
]
ForceOption = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that another manager has set.")]


@app.command("check")
def check(ctx: typer.Context, *, overlay: OverlayOption = None) -> None:
    """Say all that an overlay would lack in a cluster.

    Access, version, rights (with the Role that would grant what is missing), kinds, storage, ways in; exit 3 where
    something fails.
    """
    from valerix_cli.cluster.check import check as examine  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.views.cluster import readiness_view  # noqa: PLC0415 - --help must not pay for it

    session: Session = ctx.obj
    target, api = _reach(session, overlay)
    with busy(f"looking at {target}", session.output):
        found = examine(api, target, _described(target))
    show(found, readiness_view, session.output)
    failed = [line for line in found.checks if line.status == "failed"]
    if failed:
        named = ", ".join(f"{line.group}: {line.name}" for line in failed)
        raise UnreachableError(
            f"The overlay {target.overlay} cannot be applied to {target}.",
            f"{named}; first: {failed[0].found}",
            failed[0].hint or "valerix cluster check",
        )


@app.command("diff")
def diff(
    ctx: typer.Context,
    *,
    overlay: OverlayOption = None,
    image: ImageOption = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 20 when something would change.")] = False,
) -> None:
    """Show what an apply would change.

    The API server itself says it (a server-side dry run); nothing is written, and nothing secret is shown.
    """
    from valerix_cli.cluster.model import Diff, summary  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.plan import orphans, plan, refusal_of  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import diff_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = _reach(session, overlay)
    with busy(f"asking {target}", session.output):
        things = _described(target, image)
        planned = plan(api, target, things)
        left = orphans(api, target, things)
    changes = [one.change for one in planned]
    refused = [f"{one.refusal.what} {one.refusal.why}" for one in planned if one.refusal]
    found = Diff(target.cluster, target.namespace, target.overlay, summary(changes), changes, refused)
    show(found, diff_view, session.output)
    _say_orphans(session, left)
    if refusal := refusal_of(planned):
        raise refusal
    if exit_code and any(change.fate != "unchanged" for change in changes):
        raise ChangesFoundError(
            f"{target} is not as the overlay {target.overlay} describes it.", found.summary, "valerix cluster apply"
        )


@app.command("apply")
def apply(
    ctx: typer.Context,
    *,
    overlay: OverlayOption = None,
    image: ImageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what Valerix once applied and is described no longer.")
    ] = False,
    force_conflicts: ForceOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is ready.")] = True,
) -> None:
    """Have a cluster be as an overlay describes it.

    It goes wave by wave, and waits until each is ready.

    Everything is tried out first (a server-side dry run), so that what the cluster would refuse is said before anything
    is changed. Only a cluster that a context of the user's config or of a trusted valerix.toml names is written to.
    """
    from valerix_cli.cluster.model import Applied, Change, summary  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.plan import orphans, plan, refusal_of  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import applied_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    began = time.monotonic()
    target, api = _reach(session, overlay)
    if not dry_run:
        _writable(session, target, f"apply the overlay {target.overlay}")
    with busy(f"asking {target}", session.output):
        things = _described(target, image)
        planned = plan(api, target, things, force=force_conflicts)
        left = orphans(api, target, things)
    if refusal := refusal_of(planned):
        raise refusal
    changes = [one.change for one in planned]
    if not dry_run:
        if any(change.fate != "unchanged" for change in changes):
            session.agree(
                f"apply the overlay {target.overlay} ({summary(changes)}) to {target}", "it changes a cluster"
            )
        changes = _carry_out(api, planned, _ways(session, force=force_conflicts, wait=wait))
        if prune and left:
            changes += [Change(one.kind, one.name, "deleted") for one in _prune(session, api, target, left)]
            left = []
    result = Applied(
        target.cluster,
        target.namespace,
        target.overlay,
        summary(changes),
        dry_run,
        changes,
        [str(one) for one in left],
        round(time.monotonic() - began, 1),
    )
    show(result, applied_view, session.output)
    if not prune or dry_run:
        _say_orphans(session, left)
    if not dry_run and (fates := {change.fate for change in changes} - {"unchanged"}):
        talk(f"Undo: valerix cluster {'delete' if fates == {'created'} else 'rollback'}", session.output)


@app.command("status")
def status(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
) -> None:
    """Show what runs in a cluster and how it is.

    Exit 3 when nothing does, 1 when something does not come up.
    """
    from valerix_cli.cluster.status import look  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.views import cluster as views  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = _reach(session, None)
    if watch:
        follow(
            poll(lambda: look(api, target), session.output, every=_EVERY),
            screen=views.status_view,
            changes=views.status_changes,
            line=views.workload_line,
            output=session.output,
        )
        return
    found = look(api, target)
    show(found, views.status_view, session.output)
    if found.state == "absent":
        raise UnreachableError(
            f"Nothing of Valerix runs in {target}.", "nothing was applied there", "valerix cluster apply"
        )
    failed = [one for one in found.workloads if one.state == "failed"]
    if failed:
        raise CliError(
            f"{failed[0].kind}/{failed[0].name} does not come up.",
            failed[0].detail,
            "valerix cluster rollback, or apply what is corrected",
        )


@app.command("rollback")
def rollback(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Without: those not up, else all.")
    ] = None,
) -> None:
    """Go back to what ran before.

    That is the image and the settings of the revision before. Schemas stay, since they only grow.
    """
    from valerix_cli.cluster.apply import await_all  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.rollback import find_returns, go_back  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import rolled_back_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = _reach(session, None)
    _writable(session, target, "roll back")
    returns = find_returns(api, target, services or ())
    named = ", ".join(f"{one.outcome.name} to revision {one.outcome.to_revision}" for one in returns)
    session.agree(f"roll back {named} in {target}", "it changes a cluster")
    for one in returns:
        go_back(api, one)
    await_all(api, [one.deployment for one in returns], _ways(session))
    show([one.outcome for one in returns], rolled_back_view, session.output)
    talk("Undo: valerix cluster rollback, once more; or valerix cluster apply", session.output)


@app.command("delete")
def delete(
    ctx: typer.Context,
    *,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="The data too, the secrets that open it, and the namespace.")
    ] = False,
) -> None:
    """Take Valerix out of a cluster, but for its data.

    Volumes and secrets are kept, so that an apply brings everything back.
    """
    from valerix_cli.cluster import delete as deed  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.model import Deleted  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import deleted_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = _reach(session, None)
    _writable(session, target, "delete Valerix")
    gone, kept = deed.find(api, target, volumes=volumes)
    if volumes:
        warn("The data goes too: every order, and what is in stock.", session.output)
    session.agree(f"delete {len(gone)} objects from {target}", "it changes a cluster")
    with busy(f"deleting from {target}", session.output):
        deed.delete(api, gone)
    show(Deleted(target.cluster, target.namespace, [*map(str, gone)], [*map(str, kept)]), deleted_view, session.output)
    if not volumes:
        talk("Undo: valerix cluster apply", session.output)


def _reach(session: Session, overlay: str | None) -> "tuple[Target, Api]":
    from dataclasses import replace  # noqa: PLC0415 - with those below

    from valerix_cli.cluster.api import connect, kube_contexts  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.where import find_target  # noqa: PLC0415 - the same

    target = find_target(session.settings, kube_contexts)
    return replace(target, overlay=overlay or target.overlay), connect(target.cluster)


def _described(target: "Target", image: str | None = None) -> "Sequence[Object]":
    from valerix_cli.cluster.overlays import find_overlay, render  # noqa: PLC0415 - an extra, and slow
    from valerix_cli.cluster.where import NAMESPACE  # noqa: PLC0415 - the same

    namespace = None if target.namespace == NAMESPACE else target.namespace
    things = render(find_overlay(target.overlay), namespace=namespace, image=image)
    if not things:
        raise BadUsageError(
            f"The overlay {target.overlay} describes nothing.",
            "it renders no object",
            "valerix cluster check --overlay DIR",
        )
    return things


def _writable(session: Session, target: "Target", deed: str) -> None:
    from valerix_cli.cluster.where import may_be_written  # noqa: PLC0415 - an extra, and slow

    may_be_written(target, session.settings, deed)


def _ways(session: Session, *, force: bool = False, wait: bool = True) -> "Ways":
    from valerix_cli.cluster.apply import Ways  # noqa: PLC0415 - an extra, and slow

    limit = session.settings.setting("timeout").value or _WAIT
    return Ways(lambda text: talk(text, session.output), limit, force=force, wait=wait)


def _carry_out(api: "Api", planned: "Sequence[Planned]", ways: "Ways") -> "list[Change]":
    from valerix_cli.cluster.apply import apply as carry_out  # noqa: PLC0415 - an extra, and slow

    try:
        return carry_out(api, planned, ways)
    except (KeyboardInterrupt, SystemExit) as end:
        error = CliError(
            "The apply was interrupted.",
            "what was applied until then stays, and no object is half written",
            "valerix cluster apply, which goes on with the rest",
        )
        error.code = ExitCode.of(end)
        raise error from end


def _prune(session: Session, api: "Api", target: "Target", left: "list[Ref]") -> "list[Ref]":
    named = ", ".join(map(str, left))
    session.agree(f"delete {named} from {target}", "it changes a cluster")  # nosec B608 # a question to a person, no SQL
    for one in left:
        api.delete(one)
    return left


def _say_orphans(session: Session, left: "Sequence[Ref]") -> None:
    if left:
        named = ", ".join(map(str, left))
        warn(f"Described no longer: {named}. Delete them: valerix cluster apply --prune", session.output)
