"""Faults in the pods of a cluster: deleting pods and restarting workloads. The cluster recreates the pods."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import evaluate, is_ready
from valerix_cli.cluster.objects import NAME, Object, Ref
from valerix_cli.drills.model import Fault
from valerix_cli.drills.targets.base import Process
from valerix_cli.errors import UnreachableError
from valerix_cli.waiting import require

RESTART_TIMEOUT = 180.0  # seconds
_POLL_INTERVAL = 0.5  # seconds
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""The annotation that `kubectl rollout restart` changes."""
_STATUS = "valerix cluster status"
_PART_OF_VALERIX = "app.kubernetes.io/part-of=valerix"
_KINDS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))


def unsupported_reason(fault: Fault) -> str | None:
    """Return the reason a fault cannot be injected into a cluster; None if it can."""
    if fault.kind in {"stop", "flush"}:
        return f"`{fault.kind}` needs the machine that the process is on"
    if fault.restart_after is not None:
        return "`restart_after` keeps a process down, and a cluster restarts pods by its own schedule"
    if fault.kind != "gremlin" and fault.target.rpartition("-")[2].isdigit():
        return f"pods have no numbers, so there is no {fault.target}"
    return None


class KubernetesPods:
    """The pods of a namespace; a `FaultTarget`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._found: dict[str, tuple[str, int]] = {}
        """The target and its number of ready pods, by the name of each pod that was found."""

    def find(self, target: str) -> list[Process]:
        """Return the ready pods of a service or a server. Raises UnreachableError if there are none."""
        ready = self._ready_pods(target)
        if not ready:
            raise UnreachableError(f"No pod of {target} to inject a fault into.", "no pod of it is ready", _STATUS)
        names = [pod["metadata"]["name"] for pod in ready]
        self._found |= {name: (target, len(names)) for name in names}
        return [Process(name, None, "running") for name in names]

    def kill(self, process: Process) -> None:
        """Delete a pod without a grace period: SIGKILL."""
        self._api.delete(Ref("v1", "Pod", self._namespace, process.name), grace=0)

    def restart(self, processes: Sequence[Process]) -> Iterator[Process]:
        """Restart the workload of these pods as `kubectl rollout restart` does; yield them once all are replaced."""
        service = self._found[processes[0].name][0]
        workload = self._workload(service)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        change = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED_AT: now}}}}}
        self._api.patch(workload, change, manager="valerix-drill")
        _require(lambda: self._is_rolled_out(workload), f"{workload} is not rolled out.")
        yield from processes

    def wait_until_back(self, previous: Process) -> None:
        """Wait until a pod is deleted and its service has as many ready pods as before. Raises TimeoutExpiredError."""
        service, expected = self._found[previous.name]

        def is_back() -> bool:
            names = [pod["metadata"]["name"] for pod in self._ready_pods(service)]
            return previous.name not in names and len(names) >= expected

        _require(is_back, f"{previous.name} is not replaced.")

    def all_running(self) -> bool:
        """Return True if every workload of Valerix is ready."""
        workloads = [
            one
            for version, kind in _KINDS
            for one in self._api.find_all(version, kind, self._namespace, _PART_OF_VALERIX)
        ]
        return all(evaluate(one).verdict == "ready" for one in workloads)

    def _ready_pods(self, target: str) -> list[Object]:
        return [pod for pod in self._api.find_all("v1", "Pod", self._namespace, f"{NAME}={target}") if is_ready(pod)]

    def _workload(self, name: str) -> Ref:
        candidates = [Ref(version, kind, self._namespace, name) for version, kind in _KINDS]
        existing = [one for one in candidates if self._api.get(one) is not None]
        if not existing:
            raise UnreachableError(f"There is no {name} to restart.", "no workload has that name", _STATUS)
        return existing[0]

    def _is_rolled_out(self, workload: Ref) -> bool:
        live = self._api.get(workload)
        return live is not None and evaluate(live).verdict == "ready"


def _require(condition: Callable[[], bool], failure: str) -> None:
    require(condition, RESTART_TIMEOUT, failure, _STATUS, interval=_POLL_INTERVAL)
