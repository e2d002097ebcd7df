"""Objects that are not ours stay unchanged, whatever the command."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import LIMIT, Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import ends_with_help, overlay
from tests.processes import eventually
from valerix_cli.cluster.api import connect
from valerix_cli.cluster.delete import delete, find
from valerix_cli.cluster.target import Target

pytestmark = pytest.mark.long

CONTAINER = {
    "name": "theirs",
    "image": "theirs:1",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "resources": {"limits": {"memory": "1Mi", "cpu": "1m", "ephemeral-storage": "1Mi"}},
}
POD = {
    "containers": [CONTAINER],
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
}
SELECTOR, LABELS = {"matchLabels": {"app": "theirs"}}, {"app": "theirs"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
FOREIGN: dict[str, dict[str, Any]] = {
    "api/v1/configmaps": {"kind": "ConfigMap", "data": {"a": "b"}},
    "api/v1/secrets": {"kind": "Secret", "stringData": {"a": "b"}},
    "api/v1/services": {"kind": "Service", "spec": {"ports": [{"port": 80}]}},
    "api/v1/serviceaccounts": {"kind": "ServiceAccount"},
    "api/v1/persistentvolumeclaims": {
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    "api/v1/pods": {"kind": "Pod", "spec": POD},
    "api/v1/podtemplates": {"kind": "PodTemplate", "template": TEMPLATE},
    "api/v1/limitranges": {"kind": "LimitRange", "spec": {"limits": [{"type": "Pod", "max": {"cpu": "64"}}]}},
    "api/v1/replicationcontrollers": {
        "kind": "ReplicationController",
        "spec": {"replicas": 0, "selector": LABELS, "template": TEMPLATE},
    },
    "apis/apps/v1/deployments": {"kind": "Deployment", "spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "apis/apps/v1/statefulsets": {
        "kind": "StatefulSet",
        "spec": {"selector": SELECTOR, "serviceName": "theirs", "template": TEMPLATE},
    },
    "apis/apps/v1/daemonsets": {"kind": "DaemonSet", "spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "apis/batch/v1/jobs": {
        "kind": "Job",
        "spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}, "suspend": True},
    },
    "apis/batch/v1/cronjobs": {
        "kind": "CronJob",
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
        },
    },
    "apis/networking.k8s.io/v1/networkpolicies": {"kind": "NetworkPolicy", "spec": {"podSelector": SELECTOR}},
    "apis/networking.k8s.io/v1/ingresses": {
        "kind": "Ingress",
        "spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}},
    },
    "apis/policy/v1/poddisruptionbudgets": {"kind": "PodDisruptionBudget", "spec": {"selector": SELECTOR}},
    "apis/autoscaling/v2/horizontalpodautoscalers": {
        "kind": "HorizontalPodAutoscaler",
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs"},
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    },
    "apis/rbac.authorization.k8s.io/v1/roles": {"kind": "Role", "rules": []},
    "apis/coordination.k8s.io/v1/leases": {"kind": "Lease", "spec": {}},
    "apis/monitoring.coreos.com/v1/prometheusrules": {"kind": "PrometheusRule", "spec": {}},
}
"""Foreign objects, by path. Some have our label, as a copy of ours under another name would."""


def fill(valerix: Valerix) -> None:
    for number, (place, described) in enumerate(FOREIGN.items()):
        *group, plural = place.split("/")
        labels = {"app.kubernetes.io/managed-by": "valerix"} if number % 2 else {}
        thing = {"apiVersion": "/".join(group[1:]), **described, "metadata": {"name": "theirs", "labels": labels}}
        valerix.plane.request("POST", f"/{'/'.join(group)}/namespaces/{valerix.namespace}/{plural}", thing)


def there(valerix: Valerix) -> dict[str, str]:
    """Return the UIDs of the objects that exist."""
    found = {place: valerix.find(f"{place}/theirs") for place in FOREIGN}
    return {place: thing["metadata"]["uid"] for place, thing in found.items() if thing is not None}


def test_foreign_objects_of_twenty_kinds_survive_every_command_and_flag(
    valerix: Valerix, plane: ControlPlane, tmp_path: Path
) -> None:
    plane.make_namespace(valerix.namespace)
    fill(valerix)
    before = there(valerix)
    assert set(before) == set(FOREIGN)
    extra = [{"name": "extra", "literals": ["a=b"], "options": {"disableNameSuffixHash": True}}]
    own = overlay(tmp_path / "own", configMapGenerator=extra)
    share = ("--yes", "--share-namespace", "--no-wait")
    for typed in (
        ("check",),
        ("diff",),
        ("status",),
        ("history",),
        ("apply", *share, "--overlay", own),
        ("apply", *share, "--prune", "--force-conflicts"),
        ("apply", *share, "--dry-run", "--prune"),
    ):
        done = valerix.run("cluster", *typed)
        assert done.code in {0, 1, 3}, done.stderr
    valerix.run("cluster", "rollback", "--yes", "--force-conflicts")
    for flags in (("--yes",), ("--yes", "--volumes", "--confirm", valerix.namespace)):
        valerix("cluster", "delete", *flags)
        assert there(valerix) == before
    kept = valerix.json("cluster", "delete", "--yes", "--volumes", "--confirm", valerix.namespace)["kept"]
    assert kept == [f"Namespace/{valerix.namespace}: Valerix did not make it"]
    assert there(valerix) == before
    left = [one for one in valerix.listed("apis/apps/v1/deployments") if one["metadata"]["name"] != "theirs"]
    assert left == []


def test_a_namespace_created_by_an_apply_is_deleted_unless_it_has_foreign_objects(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    place = f"/api/v1/namespaces/{valerix.namespace}/configmaps"
    valerix.plane.request("POST", place, theirs)
    done = valerix.json("cluster", "delete", "--yes", "--volumes", "--confirm", valerix.namespace)
    assert done["kept"] == [
        f"Namespace/{valerix.namespace}: 1 objects of others are in it, as ConfigMap/theirs",
    ]
    eventually(lambda: valerix.listed("api/v1/persistentvolumeclaims") == [], LIMIT, "claims outlive their pods only")
    assert valerix.listed("api/v1/secrets") == []
    valerix.plane.request("DELETE", f"{place}/theirs")
    eventually(lambda: valerix.listed("api/v1/pods") == [], within=LIMIT, what="its pods are gone")
    valerix("cluster", "delete", "--yes", "--volumes", "--confirm", valerix.namespace)
    path = f"/api/v1/namespaces/{valerix.namespace}"
    eventually(lambda: valerix.plane.find(path) is None, within=LIMIT, what="the namespace is gone")


def test_a_namespace_with_objects_added_during_the_deletion_is_kept(
    valerix: Valerix, monkeypatch: pytest.MonkeyPatch
) -> None:
    valerix("cluster", "apply", "--yes", "--no-wait")
    monkeypatch.setenv("KUBECONFIG", str(valerix.plane.kubeconfig))
    api = connect("admin")
    target = Target("admin", valerix.namespace, "local", "tests")
    found = find(api, target, volumes=True)
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    valerix.plane.request("POST", f"/api/v1/namespaces/{valerix.namespace}/configmaps", theirs)
    done = delete(api, found, lambda: None)
    assert done.kept == [f"Namespace/{valerix.namespace}: ConfigMap/theirs was put into it meanwhile"]
    assert valerix.find("api/v1/configmaps/theirs") is not None
    eventually(lambda: valerix.listed("api/v1/persistentvolumeclaims") == [], LIMIT, "claims outlive their pods only")


def test_data_is_deleted_only_with_its_confirmed_name(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    output = ends_with_help(valerix("cluster", "delete", "--yes", "--volumes", code=4))
    assert f"--confirm {valerix.namespace}" in output
    assert ends_with_help(valerix("cluster", "delete", "--yes", "--volumes", "--confirm", "other", code=4))
    assert ends_with_help(valerix("cluster", "delete", "--yes", "--confirm", valerix.namespace, code=2))
    assert valerix.json("cluster", "status")["state"] == "ready"
    done = valerix.json("cluster", "delete", "--yes")
    assert {"PersistentVolumeClaim/data-postgres-0", "Secret/tokens"} < set(done["kept"])
    assert {one["metadata"]["name"] for one in valerix.listed("api/v1/persistentvolumeclaims")} > {"data-postgres-0"}
    valerix("cluster", "apply", "--yes")  # finds its data and secrets again


def test_a_namespace_with_foreign_objects_requires_share_namespace(valerix: Valerix, plane: ControlPlane) -> None:
    plane.make_namespace(valerix.namespace)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs"}, "spec": {"ports": [{"port": 80}]}}
    plane.request("POST", f"/api/v1/namespaces/{valerix.namespace}/services", service)
    output = ends_with_help(valerix("cluster", "apply", "--yes", code=4))
    assert "is used by others" in output
    assert "Service/theirs" in output
    assert "--share-namespace" in output
    assert plane.find(f"/api/v1/namespaces/{valerix.namespace}/resourcequotas/valerix") is None


def test_prune_finds_own_objects_of_every_kind(valerix: Valerix, tmp_path: Path) -> None:
    role = tmp_path / "own" / "role.yaml"
    own = overlay(tmp_path / "own", resources=["role.yaml"])
    role.write_text("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: extra\nrules: []\n")
    valerix("cluster", "apply", "--yes", "--overlay", own)
    assert "No longer in the overlay: Role/extra" in valerix("cluster", "apply", "--yes").stderr
    valerix("cluster", "apply", "--yes", "--prune")
    assert valerix.find("apis/rbac.authorization.k8s.io/v1/roles/extra") is None


def test_the_undo_hint_of_an_apply_reverts_only_that_apply(valerix: Valerix) -> None:
    assert "Undo: valerix cluster delete" in valerix("cluster", "apply", "--yes").stderr
    policies = f"/apis/networking.k8s.io/v1/namespaces/{valerix.namespace}/networkpolicies"
    valerix.plane.request("DELETE", f"{policies}/order")
    done = valerix("cluster", "apply", "--yes")
    assert "+1 ~0" in done.stdout
    assert "Undo" not in done.stderr
    done = valerix("cluster", "apply", "--yes", "--image", "valerix:1.0.0")
    assert "Undo: valerix cluster rollback" in done.stderr
