"""Field managers of an object, as the API server reports them."""

from typing import Any

import pytest

from valerix_cli.cluster.ownership import applied, fields_of_others, has_applied, is_written_by

CONTAINER = {"name": "order", "image": "valerix:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
LIVE: Any = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "order",
        "namespace": "shop",
        "uid": "1",
        "labels": {"a": "ours", "team": "theirs"},
        "finalizers": ["ours/keep", "theirs/keep"],
        "managedFields": [
            {
                "manager": "valerix",
                "operation": "Apply",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"ours/keep"': {}}},
                    "f:spec": {
                        "f:replicas": {},
                        "f:containers": {
                            'k:{"name":"order"}': {
                                ".": {},
                                "f:name": {},
                                "f:image": {},
                                "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                            }
                        },
                        "f:strategy": {},
                    },
                },
            },
            {
                "manager": "kubectl-edit",
                "operation": "Update",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:team": {}}},
                    "f:spec": {
                        "f:replicas": {},
                        "f:containers": {
                            'k:{"name":"order"}': {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}}
                        },
                    },
                },
            },
            {
                "manager": "kube-controller-manager",
                "operation": "Update",
                "subresource": "status",
                "fieldsV1": {"f:status": {"f:replicas": {}}},
            },
        ],
    },
    "spec": {"replicas": 2, "paused": False, "containers": [CONTAINER], "strategy": {"type": "RollingUpdate"}},
    "status": {"replicas": 2},
}


def test_applied_fields_are_returned_with_their_current_values() -> None:
    assert applied(LIVE) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "order", "namespace": "shop", "labels": {"a": "ours"}, "finalizers": ["ours/keep"]},
        "spec": {
            "replicas": 2,
            "containers": [{"name": "order", "image": "valerix:1", "env": [{"name": "A", "value": "1"}]}],
            "strategy": {"type": "RollingUpdate"},
        },
    }


def test_a_manager_that_applied_nothing_has_no_applied_fields() -> None:
    assert applied(LIVE, "kubectl-edit").keys() == {"apiVersion", "kind", "metadata"}


@pytest.mark.parametrize(
    ("fields", "expected"), [(("spec", "replicas"), True), (("spec", "paused"), False), (("status",), False)]
)
def test_a_field_is_own_if_it_was_applied(fields: tuple[str, ...], *, expected: bool) -> None:
    assert has_applied(LIVE, *fields) is expected
    assert not has_applied(LIVE, *fields, manager="kubectl-edit")  # this manager has set the field, but not by an apply


def test_foreign_fields_are_those_set_only_by_other_managers() -> None:
    assert fields_of_others(LIVE) == [
        ".metadata.labels.team (set by kubectl-edit)",
        '.spec.containers[name="order"].env[name="B"].name (set by kubectl-edit)',
        '.spec.containers[name="order"].env[name="B"].value (set by kubectl-edit)',
    ]


def test_a_manager_with_a_field_has_written_the_object() -> None:
    assert is_written_by(LIVE)
    assert is_written_by(LIVE, "kubectl-edit")
    assert not is_written_by(LIVE, "helm")
    assert not is_written_by({"metadata": {}})
