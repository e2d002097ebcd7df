"""valerix cluster: check, diff, apply, status, history, rollback, delete."""

import time
from typing import Annotated

import msgspec
import typer

from valerix_cli.commands.cluster_target import (
    apply_options,
    carry_out,
    check_writable,
    connect_target,
    known_clusters,
    plan_deployment,
    refuse_gremlins,
    render_overlay,
    warn_orphans,
    warn_unknown,
)
from valerix_cli.errors import BadUsageError, ChangesFoundError, CliError, UnreachableError
from valerix_cli.output import follow, info, print_result, spinner, warn
from valerix_cli.polling import poll
from valerix_cli.session import Session
from valerix_cli.typer_app import App

app = App("Run the platform in a Kubernetes cluster.")

_EVERY = 1.0  # seconds

OverlayOption = Annotated[
    str | None,
    typer.Option("--overlay", metavar="NAME|DIR", help="Overlay to apply; the context's, else local."),
]
ImageOption = Annotated[
    str | None, typer.Option("--image", metavar="NAME:TAG", help="The services' image, instead of the overlay's.")
]
ForceOption = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that another manager has set.")]


@app.command("check")
def check(
    ctx: typer.Context,
    *,
    overlay: OverlayOption = None,
    accept: Annotated[bool, typer.Option("--accept", help="Bind the context to this cluster from now on.")] = False,
) -> None:
    """Check that a cluster can run an overlay.

    Checks access, version, permissions (with the Role that would grant missing ones), kinds, storage and ingress; exit
    3 if a check failed.
    """
    from valerix_cli.cluster.check import check as run_checks  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.identity import identities  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import readiness_view  # noqa: PLC0415 - --help must not pay for it

    session: Session = ctx.obj
    target, api = connect_target(session, overlay)
    if accept:
        check_writable(session, target, "remember the cluster")
        session.require_confirmation(
            f"bind the context `{target.named}` to {target.cluster} at {api.server}",
            "later commands go to that cluster",
        )
        known_clusters().remember(str(target.named), identities(api)[0])
    with spinner(f"looking at {target}", session.output):
        found = run_checks(api, target, render_overlay(target), known_clusters())
    print_result(found, readiness_view, session.output)
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

    Uses a server-side dry run: the cluster is not changed, and secrets are not shown.
    """
    from valerix_cli.cluster.model import Diff, summary  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.plan import orphans, plan, refusal_of  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import diff_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = connect_target(session, overlay)
    with spinner(f"asking {target}", session.output):
        manifests = render_overlay(target, image)
        planned = plan(api, target, manifests)
        left = orphans(api, target, manifests)
    changes = [one.change for one in planned]
    refused = [f"{one.refusal.what} {one.refusal.why}" for one in planned if one.refusal]
    found = Diff(target.cluster, target.namespace, target.overlay, summary(changes), changes, refused)
    print_result(found, diff_view, session.output)
    warn_orphans(session, left)
    if refusal := refusal_of(planned):
        raise refusal
    if exit_code and any(change.action != "unchanged" for change in changes):
        raise ChangesFoundError(
            f"{target} differs from the overlay {target.overlay}.", found.summary, "valerix cluster apply"
        )


@app.command("apply")
def apply(  # noqa: PLR0913 - its options
    ctx: typer.Context,
    *,
    overlay: OverlayOption = None,
    image: ImageOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the changes; write nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete objects of Valerix that the overlay no longer has.")
    ] = False,
    force_conflicts: ForceOption = False,
    share_namespace: Annotated[
        bool,
        typer.Option("--share-namespace", help="Apply where others have objects; its limits apply to all."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is ready.")] = True,
) -> None:
    """Apply an overlay to a cluster.

    Objects are applied in waves; each wave has to be ready before the next.

    A server-side dry run comes first, so that rejected objects are reported before anything is changed. Only a cluster
    that is named by a context of the user's config or of a trusted valerix.toml is changed, and only by one command at
    a time.
    """
    from valerix_cli.cluster.deploy import Deployment  # noqa: PLC0415 - slow to import
    from valerix_cli.views.cluster import applied_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    began = time.monotonic()
    target, api = connect_target(session, overlay)
    if not dry_run:
        check_writable(session, target, f"apply the overlay {target.overlay}", api)
    manifests = render_overlay(target, image)
    refuse_gremlins(session, target, manifests)
    deployment = Deployment(api, target, manifests, force=force_conflicts, prune=prune, share=share_namespace)
    if dry_run:
        result = plan_deployment(session, deployment).would_be()
    else:
        with deployment.alone():
            plan_deployment(session, deployment)
            for note in deployment.notes:
                warn(f"This {note}.", session.output)
            if deployment.changes_something:
                session.require_confirmation(
                    f"apply the overlay {target.overlay} ({deployment.summary}) to {target}", "it changes a cluster"
                )
            if deployment.orphans.objects and prune:
                named = ", ".join(map(str, deployment.orphans.refs))
                session.require_confirmation(f"delete {named} from {target}", "it changes a cluster")  # nosec B608 # no SQL
            result = carry_out(deployment, apply_options(session, force=force_conflicts, wait=wait))
    result = msgspec.structs.replace(result, seconds=round(time.monotonic() - began, 1))
    print_result(result, applied_view, session.output)
    if not prune or dry_run:
        warn_orphans(session, deployment.orphans)
    if hint := deployment.undo if not dry_run else None:
        info(f"Undo: {hint}", session.output)


@app.command("status")
def status(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show the workloads in a cluster and their state.

    Exit 3 if there are none, 1 if one does not become ready.
    """
    from valerix_cli.cluster.status import read_status  # noqa: PLC0415 - slow to import
    from valerix_cli.views import cluster as views  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = connect_target(session, None)
    if watch:
        follow(
            poll(lambda: read_status(api, target), session.output, every=_EVERY),
            screen=views.status_view,
            changes=views.status_changes,
            line=views.workload_line,
            output=session.output,
        )
        return
    found = read_status(api, target)
    print_result(found, views.status_view, session.output)
    if found.state == "absent":
        raise UnreachableError(
            f"Valerix is not installed in {target}.", "nothing was applied there", "valerix cluster apply"
        )
    failed = [one for one in found.workloads if one.state == "failed"]
    if failed:
        how = "has failed" if failed[0].kind in {"Job", "CronJob"} else "does not become ready"
        raise CliError(
            f"{failed[0].kind}/{failed[0].name} {how}.",
            failed[0].detail,
            "correct it and apply again; valerix cluster history shows what services can go back to",
        )


@app.command("history")
def history(
    ctx: typer.Context,
    services: Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Omit for every service.")] = None,
) -> None:
    """Show the kept revisions of the services, and which of them were available."""
    from valerix_cli.cluster import history as revisions  # noqa: PLC0415 - slow to import
    from valerix_cli.views.cluster import history_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    target, api = connect_target(session, None)
    print_result(revisions.history(api, target, services or ()), history_view, session.output)


@app.command("rollback")
def rollback(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]…", help="Omit for services that are not up, else all.")
    ] = None,
    *,
    to_revision: Annotated[
        int | None, typer.Option("--to-revision", min=1, help="Revision of one service; see valerix cluster history.")
    ] = None,
    force_conflicts: ForceOption = False,
) -> None:
    """Roll back to the last revision that was available.

    This restores its image and its settings. Schemas are kept, since migrations only add to them.
    """
    from valerix_cli.cluster.apply import await_all  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.history import note_available  # noqa: PLC0415 - the same
    from valerix_cli.cluster.lease import held  # noqa: PLC0415 - the same
    from valerix_cli.cluster.rollback import find_returns, roll_back  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import rolled_back_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    if to_revision is not None and len(services or ()) != 1:
        raise BadUsageError(
            "--to-revision requires the name of a service.",
            "each service has its own revision numbers",
            "valerix cluster rollback order --to-revision 3",
        )
    target, api = connect_target(session, None)
    check_writable(session, target, "roll back", api)
    with held(api, target.namespace, "rollback") as check_lease:
        note_available(api, target)
        returns = find_returns(api, target, services or (), to_revision=to_revision)
        named = ", ".join(f"{one.outcome.name} to revision {one.outcome.to_revision}" for one in returns)
        session.require_confirmation(f"roll back {named} in {target}", "it changes a cluster")
        for one in returns:
            check_lease()
            roll_back(api, one, force=force_conflicts)
        await_all(api, [one.deployment for one in returns], apply_options(session))
        note_available(api, target)
    print_result([one.outcome for one in returns], rolled_back_view, session.output)
    info("valerix cluster history lists other revisions.", session.output)


@app.command("delete")
def delete(
    ctx: typer.Context,
    *,
    volumes: Annotated[
        bool,
        typer.Option("--volumes", help="Delete data, its secrets, and the namespace if nothing else uses it."),
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="NAMESPACE", help="With --volumes: confirm by name, without a prompt."),
    ] = None,
) -> None:
    """Delete Valerix from a cluster, except its data.

    Volumes and secrets are kept, so that an apply restores everything. Objects that no apply created are kept, too.
    """
    from valerix_cli.cluster import delete as deletion  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.lease import held  # noqa: PLC0415 - the same
    from valerix_cli.cluster.model import Deleted  # noqa: PLC0415 - the same
    from valerix_cli.cluster.objects import ref  # noqa: PLC0415 - the same
    from valerix_cli.views.cluster import deleted_view  # noqa: PLC0415 - the same

    session: Session = ctx.obj
    if confirm is not None and not volumes:
        raise BadUsageError(
            "--confirm requires --volumes.",
            "only the deletion of data has to be confirmed by name",
            "add --volumes, or leave it out",
        )
    target, api = connect_target(session, None)
    check_writable(session, target, "delete Valerix", api)
    with spinner(f"looking at {target}", session.output):
        found = deletion.find(api, target, volumes=volumes)
    warn_unknown(session, found.unknown)
    if found.count:
        with held(api, target.namespace, "delete") as check_lease:
            what = f"delete {found.count} objects from {target}"
            if volumes:
                warn("This deletes the data too: all orders and all stock.", session.output)
                why = "deleted data cannot be recovered"
                session.require_typed_name(what, why, target.namespace, confirm, "confirm")
            else:
                session.require_confirmation(what, "it changes a cluster")
            with spinner(f"deleting from {target}", session.output):
                found = deletion.delete(api, found, check_lease)
    gone = [*(str(ref(one)) for one in found.gone), *([str(ref(found.namespace))] if found.namespace else [])]
    print_result(Deleted(target.cluster, target.namespace, gone, found.kept), deleted_view, session.output)
    if found.count and not volumes:
        info("Undo: valerix cluster apply", session.output)
