"""The number of pods of a workload: set by its manifest or by an autoscaler."""

from collections.abc import Iterable, Mapping
from typing import Any

from valerix_cli.cluster import ownership
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import Object, Ref, ref
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import GuardError

HANDOVER = "valerix-handover"
"""The field manager that keeps a number of pods between us and an autoscaler, which sets it as it sees fit."""
SCALED = frozenset({"Deployment", "StatefulSet"})
AUTOSCALERS = (("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"))
_AUTOSCALER, _REPLICAS = "kube-controller-manager", ".spec.replicas"


def is_handed_over(manifest: Object, live: Object | None) -> bool:
    """Return whether the manifest hands the number of pods over to an autoscaler.

    Without more ado the API server would fall back on one.
    """
    return (
        live is not None
        and manifest["kind"] in SCALED
        and "replicas" not in manifest["spec"]
        and "replicas" in live["spec"]
        and ownership.has_applied(live, "spec", "replicas")
    )


def handed_over(live: Object, autoscalers: Iterable[Object]) -> int:
    """Return the number of pods that an autoscaler begins with: the current one.

    Where there is none, as many as it has at the least: it leaves alone what was scaled to zero.
    """
    scaled = (one["spec"] for one in autoscalers if _scales(one, live))
    least = max((int(spec.get("minReplicas", spec.get("minReplicaCount", 1))) for spec in scaled), default=0)
    return int(live["spec"]["replicas"]) or least


def with_replicas(manifest: Object, number: int) -> Object:
    """The description, with a number of pods."""
    return {**manifest, "spec": {**manifest["spec"], "replicas": number}}


def hand_over(api: Api, which: Ref, number: int) -> None:
    """Have the number of pods belong to HANDOVER as well, so that it stays when our description has none."""
    metadata = {"name": which.name, "namespace": which.namespace}
    kept = {"apiVersion": which.api_version, "kind": which.kind, "metadata": metadata}
    api.apply({**kept, "spec": {"replicas": number}}, force=True, manager=HANDOVER)


def is_about_replicas(error: ApiError) -> bool:
    """Return whether the number of pods is the only conflict."""
    return error.is_conflict and {cause.get("field") for cause in error.causes} == {_REPLICAS}


def was_autoscaled(live: Object) -> bool:
    """Return whether an autoscaler has set the number of pods: the controller owns the field, or it was handed over.

    A person's `kubectl scale` goes the same way, under another name.
    """
    entries: Iterable[Mapping[str, Any]] = live["metadata"].get("managedFields") or ()
    return any(
        entry["manager"] in {HANDOVER, _AUTOSCALER}
        for entry in entries
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    )


def autoscaler_of(autoscalers: Iterable[Object], manifest: Object) -> Ref | None:
    """Return the autoscaler of a workload, if there is one."""
    return next((ref(one) for one in autoscalers if _scales(one, manifest)), None)


def _scales(autoscaler: Object, manifest: Object) -> bool:
    target = autoscaler["spec"]["scaleTargetRef"]
    return (target.get("kind", "Deployment"), target["name"]) == (manifest["kind"], manifest["metadata"]["name"])


def still_scaled(about: Ref, autoscaler: Ref) -> GuardError:
    return GuardError(
        f"{about} is scaled by {autoscaler}, which the overlay no longer describes.",
        "the description and the autoscaler would each set the number of pods, in turns",
        "valerix cluster apply --prune, which deletes the autoscaler first",
    )
