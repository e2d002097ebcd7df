"""Ownership of the objects in a namespace."""

from typing import Any

import pytest

from valerix_cli.cluster.namespace import MADE, is_made_by_us, is_ours, marked, of_others
from valerix_cli.cluster.objects import Ref

OURS = {"app.kubernetes.io/managed-by": "valerix"}


def thing(kind: str, name: str, *, owner: str = "", manager: str = "valerix", labels: Any = OURS) -> Any:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"{kind}/{name}", "labels": labels}
    metadata["managedFields"] = [{"manager": manager, "operation": "Apply", "fieldsV1": {}}]
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (thing("ConfigMap", "settings"), True),
        (thing("ConfigMap", "copy", manager="kubectl"), False),
        (thing("ConfigMap", "other", labels={}), False),
        (thing("EndpointSlice", "order-x", owner="Service/order"), False),
    ],
)
def test_an_object_is_own_if_it_has_the_label_and_was_written_by_the_command_line(
    found: Any, *, expected: bool
) -> None:
    assert is_ours(found) is expected


def test_dependents_of_own_objects_are_not_foreign() -> None:
    things = [
        thing("Deployment", "order"),
        thing("ReplicaSet", "order-1", owner="Deployment/order", manager="controller"),
        thing("Pod", "order-1-a", owner="ReplicaSet/order-1", manager="controller"),
        thing("Pod", "left-over", owner="ReplicaSet/gone", manager="controller"),
        thing("ConfigMap", "kube-root-ca.crt", labels={}),
        thing("ServiceAccount", "default", labels={}),
    ]
    ours = [Ref("v1", "Deployment", "shop", "order")]
    assert [one["metadata"]["name"] for one in of_others(things, ours)] == ["left-over"]


def test_a_namespace_is_marked_only_if_an_apply_created_it() -> None:
    described: Any = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    made = marked(described, None)
    assert MADE in made["metadata"]["annotations"]
    assert is_made_by_us(made)
    assert marked(described, made) == made
    assert marked(described, described) == described
    assert not is_made_by_us(described)
    assert not is_made_by_us(None)
