"""The status of all workloads in a cluster."""

from collections.abc import Iterator
from typing import Literal

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import State, evaluate
from valerix_cli.cluster.model import ClusterStatus, Volume, Workload
from valerix_cli.cluster.objects import Object
from valerix_cli.cluster.pods import pods_of, revision, seen_closer
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ForbiddenError

_PARTS = "app.kubernetes.io/part-of=valerix"
_KINDS = (
    ("apps/v1", "StatefulSet"),
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
)


def read_status(api: Api, target: Target) -> ClusterStatus:
    """Return the status of all of Valerix's objects in the namespace; `absent` if there are none."""
    observed = _Namespace(api, target.namespace)
    manifests = [
        manifest
        for api_version, kind in _KINDS
        for manifest in observed.find(api_version, kind, _PARTS)
        if not manifest["metadata"].get("ownerReferences")  # shown with its CronJob
    ]
    workloads = api.each(lambda manifest: _workload(api, manifest), manifests)
    jobs = observed.find("batch/v1", "Job")
    workloads += [_scheduled(cron, jobs) for cron in observed.find("batch/v1", "CronJob", _PARTS)]
    volumes = [_volume(one) for one in observed.find("v1", "PersistentVolumeClaim", _PARTS)]
    return ClusterStatus(
        target.cluster,
        target.namespace,
        api.version,
        _sum(workloads),
        workloads,
        volumes,
        list(_ways_in(observed)),
        observed.unlisted,
    )


class _Namespace:
    """Lists the kinds that the user may list, and records the others."""

    def __init__(self, api: Api, name: str) -> None:
        self._api, self._name = api, name
        self.unlisted: list[str] = []

    def find(self, api_version: str, kind: str, selector: str = "") -> list[Object]:
        try:
            return self._api.find_all(api_version, kind, self._name, selector)
        except ForbiddenError:
            self.unlisted.append(kind)
            return []


def _sum(workloads: list[Workload]) -> Literal["ready", "waiting", "failed", "absent"]:
    states = {one.state for one in workloads}
    worst: tuple[Literal["failed", "waiting", "ready"], ...] = ("failed", "waiting", "ready")
    return next((one for one in worst if one in states), "absent")


def _workload(api: Api, manifest: Object) -> Workload:
    pods, state = pods_of(api, manifest), evaluate(manifest)
    if state.verdict == "waiting":
        state = seen_closer(api, manifest, state)
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    ready, desired = _counts(manifest, spec, status)
    return Workload(
        manifest["kind"],
        manifest["metadata"]["name"],
        state.verdict,
        ready,
        desired,
        _image(spec),
        sum(container.get("restartCount", 0) for pod in pods for container in _containers(pod)),
        revision(manifest) or None,
        "" if state.verdict == "ready" else state.why,
    )


def _scheduled(cron: Object, jobs: list[Object]) -> Workload:
    """Return a scheduled job: the result of its last run, and the time of its last success."""
    uid, status = cron["metadata"]["uid"], cron.get("status") or {}
    runs = [job for job in jobs if any(owner["uid"] == uid for owner in job["metadata"].get("ownerReferences") or ())]
    last = max(runs, key=lambda job: job["metadata"]["creationTimestamp"], default=None)
    state = evaluate(last) if last else State("ready", "")
    succeeded = status.get("lastSuccessfulTime")
    details = [f"last success {succeeded}" if succeeded else "no run has succeeded yet"]
    details += ["suspended"] if cron["spec"].get("suspend") else []
    details += [f"last run: {state.why}"] if last and state.verdict != "ready" else []
    template = cron["spec"]["jobTemplate"]["spec"]
    return Workload(
        "CronJob",
        cron["metadata"]["name"],
        "failed" if state.verdict == "failed" else "ready",
        len(status.get("active") or ()),
        0,
        _image(template),
        0,
        None,
        ", ".join(details),
    )


def _counts(manifest: Object, spec: Object, status: Object) -> tuple[int, int]:
    if manifest["kind"] == "Job":
        return status.get("succeeded", 0), spec.get("completions", 1)
    if manifest["kind"] == "Cluster":
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


def _ways_in(observed: _Namespace) -> Iterator[str]:
    for ingress in observed.find("networking.k8s.io/v1", "Ingress", _PARTS):
        host = next((rule["host"] for rule in ingress["spec"].get("rules") or () if rule.get("host")), "*")
        scheme = "https" if ingress["spec"].get("tls") else "http"
        given = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        where = ", ".join(one.get("ip") or one.get("hostname", "") for one in given) or "no address yet"
        yield f"{scheme}://{host} ({where})"
    for gateway in observed.find("gateway.networking.k8s.io/v1", "Gateway", _PARTS):
        addresses = (gateway.get("status") or {}).get("addresses") or ()
        where = ", ".join(one["value"] for one in addresses) or "no address yet"
        yield f"gateway {gateway['metadata']['name']} ({where})"
