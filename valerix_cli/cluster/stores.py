"""The data stores of a namespace, so that no overlay with other stores starts with empty ones."""

from collections.abc import Iterator, Sequence

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import COMPONENT, Object, Ref, labels, ref
from valerix_cli.cluster.target import Target
from valerix_cli.errors import GuardError

_POSTGRES = "postgres"
_CLUSTER = ("postgresql.cnpg.io/v1", "Cluster")
_PARTS = "app.kubernetes.io/part-of=valerix"


def is_data_store(manifest: Object) -> bool:
    """Return True if deleting the object loses data, directly or by its dependents. Such an object is never pruned."""
    return labels(manifest).get(COMPONENT) == "datastore" and manifest["kind"] in {"StatefulSet", "Cluster", "Database"}


def refuse_data_left_behind(api: Api, target: Target, manifests: Sequence[Object]) -> None:
    """Raise GuardError if the live database with the orders is not in the manifests, and theirs would be new."""
    desired = {ref(manifest) for manifest in manifests if _holds_orders(manifest)}
    new = [one for one in sorted(desired) if api.get(one) is None]
    if not new or any(_is_import(manifest) for manifest in manifests):
        return
    kinds = {one.kind for one in desired}
    left = [one for one in _stores(api, target) if one not in desired]
    left += [claim for claim, kind in _claims(api, target) if kind not in kinds]
    if left:
        raise GuardError(
            f"The overlay {target.overlay} would leave the data behind.",
            f"{left[0]} in {target} holds orders; the overlay keeps them in {new[0]}, which would start empty",
            "docs/deploy.md, From one PostgreSQL to three; or the overlay that was applied before",
        )


def _stores(api: Api, target: Target) -> list[Ref]:
    """Return the live databases."""
    return [
        ref(manifest)
        for api_version, kind in (("apps/v1", "StatefulSet"), _CLUSTER)
        for manifest in api.find_visible(api_version, kind, target.namespace, _PARTS)
        if _holds_orders(manifest)
    ]


def _claims(api: Api, target: Target) -> Iterator[tuple[Ref, str]]:
    """Yield the claims that hold the data of a database, even of a deleted one, with the kind of that database."""
    for claim in api.find_all("v1", "PersistentVolumeClaim", target.namespace):
        if labels(claim).get("cnpg.io/cluster") == _POSTGRES:
            yield ref(claim), "Cluster"
        elif claim["metadata"]["name"].startswith(f"data-{_POSTGRES}-"):
            yield ref(claim), "StatefulSet"


def _holds_orders(manifest: Object) -> bool:
    return manifest["metadata"]["name"] == _POSTGRES and (
        manifest["kind"] == "StatefulSet" or (manifest["apiVersion"], manifest["kind"]) == _CLUSTER
    )


def _is_import(manifest: Object) -> bool:
    if (manifest["apiVersion"], manifest["kind"]) != _CLUSTER:
        return False
    return "import" in ((manifest["spec"].get("bootstrap") or {}).get("initdb") or {})
