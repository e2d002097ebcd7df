"""Objects of a cluster as dictionaries: references, and the order in which they are applied."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

Object: TypeAlias = dict[str, Any]

MANAGER = "valerix"
"""The field manager: it owns the fields that Valerix has applied, and no others."""
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
NAME = "app.kubernetes.io/name"


class Ref(msgspec.Struct, frozen=True, order=True):
    """A reference to an object; `namespace` is None for cluster-scoped objects."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def group(self) -> str:
        group, _, version = self.api_version.rpartition("/")
        return group if version else ""


class Wave(msgspec.Struct, frozen=True):
    """Objects that are applied together, and are ready before the next wave."""

    name: str
    objects: tuple[Object, ...]


WAVES = ("namespace", "configuration", "data stores", "migrations", "services")
_CONFIGURATION = frozenset(
    {
        "ResourceQuota",
        "ServiceAccount",
        "ConfigMap",
        "Secret",
        "ExternalSecret",
        "NetworkPolicy",
        "PersistentVolumeClaim",
    }
)


def ref(manifest: Object) -> Ref:
    metadata = manifest["metadata"]
    return Ref(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"])


def labels(manifest: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = manifest["metadata"].get("labels") or {}
    return found


def wave_of(manifest: Object) -> str:
    """Return the wave of an object: configuration before its readers, data before its writers, services last."""
    if manifest["kind"] == "Namespace":
        return "namespace"
    if manifest["kind"] in _CONFIGURATION:
        return "configuration"
    return {"datastore": "data stores", "migration": "migrations"}.get(labels(manifest).get(COMPONENT, ""), "services")


def waves(manifests: Iterable[Object]) -> list[Wave]:
    """Return the waves in the order in which they are applied, without empty ones."""
    by_name: dict[str, list[Object]] = {name: [] for name in WAVES}
    for manifest in manifests:
        by_name[wave_of(manifest)].append(manifest)
    return [Wave(name, tuple(found)) for name, found in by_name.items() if found]


def pod_templates(manifest: Object) -> Iterator[dict[str, Any]]:
    """Yield the pod templates of a workload."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if "template" in spec and "spec" in spec["template"]:
        yield spec["template"]


def containers(template: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every container of a pod, including init containers."""
    spec = template["spec"]
    yield from spec.get("initContainers") or ()
    yield from spec["containers"]


def images(manifests: Iterable[Object]) -> set[str]:
    """Return every image that objects use, including those of CloudNativePG's pods."""
    found = set()
    for manifest in manifests:
        found |= {container["image"] for template in pod_templates(manifest) for container in containers(template)}
        if name := (manifest.get("spec") or {}).get("imageName"):
            found.add(name)
    return found


def amount(quantity: str) -> Decimal:
    """Return a quantity of Kubernetes, such as `10Gi`, as a number."""
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 - slow to import

    return Decimal(parse_quantity(quantity))  # type: ignore[no-untyped-call]  # the package is not typed
