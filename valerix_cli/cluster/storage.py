"""Volumes of stateful sets: their requested sizes, and how they grow.

A stateful set's claim templates cannot be changed, and are only used when a claim is created. So a volume grows by its
claim, and the stateful set is deleted without its pods and recreated for future claims.
"""

from collections.abc import Iterator
from typing import Any

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import Object, Ref, amount, ref
from valerix_cli.errors import BadUsageError, CliError

CLAIM = "PersistentVolumeClaim"


def grown_claims(api: Api, manifest: Object) -> list[tuple[Object, str]]:
    """Return the claims that are smaller than the manifest requests, with the requested size.

    Raises BadUsageError for a volume that would have to shrink, CliError for one whose class cannot be expanded.
    """
    found = []
    for claim, size in _claims(api, manifest):
        now, new = amount(claim["spec"]["resources"]["requests"]["storage"]), amount(size)
        if now > new:
            raise _shrunk(ref(claim), str(claim["spec"]["resources"]["requests"]["storage"]), size)
        if now < new:
            _refuse_fixed(api, claim)
            found.append((claim, size))
    return found


def with_live_templates(manifest: Object, live: Object) -> Object | None:
    """Return the manifest with the live claim templates; None if they differ in more than sizes."""
    desired, there = (one["spec"].get("volumeClaimTemplates") or [] for one in (manifest, live))
    if len(desired) != len(there) or not all(map(_differ_in_size_only, desired, there)):
        return None
    return {**manifest, "spec": {**manifest["spec"], "volumeClaimTemplates": there}}


def resize(claim: Object, size: str) -> Object:
    """Return the manifest of the claim with its size only."""
    metadata = {name: claim["metadata"][name] for name in ("name", "namespace")}
    spec = {"resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": CLAIM, "metadata": metadata, "spec": spec}


def _claims(api: Api, manifest: Object) -> Iterator[tuple[Object, str]]:
    """Yield the existing claims of a manifest, with the size that it requests."""
    namespace = manifest["metadata"].get("namespace")
    if manifest["kind"] == "StatefulSet":
        for template in manifest["spec"].get("volumeClaimTemplates") or ():
            for number in range(manifest["spec"].get("replicas", 1)):
                name = f"{template['metadata']['name']}-{manifest['metadata']['name']}-{number}"
                if claim := api.get(Ref("v1", CLAIM, namespace, name)):
                    yield claim, template["spec"]["resources"]["requests"]["storage"]
    elif manifest["kind"] == "Cluster" and manifest["apiVersion"].startswith("postgresql.cnpg.io/"):
        parts = {"PG_DATA": manifest["spec"].get("storage"), "PG_WAL": manifest["spec"].get("walStorage")}
        selector = f"cnpg.io/cluster={manifest['metadata']['name']}"
        for claim in api.find_all("v1", CLAIM, namespace, selector):
            part = parts.get((claim["metadata"].get("labels") or {}).get("cnpg.io/pvcRole", ""))
            if part and part.get("size"):
                yield claim, part["size"]


def _differ_in_size_only(desired: Object, there: Object) -> bool:
    def rest(template: Object) -> Any:
        spec = {name: value for name, value in template["spec"].items() if name not in {"resources", "volumeMode"}}
        return template["metadata"]["name"], spec

    return bool(rest(desired) == rest(there))


def _shrunk(claim: Ref, now: str, new: str) -> BadUsageError:
    return BadUsageError(
        f"{claim} cannot become smaller.",
        f"it has {now}, and the overlay describes {new}",
        f"describe {now} in the overlay; or move the data to a new volume",
    )


def _refuse_fixed(api: Api, claim: Object) -> None:
    name = claim["spec"].get("storageClassName")
    found = api.get(Ref("storage.k8s.io/v1", "StorageClass", None, name)) if name else None
    if found is not None and not found.get("allowVolumeExpansion"):
        raise CliError(
            f"{ref(claim)} cannot grow.",
            f"its storage class {name} does not allow volumes to be expanded",
            "kubectl get storageclass; move the data to a volume of a class that does",
        )
