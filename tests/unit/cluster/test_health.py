"""Progress of an object towards its desired state."""

from typing import Any

import pytest

from valerix_cli.cluster.health import CRASHES, container_failures, evaluate, unscheduled


def deployment(**status: Any) -> Any:
    metadata = {"name": "order", "generation": 2}
    usual = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": 2},
        "status": usual | status,
    }


@pytest.mark.parametrize(
    ("status", "verdict", "why"),
    [
        ({}, "ready", "ready"),
        ({"observedGeneration": 1}, "waiting", "its controller has not seen it yet"),
        ({"updatedReplicas": 1}, "waiting", "1 of 2 pods are new"),
        ({"replicas": 3}, "waiting", "1 old pod has to go"),
        ({"availableReplicas": 1}, "waiting", "1 of 2 pods are available"),
        (
            {
                "conditions": [
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}
                ]
            },
            "failed",
            "m",
        ),
        ({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]}, "failed", "quota"),
    ],
)
def test_a_deployment_is_ready_once_every_pod_is_new_and_available(status: Any, verdict: str, why: str) -> None:
    found = evaluate(deployment(**status))
    assert (found.verdict, found.why) == (verdict, why)


def test_an_outdated_status_does_not_count() -> None:
    """A failure of the previous generation does not count for this one."""
    failed = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "old"}]
    assert evaluate(deployment(observedGeneration=1, conditions=failed)).verdict == "waiting"


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [([], "waiting"), (["Complete"], "ready"), (["Failed"], "failed"), (["FailureTarget"], "waiting")],
)
def test_a_job_is_finished_by_its_condition(conditions: list[str], verdict: str) -> None:
    status = {"conditions": [{"type": kind, "status": "True", "message": "m"} for kind in conditions]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}, "spec": {}, "status": status}
    assert evaluate(job).verdict == verdict


def test_a_stateful_set_is_ready_once_its_pods_have_the_latest_revision() -> None:
    thing: Any = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "postgres", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
    }
    assert evaluate(thing).verdict == "waiting"
    thing["status"]["currentRevision"] = "b"
    assert evaluate(thing).verdict == "ready"


def pod(reason: str, restarts: int = 0, *, last: Any = None) -> Any:
    state = {"name": "order", "state": {"waiting": {"reason": reason, "message": "m"}}, "restartCount": restarts}
    return {"metadata": {"name": "order-1"}, "status": {"containerStatuses": [state | {"lastState": last or {}}]}}


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError", "InvalidImageName"])
def test_a_container_waiting_for_a_terminal_reason_fails_at_once(reason: str) -> None:
    [found] = container_failures(pod(reason))
    assert str(found) == f"pod order-1, container order: {reason}, m"


def test_a_container_may_restart_a_few_times_before_it_fails() -> None:
    assert list(container_failures(pod("CrashLoopBackOff", CRASHES - 1))) == []
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    [found] = container_failures(pod("CrashLoopBackOff", CRASHES, last=last))
    assert found.detail == "OOMKilled with exit 137"
    assert found.restarted


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "ErrImagePull"])
def test_a_temporary_waiting_reason_is_no_failure(reason: str) -> None:
    assert list(container_failures(pod(reason))) == []


def test_an_unschedulable_pod_shows_its_reason() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: insufficient cpu"}
    assert unscheduled({"metadata": {}, "status": {"conditions": [condition]}}) == "0/1 nodes: insufficient cpu"
    assert unscheduled({"metadata": {}, "status": {}}) is None
