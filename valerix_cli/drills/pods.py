"""Striking the pods of a cluster: killing them, and rolling a service out anew. The cluster makes them again."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import is_ready, judge
from valerix_cli.cluster.objects import NAME, Object, Ref
from valerix_cli.drills.model import Fault
from valerix_cli.drills.processes import Process
from valerix_cli.errors import GuardError, UnreachableError, WaitedTooLongError

BACK_WITHIN = 180.0  # seconds that pods may take to be back, or a roll-out to be over
_GLANCE = 0.5  # seconds
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""The annotation by which kubectl rolls out what is otherwise the same."""
_STATUS = "valerix cluster status"
_PARTS = "app.kubernetes.io/part-of=valerix"
_KINDS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))


def cannot_be_struck(fault: Fault) -> str | None:
    """Why a fault cannot be made to happen in a cluster, None where it can."""
    if fault.kind in {"stop", "flush"}:
        return f"`{fault.kind}` needs the machine that the process is on"
    if fault.restart_after is not None:
        return "`restart_after` keeps a process down, and a cluster restarts pods by its own schedule"
    if fault.kind != "gremlin" and fault.target.rpartition("-")[2].isdigit():
        return f"pods have no numbers, so there is no {fault.target}"
    return None


class Pods:
    """The pods of a namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._before: dict[str, tuple[str, int]] = {}

    def of(self, target: str) -> list[Process]:
        """The ready pods of a service or a server. Raises UnreachableError when there are none."""
        ready = self._ready(target)
        if not ready:
            raise UnreachableError(f"There is no {target} to strike.", "no pod of it is ready", _STATUS)
        names = [pod["metadata"]["name"] for pod in ready]
        self._before |= {name: (target, len(names)) for name in names}
        return [Process(name, None, "running") for name in names]

    def kill(self, process: Process, _: float | None) -> None:
        """End it at once, without a word: SIGKILL, and its name is gone."""
        self._api.delete(Ref("v1", "Pod", self._namespace, process.name), grace=0)

    def stop(self, process: Process, seconds: float) -> None:
        raise GuardError(
            f"{process.name} was not stopped for {seconds:g} s.", "a cluster cannot", "valerix --context local"
        )

    def go_on(self, process: Process) -> None:
        """Nothing was stopped."""

    def restart(self, targets: Sequence[Process]) -> Iterator[Process]:
        """Roll the service of these pods out anew, as a new version would be; yields them once all are replaced."""
        service = self._before[targets[0].name][0]
        workload = self._workload(service)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        change = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: now}}}}}
        self._api.patch(workload, change, manager="valerix-drill")
        _until(lambda: self._is_rolled_out(workload), f"{workload} is not rolled out.")
        yield from targets

    def release(self, name: str) -> None:
        """Nothing is held down."""

    def until_back(self, before: Process) -> None:
        """Wait until as many pods of its service are ready as before. Raises WaitedTooLongError."""
        service, wanted = self._before[before.name]

        def is_back() -> bool:
            names = [pod["metadata"]["name"] for pod in self._ready(service)]
            return before.name not in names and len(names) >= wanted

        _until(is_back, f"{before.name} is not replaced.")

    def all_run(self) -> bool:
        workloads = [
            one for version, kind in _KINDS for one in self._api.find_all(version, kind, self._namespace, _PARTS)
        ]
        return all(judge(one).verdict == "ready" for one in workloads)

    def flush_redis(self) -> int:
        raise GuardError("Redis was not flushed.", "its port is not forwarded", "valerix --context local")

    def _ready(self, target: str) -> list[Object]:
        return [pod for pod in self._api.find_all("v1", "Pod", self._namespace, f"{NAME}={target}") if is_ready(pod)]

    def _workload(self, name: str) -> Ref:
        found = [Ref(version, kind, self._namespace, name) for version, kind in _KINDS]
        there = [one for one in found if self._api.get(one) is not None]
        if not there:
            raise UnreachableError(f"There is no {name} to restart.", "no workload has that name", _STATUS)
        return there[0]

    def _is_rolled_out(self, workload: Ref) -> bool:
        live = self._api.get(workload)
        return live is not None and judge(live).verdict == "ready"


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BACK_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise WaitedTooLongError(what, f"{BACK_WITHIN:g} s were not enough", _STATUS)
        time.sleep(_GLANCE)
