"""The kept revisions of the services in a cluster, and which of them were available."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import evaluate
from valerix_cli.cluster.model import Revision
from valerix_cli.cluster.objects import COMPONENT, MANAGER, Object, ref
from valerix_cli.cluster.pods import replica_sets, revision
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ForbiddenError
from valerix_cli.errors import DomainError

SERVICES = f"app.kubernetes.io/part-of=valerix,{COMPONENT}=service"
WAS_AVAILABLE = "valerix.dev/was-available"
"""Annotation of a ReplicaSet that was once fully rolled out."""


class Kept(msgspec.Struct, frozen=True):
    """A deployment, and the ReplicaSets of its earlier revisions, the latest first."""

    deployment: Object
    current: Object | None
    earlier: list[Object]


def services(api: Api, target: Target, names: Sequence[str] = ()) -> dict[str, Object]:
    """Return the deployments of services by name; those in `names`, or all. Raises DomainError for an unknown name."""
    found = {one["metadata"]["name"]: one for one in _deployments(api, target)}
    if unknown := [name for name in names if name not in found]:
        raise DomainError(
            f"There is no service {unknown[0]!r} in {target}.",
            f"services there: {', '.join(found) or 'none'}",
            "valerix cluster status",
        )
    return {name: found[name] for name in names or found}


def kept(api: Api, deployment: Object) -> Kept:
    current = revision(deployment)
    sets = replica_sets(api, deployment)
    now = next((one for one in sets if revision(one) == current), None)
    return Kept(deployment, now, [one for one in sets if revision(one) < current])


def was_available(replica_set: Object) -> bool:
    """Return True if its pods are available, or were recorded as available."""
    noted = WAS_AVAILABLE in (replica_set["metadata"].get("annotations") or {})
    return noted or bool((replica_set.get("status") or {}).get("availableReplicas"))


def note_available(api: Api, target: Target) -> None:
    """Record the current revision of each rolled out service as available. Does nothing without the permission."""
    try:
        api.each(lambda one: _note(api, one), _deployments(api, target))
    except ForbiddenError:
        return


def history(api: Api, target: Target, names: Sequence[str] = ()) -> list[Revision]:
    """Return every kept revision by service, the latest first. Raises DomainError for an unknown service."""
    found = api.each(lambda one: kept(api, one), services(api, target, names).values())
    return [
        Revision(
            one.deployment["metadata"]["name"],
            revision(replica_set),
            image(replica_set["spec"]["template"]),
            replica_set["metadata"]["creationTimestamp"],
            replica_set is one.current,
            _availability(replica_set),
        )
        for one in found
        for replica_set in [*([one.current] if one.current else ()), *one.earlier]
    ]


def image(template: Object) -> str:
    return str(template["spec"]["containers"][0]["image"])


def _availability(replica_set: Object) -> Literal["now", "before", "unknown"]:
    if (replica_set.get("status") or {}).get("availableReplicas"):
        return "now"
    return "before" if was_available(replica_set) else "unknown"


def _deployments(api: Api, target: Target) -> list[Object]:
    return api.find_all("apps/v1", "Deployment", target.namespace, SERVICES)


def _note(api: Api, deployment: Object) -> None:
    if evaluate(deployment).verdict != "ready" or not (deployment["spec"].get("replicas", 1)):
        return
    current = kept(api, deployment).current
    if current is None or WAS_AVAILABLE in (current["metadata"].get("annotations") or {}):
        return
    api.patch(ref(current), {"metadata": {"annotations": {WAS_AVAILABLE: "true"}}}, MANAGER)
