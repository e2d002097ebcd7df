"""A replacement for scheduler, kubelet and storage: pods get a node at once, and their image's tag decides their state.

`…-broken` cannot be pulled, `…-crashing` exits with 2 repeatedly, `…-slow` never becomes ready; pods of a job succeed
unless their image is broken or crashing. Each claim gets a volume of its size, which grows with the claim. Everything
else in the cluster is real.
"""

import contextlib
import http.client
import threading
import time
import urllib.error
from collections.abc import Callable
from typing import Any, Self

from tests.cluster.control_plane import ControlPlane

NODE = "stand-in"
_WATCH = 3  # seconds that a watch lasts, and so the longest time to stop
_AGAIN = 0.1  # seconds
_HEARTBEAT = 5.0  # seconds
_NOW = "2026-01-01T00:00:00Z"


class Kubelet:
    """Manages the pods and claims until it is stopped. It watches both, as a kubelet does."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._ended = threading.Event()
        handlers = {"pods": self._look_after, "persistentvolumeclaims": self._provide}
        self._threads = [
            threading.Thread(target=self._send_heartbeats, name="stand-in's heartbeats"),
            *(
                threading.Thread(target=self._follow, args=(plural, handle), name=f"stand-in for {plural}")
                for plural, handle in handlers.items()
            ),
        ]

    def __enter__(self) -> Self:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self._plane.request("POST", "/api/v1/nodes", node)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send_heartbeats(self) -> None:
        """Send heartbeats: after a minute without, Kubernetes marks the node's pods as not ready."""
        while True:
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
            status = {"status": {"conditions": [ready]}}
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._plane.request("PATCH", f"/api/v1/nodes/{NODE}/status", status, "application/merge-patch+json")
            if self._ended.wait(_HEARTBEAT):
                return

    def _follow(self, plural: str, handle: Callable[[Any], None]) -> None:
        """Handle every existing object and each change. The server ends a watch after some seconds."""
        while not self._ended.wait(_AGAIN):
            # the API server stops before us at the end, and some tests restart it
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                for event in self._plane.watch(f"/api/v1/{plural}", _WATCH):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        with contextlib.suppress(urllib.error.HTTPError):  # it was changed concurrently
                            handle(event["object"])
                    if self._ended.is_set():
                        return

    def _provide(self, claim: Any) -> None:
        """Provide a volume for a claim, or enlarge it."""
        name, spec = f"volume-{claim['metadata']['uid']}", claim["spec"]
        path = f"/api/v1/persistentvolumes/{name}"
        capacity = {"storage": spec["resources"]["requests"]["storage"]}
        if not spec.get("volumeName"):
            reference = {part: claim["metadata"][part] for part in ("namespace", "name", "uid")}
            volume = {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": capacity,
                    "accessModes": spec["accessModes"],
                    "storageClassName": spec["storageClassName"],
                    "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
                    "hostPath": {"path": "/nowhere"},
                    "persistentVolumeReclaimPolicy": "Retain",
                },
            }
            self._plane.request("POST", "/api/v1/persistentvolumes", volume)
        elif (claim.get("status") or {}).get("capacity") not in (None, capacity):
            merging = "application/merge-patch+json"
            self._plane.request("PATCH", path, {"spec": {"capacity": capacity}}, merging)
            there = f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims"
            status = {"status": {"capacity": capacity}}
            self._plane.request("PATCH", f"{there}/{claim['metadata']['name']}/status", status, merging)

    def _look_after(self, pod: Any) -> None:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        if "deletionTimestamp" in pod["metadata"]:
            self._plane.request("DELETE", path, {"gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName"):
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": pod["metadata"]["name"]},
                "target": {"kind": "Node", "name": NODE},
            }
            self._plane.request("POST", f"{path}/binding", binding)
        elif (pod.get("status") or {}).get("phase", "Pending") == "Pending" and "startTime" not in pod["status"]:
            self._plane.request("PATCH", f"{path}/status", {"status": status(pod)}, "application/merge-patch+json")


def status(pod: Any) -> Any:
    """Return the status that a kubelet would report for a pod after a while."""
    images = [container["image"] for container in pod["spec"]["containers"]]
    tag = images[0].rpartition("-")[2]
    waiting = {
        "broken": ("ImagePullBackOff", "Back-off pulling image", {}),
        "crashing": ("CrashLoopBackOff", "back-off restarting", {"terminated": {"exitCode": 2, "reason": "Error"}}),
        "slow": ("ContainerCreating", "", {}),
    }.get(tag)
    for_good = pod["spec"]["restartPolicy"] == "Never" and waiting is None
    container: dict[str, Any] = {"imageID": "", "restartCount": 0, "ready": False, "started": False}
    if waiting:
        reason, message, last = waiting
        container |= {"state": {"waiting": {"reason": reason, "message": message}}, "lastState": last}
        container["restartCount"] = 3 if last else 0
    elif for_good:
        container["state"] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    else:
        container |= {"state": {"running": {"startedAt": _NOW}}, "ready": True, "started": True}
    verdict = "False" if waiting or for_good else "True"
    now = _now()
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Pending" if waiting else "Succeeded" if for_good else "Running",
        "startTime": now,
        "podIP": "10.0.0.1",
        "conditions": [
            {"type": kind, "status": "True" if kind == "PodScheduled" else verdict, "lastTransitionTime": now}
            for kind in kinds
        ],
        "containerStatuses": [
            {"name": one["name"], "image": one["image"], **container} for one in pod["spec"]["containers"]
        ],
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
