"""Ports of this machine that are forwarded to services of a cluster, for as long as a command runs.

Each replica has its own local port, which leads to its pod, and once that pod terminates to another ready one,
as behind a Service. A connection for HTTP outlives its pod: the next request on it is sent to another pod. Closing it
instead could lose a request that the client sends at that moment, and a container runtime reports up to a second late
that the pod has closed it. A connection with a session, as of PostgreSQL, is closed between a response and the next
request.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from valerix_cli.addresses import path
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import is_ready
from valerix_cli.cluster.objects import NAME, Object, labels
from valerix_cli.errors import CliError, UnreachableError
from valerix_cli.local.ports import LOOPBACK

_FRESH = 0.5  # seconds for which the list of ready pods is cached
_PIECE = 64 * 1024  # bytes
_ATTEMPTS = 3


@dataclass
class Forwards:
    """All open ports; closing it closes all connections, too."""

    api: Api
    cluster: str
    namespace: str
    _listeners: list["_Listener"] = field(default_factory=list)

    def __str__(self) -> str:
        return f"namespace {self.namespace} of {self.cluster}"

    def open(self, service: str, port: int, *, sessions: bool = False) -> list[int]:
        """Return local ports, one for each ready pod of a service. Raises UnreachableError if there is none.

        `sessions`: the connections have state, so that they cannot move to another pod.
        """
        pods = PodSlots(self.api, self.namespace, service)
        ready = pods.ready()
        if not ready:
            raise UnreachableError(
                f"No pod of {service} is ready.",
                f"in {self}",
                "valerix cluster status",
            )
        listeners = [_Listener(pods, slot, port, sessions=sessions) for slot in range(len(ready))]
        self._listeners += listeners
        return [one.port for one in listeners]

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


class PodSlots:
    """The ready pods of a service, by slot: a slot keeps its pod while that is ready; pods are shared if too few."""

    def __init__(self, api: Api, namespace: str, service: str) -> None:
        self.api, self.namespace = api, namespace
        self._service = service
        self._lock = threading.Lock()
        self._ready_pods: list[str] = []
        self._refreshed_at = 0.0
        self._slots: dict[int, str] = {}

    def ready(self) -> list[str]:
        found = self.api.find_all("v1", "Pod", self.namespace, f"{NAME}={self._service}")
        return sorted(pod["metadata"]["name"] for pod in found if _takes_calls(pod))

    def of(self, slot: int) -> str:
        """Return the pod of a slot. Raises UnreachableError if none is ready."""
        with self._lock:
            self._refresh()
            if self._slots.get(slot) not in self._ready_pods:
                self._slots.pop(slot, None)
                free = [pod for pod in self._ready_pods if pod not in self._slots.values()]
                if not self._ready_pods:
                    raise UnreachableError(
                        f"No pod of {self._service} is ready.", "none at this moment", "valerix cluster status"
                    )
                self._slots[slot] = free[0] if free else self._ready_pods[slot % len(self._ready_pods)]
            return self._slots[slot]

    def taking(self) -> list[str]:
        """Return the pods that accept calls now."""
        with self._lock:
            self._refresh()
            return self._ready_pods

    def _refresh(self) -> None:
        if time.monotonic() - self._refreshed_at > _FRESH:
            self._ready_pods, self._refreshed_at = self.ready(), time.monotonic()

    def forget(self) -> None:
        """Refresh the list at the next connection, since a listed pod could not be reached."""
        with self._lock:
            self._refreshed_at = 0.0


def _takes_calls(pod: Object) -> bool:
    return is_ready(pod) and labels(pod).get("cnpg.io/instanceRole") != "replica"


class _Tunnel:
    """A connection between a client and its pod, until either closes it."""

    def __init__(
        self, client: socket.socket, reach: Callable[[], tuple[str, socket.socket]], *, sessions: bool
    ) -> None:
        """Raise UnreachableError if no pod can be reached."""
        self._client, self._reach, self._sessions = client, reach, sessions
        self._lock = threading.Lock()
        self._is_answered = True  # the last bytes came from the pod
        self._is_leaving = False
        self.name, self._pod = reach()

    def join(self) -> None:
        """Forward data in both directions, until one side closes the connection."""
        self._listen_to(self._pod)
        with contextlib.suppress(OSError):
            while piece := self._client.recv(_PIECE):
                self._pod_for_request().sendall(piece)
        self.close()

    def close(self) -> None:
        _close(self._client)
        _close(self._pod)

    def leave(self) -> None:
        """Send no more requests to this pod: the next one goes to another pod, or ends the connection of a session."""
        with self._lock:
            self._is_leaving = True
            is_over = self._sessions and self._is_answered
        if is_over:
            self.close()

    def _pod_for_request(self) -> socket.socket:
        """Return the pod for the client's next bytes: another one once this one terminates, if there is one."""
        with self._lock:
            if self._is_leaving and self._is_answered and not self._sessions:
                with contextlib.suppress(UnreachableError):
                    self._move()
            self._is_answered = False
            return self._pod

    def _move(self) -> None:
        left = self._pod
        self.name, self._pod = self._reach()
        self._is_leaving = False
        self._listen_to(self._pod)
        _close(left)

    def _listen_to(self, pod: socket.socket) -> None:
        threading.Thread(target=self._pass_answers, args=(pod,), daemon=True).start()

    def _pass_answers(self, pod: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := pod.recv(_PIECE):
                self._is_answered = True
                self._client.sendall(piece)
        with self._lock:
            was_left = pod is not self._pod
        if not was_left:
            self.close()


class _Listener:
    """One forwarded port."""

    def __init__(self, pods: PodSlots, slot: int, port: int, *, sessions: bool) -> None:
        self._pods, self._slot, self._target, self._sessions = pods, slot, port, sessions
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._tunnels: set[_Tunnel] = set()
        self._closed = threading.Event()
        for work in (self._accept, self._watch):
            threading.Thread(target=work, daemon=True, name=f"forward to {port}").start()

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for tunnel in list(self._tunnels):
            tunnel.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _watch(self) -> None:
        """Move connections away from a pod that accepts no more calls."""
        while not self._closed.wait(_FRESH):
            if not self._tunnels:
                continue
            try:
                taking = self._pods.taking()
            except CliError:  # unknown now
                continue
            for tunnel in list(self._tunnels):
                if tunnel.name not in taking:
                    tunnel.leave()

    def _serve(self, client: socket.socket) -> None:
        """Connect a client and a pod until either closes the connection."""
        try:
            tunnel = _Tunnel(client, self._reach, sessions=self._sessions)
        except CliError:  # the client sees a closed connection
            _close(client)
            return
        self._tunnels.add(tunnel)
        try:
            tunnel.join()
        finally:
            self._tunnels.discard(tunnel)

    def _reach(self) -> tuple[str, socket.socket]:
        for attempt in range(1, _ATTEMPTS + 1):
            name = self._pods.of(self._slot)
            try:
                return name, _connect(self._pods.api, self._pods.namespace, name, self._target)
            except UnreachableError:
                self._pods.forget()
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")


def _connect(api: Api, namespace: str, pod: str, port: int) -> socket.socket:
    """Return a connection to a port of a pod, by way of the API server."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - slow to import
    from kubernetes.stream.ws_client import portforward_call  # noqa: PLC0415 - the same

    query = [("ports", str(port))]
    way = path("api", "v1", "namespaces", namespace, "pods", pod, "portforward")
    url = f"{api.server}{way}?{urlencode(query)}"
    try:
        forward = portforward_call(  # type: ignore[no-untyped-call]  # the package is not typed
            api.transport.client.configuration, "GET", url, query_params=query, headers=api.transport.authorization()
        )
    except ApiException as error:
        raise UnreachableError(f"Pod {pod} cannot be reached.", str(error.reason), "valerix cluster status") from error
    found: socket.socket = forward.socket(port)
    return found


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def urls(ports: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"http://{LOOPBACK}:{port}" for port in ports)
