"""The pods of a workload, and the reasons why some do not become ready."""

from collections.abc import Iterator

import msgspec

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import State, Trouble, container_failures, unscheduled
from valerix_cli.cluster.objects import Object

EVENTS, LINES = 3, 8
"""Number of the latest warnings, and of the last lines of a log, to show."""
_MAKERS = frozenset({"StatefulSet", "Job"})
"""Workloads whose status does not show that the creation of a pod was refused."""
REVISION = "deployment.kubernetes.io/revision"


class Report(msgspec.Struct, frozen=True):
    """The findings about a workload that does not become ready."""

    trouble: Trouble | None
    unscheduled: str | None
    warnings: list[str]
    log: list[str]


def pods_of(api: Api, workload: Object) -> list[Object]:
    """Return the pods of a workload's latest revision, without those of earlier ones."""
    selector = _selector(api, workload)
    if selector is None:
        return []
    return api.find_all("v1", "Pod", workload["metadata"].get("namespace"), selector)


def replica_sets(api: Api, deployment: Object) -> list[Object]:
    """Return every kept revision of a deployment, the latest first."""
    metadata = deployment["metadata"]
    found = api.find_all("apps/v1", "ReplicaSet", metadata["namespace"], _matching(deployment))
    owned = [one for one in found if _owner(one) == metadata.get("uid")]
    return sorted(owned, key=revision, reverse=True)


def revision(manifest: Object) -> int:
    return int((manifest["metadata"].get("annotations") or {}).get(REVISION, 0))


def seen_closer(api: Api, workload: Object, state: State) -> State:
    """Refine the state of a workload by its pods: it has failed if a container, or the creation of a pod, has failed.

    Until its controller has observed the latest generation, its pods are those of the previous one and do not count.
    """
    if not state.observed:
        return state
    pods = pods_of(api, workload)
    if trouble := next((found for pod in pods for found in container_failures(pod)), None):
        return State("failed", str(trouble))
    if not pods and (refusal := _refused_pod(api, workload)):
        return State("failed", refusal)
    reason = next(filter(None, map(unscheduled, pods)), None)
    return State(state.verdict, f"{state.why}; {reason}") if reason else state


def report(api: Api, workload: Object) -> Report:
    """Return why it does not become ready: its containers, recent warnings about it and its pods, last log lines."""
    pods = pods_of(api, workload)
    trouble = next((found for pod in pods for found in container_failures(pod)), None) or _ended(pods)
    about = {workload["metadata"]["name"], *(pod["metadata"]["name"] for pod in pods)}
    namespace = workload["metadata"]["namespace"]
    log = []
    if trouble:
        log = api.logs(namespace, trouble.pod, trouble.container, lines=LINES, previous=trouble.restarted)
    return Report(
        trouble, next(filter(None, map(unscheduled, pods)), None), list(_warnings(api, namespace, about))[-EVENTS:], log
    )


def _ended(pods: list[Object]) -> Trouble | None:
    """Yield the failed containers of a job's pods: they are not restarted, so waiting is pointless."""
    for pod in pods:
        status = pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
            ended = (container.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode"):
                detail = f"exit {ended['exitCode']}"
                return Trouble(pod["metadata"]["name"], container["name"], ended.get("reason", "Error"), detail)
    return None


def _warnings(api: Api, namespace: str, about: set[str]) -> Iterator[str]:
    events = api.find_all("v1", "Event", namespace)
    relevant = [one for one in events if one.get("type") == "Warning" and _is_about(one, about)]
    for event in sorted(relevant, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or ""):
        yield f"{event['reason']}: {' '.join((event.get('message') or '').split())}"


def _refused_pod(api: Api, workload: Object) -> str | None:
    """Return why a quota or pod security forbids a pod, by an event since the last change."""
    metadata = workload["metadata"]
    if workload["kind"] not in _MAKERS:
        return None
    changed = max((entry["time"] for entry in metadata.get("managedFields") or () if "time" in entry), default="")
    refused = [
        event
        for event in api.find_all("v1", "Event", metadata["namespace"])
        if event.get("reason") == "FailedCreate"
        and event["involvedObject"].get("uid") == metadata["uid"]
        and (event.get("lastTimestamp") or event.get("eventTime") or "") >= changed
        and "forbidden" in (event.get("message") or "")
    ]
    return " ".join(refused[-1]["message"].split()) if refused else None


def _is_about(event: Object, names: set[str]) -> bool:
    name = event["involvedObject"].get("name", "")
    return name in names or any(name.startswith(f"{one}-") for one in names)


def _selector(api: Api, workload: Object) -> str | None:
    if workload["kind"] == "Job":
        return f"batch.kubernetes.io/job-name={workload['metadata']['name']}"
    if workload["kind"] == "StatefulSet":
        latest = (workload.get("status") or {}).get("updateRevision")
        return _matching(workload) + (f",controller-revision-hash={latest}" if latest else "")
    if workload["kind"] != "Deployment":
        return None
    latest = next(iter(replica_sets(api, workload)), None)
    if latest is None or revision(latest) != revision(workload):
        return None
    return f"{_matching(workload)},pod-template-hash={latest['metadata']['labels']['pod-template-hash']}"


def _matching(workload: Object) -> str:
    return ",".join(f"{name}={value}" for name, value in workload["spec"]["selector"]["matchLabels"].items())


def _owner(manifest: Object) -> str | None:
    return next(
        (owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or () if owner.get("controller")), None
    )
