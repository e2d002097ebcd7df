"""The revisions of the services that a cluster keeps, and which of them have been available."""

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
"""Annotation of a ReplicaSet whose deployment was once rolled out to it completely."""


class Kept(msgspec.Struct, frozen=True):
    """A deployment, and the ReplicaSets of its earlier revisions, the latest first."""

    deployment: Object
    current: Object | None
    earlier: list[Object]


def services(api: Api, target: Target, names: Sequence[str] = ()) -> dict[str, Object]:
    """The deployments of services by name; those in `names`, or all. Raises DomainError for a name that is none."""
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
    """Return whether its pods are available, or were recorded as available."""
    noted = WAS_AVAILABLE in (replica_set["metadata"].get("annotations") or {})
    return noted or bool((replica_set.get("status") or {}).get("availableReplicas"))


def note_available(api: Api, target: Target) -> None:
    """Note of each service that is rolled out that its revision has been available. Does nothing without the right."""
    try:
        api.each(lambda one: _note(api, one), _deployments(api, target))
    except ForbiddenError:
        return


def history(api: Api, target: Target, names: Sequence[str] = ()) -> list[Revision]:
    """Every revision that is kept, service by service, the latest first. Raises DomainError for an unknown service."""
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
