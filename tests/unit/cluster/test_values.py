"""Objects as `valerix cluster` prepares them, before any request."""

from typing import Any

import pytest
import yaml

from valerix_cli.cluster import secrets
from valerix_cli.cluster.check import Right, grant
from valerix_cli.cluster.model import Action, Change, summary
from valerix_cli.cluster.objects import waves
from valerix_cli.cluster.overlays import parse_image
from valerix_cli.cluster.plan import REDACTED, changed_lines
from valerix_cli.errors import BadUsageError


def thing(kind: str, name: str = "x", component: str | None = None) -> Any:
    labels = {"app.kubernetes.io/component": component} if component else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}}


def test_waves_order_objects_before_their_readers() -> None:
    mixed = [
        thing("Deployment", "order", "service"),
        thing("Job", "migrate", "migration"),
        thing("ConfigMap"),
        thing("Namespace"),
        thing("Service", "postgres", "datastore"),
        thing("PersistentVolumeClaim", "redis", "datastore"),
    ]
    assert [(wave.name, len(wave.objects)) for wave in waves(mixed)] == [
        ("namespace", 1),
        ("configuration", 2),
        ("data stores", 1),
        ("migrations", 1),
        ("services", 1),
    ]


@pytest.mark.parametrize("name", sorted(secrets.RECIPES))
def test_a_secret_is_random_and_safe_inside_a_url(name: str) -> None:
    made = [secrets.opened(secrets.make(name, "valerix")) for _ in range(2)]
    values = [value for one in made for key, value in one.items() if key != "username"]
    assert all(len(value) >= 32 and value.replace("-", "").replace("_", "").isalnum() for value in values)
    assert made[0] != made[1]


def test_the_operator_token_is_one_of_the_valid_tokens() -> None:
    made = secrets.opened(secrets.make("tokens", "valerix"))
    assert made["operator-token"] in made["operator-tokens"].split(",")
    assert made["service-tokens"] != made["operator-tokens"]


def test_a_diff_shows_changes_and_masks_secrets() -> None:
    old, new = (thing("Secret") | {"data": {"password": value}} for value in ("b2xk", "bmV3"))
    new["data"]["more"] = "eA=="
    lines = changed_lines(old, new)
    assert f"+  more: {REDACTED}" in lines
    assert not any(value in line for line in lines for value in ("b2xk", "bmV3", "eA=="))


def test_fields_written_by_the_server_are_no_difference() -> None:
    old = thing("ConfigMap") | {"status": {"x": 1}}
    old["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": [], "generation": 3}
    assert changed_lines(old, thing("ConfigMap")) == []


def test_a_summary_counts_by_action() -> None:
    actions: list[Action] = ["created", "created", "changed", "replaced", "unchanged"]
    assert summary([Change("ConfigMap", "x", action) for action in actions]) == "+2 ~2 -0 =1"


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("valerix:0.2.0", {"newName": "valerix", "newTag": "0.2.0"}),
        ("localhost:5000/valerix:1", {"newName": "localhost:5000/valerix", "newTag": "1"}),
        ("a.b/c@sha256:12", {"newName": "a.b/c", "digest": "sha256:12"}),
    ],
)
def test_an_image_name_is_parsed(image: str, parts: dict[str, str]) -> None:
    assert parse_image(image) == parts


@pytest.mark.parametrize("image", ["valerix", "localhost:5000/valerix", "valerix:"])
def test_an_image_without_a_tag_is_refused(image: str) -> None:
    with pytest.raises(BadUsageError, match="has no tag"):
        parse_image(image)


def test_a_role_for_missing_permissions_merges_equal_rules() -> None:
    missing = [
        Right("apps", "deployments", "create", everywhere=False),
        Right("apps", "deployments", "patch", everywhere=False),
        Right("apps", "statefulsets", "create", everywhere=False),
        Right("apps", "statefulsets", "patch", everywhere=False),
        Right("", "namespaces", "create", everywhere=True),
    ]
    role, cluster_role = yaml.safe_load_all(grant(missing, "shop"))
    assert role["metadata"] == {"name": "valerix", "namespace": "shop"}
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["create", "patch"]}
    ]
    assert cluster_role["kind"] == "ClusterRole"
    assert cluster_role["rules"] == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"]}]
