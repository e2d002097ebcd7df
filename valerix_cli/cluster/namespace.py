"""The objects in a namespace: Valerix's, those of others, and those that every namespace has."""

from collections.abc import Iterable, Sequence

import msgspec

from valerix_cli.cluster import ownership
from valerix_cli.cluster.api import Api, Resource
from valerix_cli.cluster.objects import MANAGED_BY, MANAGER, Object, Ref, labels, ref
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ForbiddenError
from valerix_cli.errors import GuardError

MADE = "valerix.dev/made-by-valerix"
"""Annotation of a namespace that an apply has created; no other is ever deleted."""
_COPIES = frozenset({"Endpoints", "EndpointSlice", "Event", "PodMetrics"})
"""Kinds that controllers derive from other objects, with the same labels, and delete with them."""
_DEFAULTS = frozenset({("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")})
"""Objects that Kubernetes creates in every namespace."""


class Contents(msgspec.Struct, frozen=True):
    """Objects of a namespace, as their metadata. `unknown`: the kinds that the user may not list."""

    objects: list[Object]
    unknown: list[str]


def contents(api: Api, namespace: str, selector: str = "") -> Contents:
    """List every object in a namespace, of every kind of the cluster, each once under one API version."""
    unknown: list[str] = []

    def listed(resource: Resource) -> list[Object]:
        try:
            return api.metadata(resource, namespace, selector)
        except ForbiddenError:
            unknown.append(resource.plural)
            return []

    kinds = [one for one in api.namespaced if one.kind not in _COPIES]
    found = {one["metadata"]["uid"]: one for objects in api.each(listed, kinds) for one in objects}
    return Contents(list(found.values()), sorted(unknown))


def is_ours(manifest: Object) -> bool:
    """Return whether Valerix has applied the object, by its label and field manager, and it has no other origin."""
    named = labels(manifest).get(MANAGED_BY) == MANAGER
    return named and ownership.is_written_by(manifest) and not _is_made_by_a_controller(manifest)


def list_owned(api: Api, namespace: str) -> Contents:
    """Return the objects that Valerix has applied in a namespace."""
    found = contents(api, namespace, f"{MANAGED_BY}={MANAGER}")
    return Contents([one for one in found.objects if is_ours(one)], found.unknown)


def of_others(found: Iterable[Object], ours_: Iterable[Ref]) -> list[Object]:
    """Return the objects that are not Valerix's, not derived from one of them, and not in every namespace."""
    manifests = list(found)
    by_uid = {one["metadata"]["uid"]: one for one in manifests}
    known = set(ours_)

    def is_others(manifest: Object) -> bool:
        if ref(manifest) in known or (manifest["kind"], manifest["metadata"]["name"]) in _DEFAULTS:
            return False
        found = [by_uid[uid] for uid in owners(manifest) if uid in by_uid]
        return not found or any(map(is_others, found))

    return [one for one in manifests if is_others(one)]


def owners(manifest: Object) -> list[str]:
    """Return the UIDs of the objects that own it."""
    return [owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or ()]


def is_made_by_us(namespace: Object | None) -> bool:
    return namespace is not None and MADE in (namespace["metadata"].get("annotations") or {})


def marked(manifest: Object, live: Object | None) -> Object:
    """Return the manifest of a namespace that Valerix creates, with the annotation for this."""
    if live is not None and not is_made_by_us(live):
        return manifest
    annotations = {**(manifest["metadata"].get("annotations") or {}), MADE: "true"}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def refuse_shared(api: Api, target: Target, live: Object | None) -> None:
    """Raise GuardError for an existing namespace with objects of others in it.

    Quotas, network policies and pod security of an overlay apply to the whole namespace.
    """
    if live is None or is_made_by_us(live) or ownership.is_written_by(live):
        return
    found = contents(api, target.namespace).objects
    others = of_others(found, (ref(one) for one in found if is_ours(one)))
    if others:
        raise GuardError(
            f"{target} is used by others.",
            f"{_named(others)}; quota, network policies and pod security of the overlay would hold for them too",
            "name another namespace in the context; or valerix cluster apply --share-namespace",
        )


def _named(manifests: Sequence[Object]) -> str:
    shown = 3
    more = f" and {len(manifests) - shown} more" if len(manifests) > shown else ""
    return f"it has {', '.join(str(ref(one)) for one in manifests[:shown])}{more}"


def _is_made_by_a_controller(manifest: Object) -> bool:
    return any(owner.get("controller") for owner in manifest["metadata"].get("ownerReferences") or ())
