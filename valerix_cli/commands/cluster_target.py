"""Helpers of the `valerix cluster` commands: the target, its overlay, guards and warnings."""

import os
from typing import TYPE_CHECKING

from valerix_cli.errors import BadUsageError, CliError, ExitCode, GuardError
from valerix_cli.output import info, spinner, warn
from valerix_cli.session import Session

if TYPE_CHECKING:  # slow to import
    from collections.abc import Sequence

    from valerix_cli.cluster.api import Api
    from valerix_cli.cluster.apply import ApplyOptions
    from valerix_cli.cluster.deploy import Deployment
    from valerix_cli.cluster.identity import KnownClusters
    from valerix_cli.cluster.model import Applied
    from valerix_cli.cluster.objects import Object
    from valerix_cli.cluster.plan import Orphans
    from valerix_cli.cluster.target import Target

_WAIT = 300.0  # seconds per wave of an apply, unless --timeout is given


def connect_target(session: Session, overlay: str | None) -> "tuple[Target, Api]":
    """Return the target of this command and a client of its API server."""
    from dataclasses import replace  # noqa: PLC0415 - with those below

    from valerix_cli.cluster.api import connect  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.kubeconfig import kube_contexts  # noqa: PLC0415 - the same
    from valerix_cli.cluster.target import find_target  # noqa: PLC0415 - the same

    target = find_target(session.settings, kube_contexts)
    api = connect(target.cluster, log=lambda text: info(text, session.output))
    return replace(target, overlay=overlay or target.overlay), api


def render_overlay(target: "Target", image: str | None = None) -> "Sequence[Object]":
    """Return the objects of the target's overlay. Raises BadUsageError if there are none."""
    from valerix_cli.cluster.overlays import find_overlay, render  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.target import NAMESPACE  # noqa: PLC0415 - the same

    namespace = None if target.namespace == NAMESPACE else target.namespace
    manifests = render(find_overlay(target.overlay), namespace=namespace, image=image)
    if not manifests:
        raise BadUsageError(
            f"The overlay {target.overlay} is empty.",
            "it renders no object",
            "valerix cluster check --overlay DIR",
        )
    return manifests


def check_writable(session: Session, target: "Target", operation: str, api: "Api | None" = None) -> None:
    """Raise GuardError unless a context names this cluster and still resolves to it."""
    from valerix_cli.cluster.identity import identities, refuse_another_cluster  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.target import require_write_access  # noqa: PLC0415 - the same

    require_write_access(target, session.settings, operation)
    if api is not None:
        refuse_another_cluster(target, lambda: identities(api), known_clusters())


def known_clusters() -> "KnownClusters":
    """Return the clusters that contexts are bound to."""
    from valerix_cli.cluster.identity import KnownClusters  # noqa: PLC0415 - slow to import
    from valerix_cli.settings import user_config  # noqa: PLC0415 - the same

    return KnownClusters(user_config(os.environ))


def refuse_gremlins(session: Session, target: "Target", manifests: "Sequence[Object]") -> None:
    """Raise GuardError for an overlay that allows gremlins if the context's own overlay does not."""
    from valerix_cli.cluster.kubeconfig import kube_contexts  # noqa: PLC0415 - slow to import
    from valerix_cli.cluster.overlays import allows_gremlins  # noqa: PLC0415 - the same
    from valerix_cli.cluster.target import find_target  # noqa: PLC0415 - the same

    own = find_target(session.settings, kube_contexts)
    if own.overlay == target.overlay or not allows_gremlins(manifests) or allows_gremlins(render_overlay(own)):
        return
    raise GuardError(
        f"Not done: apply the overlay {target.overlay} to {target}.",
        f"it allows gremlins, and the overlay of the context, {own.overlay}, does not",
        f"leave --overlay out, which means {own.overlay}; or choose another context",
    )


def plan_deployment(session: Session, deployment: "Deployment") -> "Deployment":
    """Return `deployment` with the changes that a server-side dry run found."""
    with spinner(f"asking {deployment.target}", session.output):
        deployment.plan()
    return deployment


def apply_options(session: Session, *, force: bool = False, wait: bool = True) -> "ApplyOptions":
    """Return the options of an apply; its time limit is that of `--timeout` for each wave."""
    from valerix_cli.cluster.apply import ApplyOptions  # noqa: PLC0415 - slow to import

    limit = session.settings.setting("timeout").value or _WAIT
    return ApplyOptions(lambda text: info(text, session.output), limit, force=force, wait=wait)


def carry_out(deployment: "Deployment", options: "ApplyOptions") -> "Applied":
    """Apply a planned deployment. Raises CliError with the exit code of the signal if it is interrupted."""
    try:
        return deployment.carry_out(options)
    except (KeyboardInterrupt, SystemExit) as end:
        error = CliError(
            "The apply was interrupted.",
            "objects applied so far stay; none is partly written",
            "valerix cluster apply continues with the rest",
        )
        error.code = ExitCode.of(end)
        raise error from end


def warn_orphans(session: Session, left: "Orphans") -> None:
    """Warn of objects that are no longer in the overlay."""
    if left.objects:
        named = ", ".join(map(str, left.refs))
        warn(f"No longer in the overlay: {named}. Delete them: valerix cluster apply --prune", session.output)
    warn_unknown(session, left.unknown)


def warn_unknown(session: Session, unknown: "Sequence[str]") -> None:
    """Report the kinds of objects that could not be listed."""
    if unknown:
        info(f"Not checked, because you may not list them: {', '.join(unknown)}.", session.output)
