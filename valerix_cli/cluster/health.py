"""Evaluation of an object's status against its spec. Pure.

The rules are those of `kubectl rollout status`: no status counts before the controller has seen the latest generation.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from valerix_cli.cluster.objects import Object, amount

TERMINAL_REASONS = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that do not end without a change."""
_HEALTHY = "Cluster in healthy state"
"""The phase of a CloudNativePG cluster that matches its spec."""
CRASHES = 2  # restarts after which a crashing container counts as failed


class State(msgspec.Struct, frozen=True):
    """`why` is a message. `observed`: the controller has seen the latest generation; before, pods do not count."""

    verdict: Literal["ready", "waiting", "failed"]
    why: str
    observed: bool = True


READY = State("ready", "ready")


class Trouble(msgspec.Struct, frozen=True):
    """A container that does not start; `restarted` if it has run before, so that its previous log is available."""

    pod: str
    container: str
    reason: str
    detail: str
    restarted: bool = False

    def __str__(self) -> str:
        return f"pod {self.pod}, container {self.container}: {self.reason}{f', {self.detail}' if self.detail else ''}"


def evaluate(manifest: Object) -> State:
    """Return the state of an object: ready, in progress, or failed."""
    judges = {
        "Deployment": _deployment,
        "StatefulSet": _stateful_set,
        "Job": _job,
        "Namespace": _namespace,
        "PersistentVolumeClaim": _claim,
    }
    if manifest["kind"] == "Cluster" and manifest["apiVersion"].startswith("postgresql.cnpg.io/"):
        return _postgres_cluster(manifest)
    found = judges.get(manifest["kind"])
    return found(manifest) if found else READY


def container_failures(pod: Object) -> Iterator[Trouble]:
    """Yield the containers of a pod that will not start without a change."""
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, restarts = waiting.get("reason", ""), container.get("restartCount", 0)
        if reason in TERMINAL_REASONS or (reason == "CrashLoopBackOff" and restarts >= CRASHES):
            detail = _last_words(container) or waiting.get("message", "")
            yield Trouble(pod["metadata"]["name"], container["name"], reason, detail, restarts > 0)


def unscheduled(pod: Object) -> str | None:
    """Return why the scheduler finds no node for a pod; None if it found one or has not tried yet."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason"))
    return None


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    going = "deletionTimestamp" not in pod["metadata"]
    return going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _deployment(manifest: Object) -> State:
    spec, status = manifest["spec"], manifest.get("status") or {}
    if unseen := _unseen(manifest):
        return unseen
    conditions = _conditions(status)
    late = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    refused = conditions.get("ReplicaFailure", {}).get("status") == "True"
    if late or refused:
        return State("failed", str(conditions["ReplicaFailure" if refused else "Progressing"].get("message")))
    desired, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if updated < desired:
        return State("waiting", f"{updated} of {desired} pods are new")
    if (old := status.get("replicas", 0) - updated) > 0:
        return State("waiting", f"{old} old {'pod has' if old == 1 else 'pods have'} to go")
    if (available := status.get("availableReplicas", 0)) < updated:
        return State("waiting", f"{available} of {updated} pods are available")
    return READY


def _stateful_set(manifest: Object) -> State:
    status = manifest.get("status") or {}
    if unseen := _unseen(manifest):
        return unseen
    desired = manifest["spec"].get("replicas", 1)
    if (ready := status.get("readyReplicas", 0)) < desired:
        return State("waiting", f"{ready} of {desired} pods are ready")
    if status.get("updateRevision") != status.get("currentRevision"):
        return State("waiting", f"{status.get('updatedReplicas', 0)} of {desired} pods are new")
    return READY


def _job(manifest: Object) -> State:
    conditions = _conditions(manifest.get("status") or {})
    for kind, verdict in (("Complete", "ready"), ("Failed", "failed")):
        if (found := conditions.get(kind)) and found["status"] == "True":
            return READY if verdict == "ready" else State("failed", str(found.get("message") or found.get("reason")))
    return State("waiting", "it runs")


def _namespace(manifest: Object) -> State:
    phase = (manifest.get("status") or {}).get("phase")
    return State("failed", "it is being deleted") if phase == "Terminating" else READY


def _postgres_cluster(manifest: Object) -> State:
    status = manifest.get("status") or {}
    ready, desired = status.get("readyInstances", 0), manifest["spec"]["instances"]
    if ready < desired:
        return State("waiting", f"{ready} of {desired} instances are ready")
    phase = status.get("phase", _HEALTHY)
    return READY if phase == _HEALTHY else State("waiting", str(phase))


def _claim(manifest: Object) -> State:
    """Return the state of a claim: ready once it is bound at its requested size, or if it waits for a first pod."""
    status = manifest.get("status") or {}
    if status.get("phase") != "Bound":
        return READY
    has, desired = (status.get("capacity") or {}).get("storage"), manifest["spec"]["resources"]["requests"]["storage"]
    return READY if has is None or amount(has) >= amount(desired) else State("waiting", f"{has} of {desired}")


def _unseen(manifest: Object) -> State | None:
    observed = (manifest.get("status") or {}).get("observedGeneration", 0)
    if observed >= manifest["metadata"].get("generation", 1):
        return None
    return State("waiting", "its controller has not seen it yet", observed=False)


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {one["type"]: one for one in status.get("conditions") or ()}


def _last_words(container: Mapping[str, Any]) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return ""
    message = f": {ended['message'].strip()}" if ended.get("message") else ""
    return f"{ended.get('reason', 'ended')} with exit {ended.get('exitCode')}{message}"
