"""The number of pods of a workload: set by its manifest or by an autoscaler."""

from collections.abc import Iterable, Mapping
from typing import Any

from valerix_cli.cluster import ownership
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import Object, Ref, ref
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import GuardError

HANDOVER = "valerix-handover"
"""The field manager that owns the number of pods between Valerix and an autoscaler."""
SCALED = frozenset({"Deployment", "StatefulSet"})
AUTOSCALERS = (("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"))
_AUTOSCALER, _REPLICAS = "kube-controller-manager", ".spec.replicas"


def is_handed_over(manifest: Object, live: Object | None) -> bool:
    """Return True if the manifest hands the number of pods over to an autoscaler.

    Without a hand-over the API server would reset it to one.
    """
    return (
        live is not None
        and manifest["kind"] in SCALED
        and "replicas" not in manifest["spec"]
        and "replicas" in live["spec"]
        and ownership.has_applied(live, "spec", "replicas")
    )


def handed_over(live: Object, autoscalers: Iterable[Object]) -> int:
    """Return the number of pods that an autoscaler starts with: the current one.

    Zero is replaced by the autoscaler's minimum, since autoscalers do not change workloads that are scaled to zero.
    """
    scaled = (one["spec"] for one in autoscalers if _scales(one, live))
    least = max((int(spec.get("minReplicas", spec.get("minReplicaCount", 1))) for spec in scaled), default=0)
    return int(live["spec"]["replicas"]) or least


def with_replicas(manifest: Object, number: int) -> Object:
    """Return the manifest with a number of pods."""
    return {**manifest, "spec": {**manifest["spec"], "replicas": number}}


def hand_over(api: Api, which: Ref, number: int) -> None:
    """Make HANDOVER a co-owner of the number of pods, so that it stays when the manifest no longer has it."""
    metadata = {"name": which.name, "namespace": which.namespace}
    kept = {"apiVersion": which.api_version, "kind": which.kind, "metadata": metadata}
    api.apply({**kept, "spec": {"replicas": number}}, force=True, manager=HANDOVER)


def is_about_replicas(error: ApiError) -> bool:
    """Return True if the number of pods is the only conflict."""
    return error.is_conflict and {cause.get("field") for cause in error.causes} == {_REPLICAS}


def was_autoscaled(live: Object) -> bool:
    """Return True if an autoscaler has set the number of pods: the controller owns the field, or it was handed over.

    A user's `kubectl scale` writes the same field, under another manager.
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
