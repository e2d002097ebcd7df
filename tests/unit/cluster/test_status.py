"""Status of the workloads in a namespace, with limited permissions."""

from typing import Any

import pytest

from valerix_cli.cluster.status import read_status
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ForbiddenError

TARGET = Target("kind", "shop", "staging", "here")
CRON: Any = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "backup", "namespace": "shop", "uid": "cron"},
    "spec": {
        "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "dump", "image": "postgres:18"}]}}}}
    },
}
SUCCEEDED = {"lastSuccessfulTime": "2026-11-29T02:00:00Z"}


def run(number: int, condition: str | None) -> Any:
    conditions = [{"type": condition, "status": "True", "message": "it ended with 1"}] if condition else []
    metadata = {
        "name": f"backup-{number}",
        "namespace": "shop",
        "creationTimestamp": f"2026-11-2{number}T02:00:00Z",
        "ownerReferences": [{"uid": "cron", "controller": True}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {},
        "status": {"conditions": conditions},
    }


class Cluster:
    """An API server with these objects, which forbids listing some kinds."""

    version = "v1.37.2"

    def __init__(self, *things: Any, forbidden: frozenset[str] = frozenset()) -> None:
        self._things, self._forbidden = things, forbidden

    def find_all(self, api_version: str, kind: str, *_: Any) -> list[Any]:
        if kind in self._forbidden:
            raise ForbiddenError(f"{kind} was refused.", "forbidden", "ask an administrator")
        return [one for one in self._things if (one["apiVersion"], one["kind"]) == (api_version, kind)]

    def each(self, do: Any, things: Any) -> list[Any]:
        return list(map(do, things))


@pytest.mark.parametrize(
    ("runs", "status", "state", "detail"),
    [
        ((), {}, "ready", "no run has succeeded yet"),
        ((run(8, "Failed"), run(9, "Complete")), SUCCEEDED, "ready", "last success 2026-11-29T02:00:00Z"),
        (
            (run(8, "Complete"), run(9, None)),
            SUCCEEDED,
            "ready",
            "last success 2026-11-29T02:00:00Z, last run: it runs",
        ),
        (
            (run(9, "Failed"), run(8, "Complete")),
            SUCCEEDED,
            "failed",
            "last success 2026-11-29T02:00:00Z, last run: it ended with 1",
        ),
    ],
)
def test_a_cron_job_has_the_state_of_its_last_run(runs: Any, status: Any, state: str, detail: str) -> None:
    found = read_status(Cluster(CRON | {"status": status}, *runs), TARGET)  # type: ignore[arg-type]  # the only methods used
    assert [(one.kind, one.name, one.state, one.detail) for one in found.workloads] == [
        ("CronJob", "backup", state, detail)
    ]
    assert found.state == state


def test_a_suspended_cron_job_is_marked() -> None:
    suspended = CRON | {"spec": CRON["spec"] | {"suspend": True}}
    found = read_status(Cluster(suspended), TARGET)  # type: ignore[arg-type]  # the same
    assert found.workloads[0].detail == "no run has succeeded yet, suspended"


def test_forbidden_kinds_are_reported_and_the_others_listed() -> None:
    found = read_status(Cluster(CRON, forbidden=frozenset({"Cluster", "Gateway"})), TARGET)  # type: ignore[arg-type]  # the same
    assert found.unseen == ["Cluster", "Gateway"]
    assert [one.name for one in found.workloads] == ["backup"]
