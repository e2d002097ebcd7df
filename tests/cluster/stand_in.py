"""Stands in for scheduler, kubelet and storage: every pod gets a node at once, and runs as its image's tag says.

`…-broken` cannot be pulled, `…-crashing` ends with 2 again and again, `…-slow` is never ready; pods of a job succeed,
unless its image is broken or crashing. Every claim gets a volume of its size, and a larger one when it asks for more.
Everything else of the cluster is real.
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
_WATCH = 3  # seconds that a watch takes, and so that ending takes at most
_AGAIN = 0.1  # seconds
_HEARTBEAT = 5.0  # seconds
_NOW = "2026-01-01T00:00:00Z"


class Kubelet:
    """Looks after the pods and the claims until it is stopped: it watches both, as a kubelet does."""

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
        """Without them Kubernetes says after a minute that the node's pods are not ready."""
        while True:
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
            status = {"status": {"conditions": [ready]}}
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._plane.request("PATCH", f"/api/v1/nodes/{NODE}/status", status, "application/merge-patch+json")
            if self._ended.wait(_HEARTBEAT):
                return

    def _follow(self, plural: str, handle: Callable[[Any], None]) -> None:
        """Handle every object that is there, and each as it changes. The server ends a watch after some seconds."""
        while not self._ended.wait(_AGAIN):
            # the API server goes before us at the end, and is restarted by some tests
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                for event in self._plane.watch(f"/api/v1/{plural}", _WATCH):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        with contextlib.suppress(urllib.error.HTTPError):  # somebody was quicker
                            handle(event["object"])
                    if self._ended.is_set():
                        return

    def _provide(self, claim: Any) -> None:
        """A volume for a claim, or a larger one."""
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
    """What a kubelet would say of a pod after a while."""
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
