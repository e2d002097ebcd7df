"""What runs in a cluster and how it is."""

from collections.abc import Iterator
from typing import Literal

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import State, judge, troubles, unscheduled
from valerix_cli.cluster.model import ClusterStatus, Volume, Workload
from valerix_cli.cluster.objects import Object
from valerix_cli.cluster.pods import pods_of, revision
from valerix_cli.cluster.where import Target

_PARTS = "app.kubernetes.io/part-of=valerix"
_KINDS = (
    ("apps/v1", "StatefulSet"),
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
)


def look(api: Api, target: Target) -> ClusterStatus:
    """Everything of ours in the namespace; `absent` when there is nothing."""
    workloads = [
        _workload(api, thing)
        for api_version, kind in _KINDS
        for thing in api.find_all(api_version, kind, target.namespace, _PARTS)
        if not thing["metadata"].get("ownerReferences")  # a backup's job is its own affair
    ]
    volumes = [_volume(one) for one in api.find_all("v1", "PersistentVolumeClaim", target.namespace)]
    return ClusterStatus(
        target.cluster, target.namespace, api.version, _sum(workloads), workloads, volumes, list(_ways_in(api, target))
    )


def _sum(workloads: list[Workload]) -> Literal["ready", "waiting", "failed", "absent"]:
    states = {one.state for one in workloads}
    worst: tuple[Literal["failed", "waiting", "ready"], ...] = ("failed", "waiting", "ready")
    return next((one for one in worst if one in states), "absent")


def _workload(api: Api, thing: Object) -> Workload:
    pods, state = pods_of(api, thing), judge(thing)
    trouble = next((found for pod in pods for found in troubles(pod)), None)
    if trouble and state.verdict != "ready":
        state = State("failed", str(trouble))
    elif state.verdict == "waiting" and (why := next(filter(None, map(unscheduled, pods)), None)):
        state = State("waiting", why)
    spec, status = thing.get("spec") or {}, thing.get("status") or {}
    ready, wanted = _counts(thing, spec, status)
    return Workload(
        thing["kind"],
        thing["metadata"]["name"],
        state.verdict,
        ready,
        wanted,
        _image(spec),
        sum(container.get("restartCount", 0) for pod in pods for container in _containers(pod)),
        revision(thing) or None,
        "" if state.verdict == "ready" else state.why,
    )


def _counts(thing: Object, spec: Object, status: Object) -> tuple[int, int]:
    if thing["kind"] == "Job":
        return status.get("succeeded", 0), spec.get("completions", 1)
    if thing["kind"] == "Cluster":
        return status.get("readyInstances", 0), spec["instances"]
    return status.get("readyReplicas", 0), spec.get("replicas", 1)


def _image(spec: Object) -> str:
    if "template" not in spec:
        return str(spec.get("imageName", ""))
    return str(spec["template"]["spec"]["containers"][0].get("image", ""))


def _containers(pod: Object) -> list[Object]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _volume(claim: Object) -> Volume:
    status = claim.get("status") or {}
    size = (status.get("capacity") or claim["spec"]["resources"]["requests"])["storage"]
    return Volume(claim["metadata"]["name"], status.get("phase", "Pending"), size)


def _ways_in(api: Api, target: Target) -> Iterator[str]:
    for ingress in api.find_all("networking.k8s.io/v1", "Ingress", target.namespace, _PARTS):
        host = next((rule["host"] for rule in ingress["spec"].get("rules") or () if rule.get("host")), "*")
        scheme = "https" if ingress["spec"].get("tls") else "http"
        given = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        where = ", ".join(one.get("ip") or one.get("hostname", "") for one in given) or "no address yet"
        yield f"{scheme}://{host} ({where})"
    for gateway in api.find_all("gateway.networking.k8s.io/v1", "Gateway", target.namespace, _PARTS):
        addresses = (gateway.get("status") or {}).get("addresses") or ()
        where = ", ".join(one["value"] for one in addresses) or "no address yet"
        yield f"gateway {gateway['metadata']['name']} ({where})"
