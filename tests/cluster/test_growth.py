"""Scaling to more pods and more disk without downtime."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import ends_with_help, overlay, replacing

pytestmark = pytest.mark.long

STORAGE = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage"
GRACE = "/spec/template/spec/terminationGracePeriodSeconds"
ORDER = "apis/apps/v1/deployments/order"
CLAIM = "api/v1/persistentvolumeclaims/data-postgres-0"


def with_disk(directory: Path, size: str) -> str:
    patch = {"target": {"kind": "StatefulSet", "name": "postgres"}, "patch": replacing(STORAGE, size)}
    return overlay(directory, patches=[patch])


def scale(valerix: Valerix, number: int, manager: str = "kube-controller-manager") -> None:
    """Set the replicas as an autoscaler or `kubectl scale` does."""
    path = f"/apis/apps/v1/namespaces/{valerix.namespace}/deployments/order/scale?fieldManager={manager}"
    valerix.plane.request("PATCH", path, {"spec": {"replicas": number}}, "application/merge-patch+json")


def replicas(valerix: Valerix) -> int:
    found: int = valerix.find(ORDER)["spec"]["replicas"]
    return found


def test_turning_autoscaling_on_and_off_never_drops_a_pod(valerix: Valerix, tmp_path: Path) -> None:
    scaled = overlay(tmp_path / "scaled", components=["autoscaling"])
    valerix("cluster", "apply", "--yes")
    scale_of = [replicas(valerix)]
    valerix("cluster", "apply", "--yes", "--overlay", scaled)
    scale_of.append(replicas(valerix))
    scale(valerix, 5)
    valerix("cluster", "apply", "--yes", "--overlay", scaled)
    scale_of.append(replicas(valerix))
    assert scale_of == [2, 2, 5]
    generations = valerix.find(ORDER)["metadata"]["generation"]
    assert generations == 2  # scaled up only by its autoscaler, so never to one
    output = ends_with_help(valerix("cluster", "apply", "--yes", code=4))
    assert "Deployment/order is scaled by HorizontalPodAutoscaler/order" in output
    assert "--prune" in output
    valerix("cluster", "apply", "--yes", "--prune")
    assert replicas(valerix) == 2
    assert valerix.find("apis/autoscaling/v2/horizontalpodautoscalers/order") is None
    assert valerix("cluster", "apply", "--yes").stdout.startswith("nothing changed")


def test_a_manually_set_replica_count_is_not_mistaken_for_an_autoscalers(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    scale(valerix, 3, manager="kubectl")
    assert ".spec.replicas (set by kubectl)" in ends_with_help(valerix("cluster", "apply", "--yes", code=4))


def test_a_disk_is_enlarged_while_its_pod_keeps_running(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    pod = valerix.find("api/v1/pods/postgres-0")["metadata"]["uid"]
    larger = with_disk(tmp_path / "own", "20Gi")
    changes = {
        f"{one['kind']}/{one['name']}": one for one in valerix.json("cluster", "diff", "--overlay", larger)["changes"]
    }
    assert "+      storage: 20Gi" in "\n".join(changes["PersistentVolumeClaim/data-postgres-0"]["lines"])
    assert changes["StatefulSet/postgres"]["action"] == "replaced"
    done = valerix("cluster", "apply", "--yes", "--overlay", larger)
    assert "PersistentVolumeClaim/data-postgres-0 (changed)" in done.stdout
    claim = valerix.find(CLAIM)
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["status"]["capacity"]["storage"] == "20Gi"
    found = valerix.find("apis/apps/v1/statefulsets/postgres")
    assert found["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert valerix.find("api/v1/pods/postgres-0")["metadata"]["uid"] == pod
    assert valerix("cluster", "apply", "--yes", "--overlay", larger).stdout.startswith("nothing changed")


def test_an_impossible_disk_size_is_reported_before_anything_is_changed(
    valerix: Valerix, plane: ControlPlane, tmp_path: Path
) -> None:
    valerix("cluster", "apply", "--yes")
    smaller = with_disk(tmp_path / "smaller", "5Gi")
    output = ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", smaller, code=2))
    assert "PersistentVolumeClaim/data-postgres-0 cannot become smaller" in output
    expanding(plane, allowed=False)
    try:
        larger = with_disk(tmp_path / "larger", "20Gi")
        output = ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", larger, code=1))
        assert "its storage class standard does not allow volumes to be expanded" in output
    finally:
        expanding(plane, allowed=True)
    assert valerix.find(CLAIM)["spec"]["resources"]["requests"]["storage"] == "10Gi"


def expanding(plane: ControlPlane, *, allowed: bool) -> None:
    body = {"allowVolumeExpansion": allowed}
    path = "/apis/storage.k8s.io/v1/storageclasses/standard"
    plane.request("PATCH", path, body, "application/merge-patch+json")


def test_a_restart_of_the_only_database_is_announced_before_it_happens(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    more = {
        "target": {"kind": "StatefulSet", "name": "postgres"},
        "patch": replacing(GRACE, 61),
    }
    own = overlay(tmp_path / "own", patches=[more])
    assert "it restarts postgres, of which there is one" in valerix("cluster", "diff", "--overlay", own).stdout
    assert "This restarts postgres" in valerix("cluster", "apply", "--yes", "--overlay", own).stderr
    disk = {"target": {"kind": "StatefulSet", "name": "postgres"}, "patch": replacing(STORAGE, "20Gi")}
    both = overlay(tmp_path / "both", patches=[{**more, "patch": replacing(GRACE, 62)}, disk])
    assert "it restarts postgres, of which there is one" in valerix("cluster", "diff", "--overlay", both).stdout
    found = valerix.json("cluster", "diff", "--overlay", own, "--image", "valerix:1.0.0")["changes"]
    assert {one["action"] for one in found} > {"changed"}
    assert [one["name"] for one in found if one["note"]] == []


def test_a_pod_refused_by_a_quota_is_reported_at_once(valerix: Valerix, tmp_path: Path) -> None:
    small = {"target": {"kind": "ResourceQuota"}, "patch": replacing("/spec/hard/requests.memory", "300Mi")}
    done = valerix("cluster", "apply", "--yes", "--overlay", overlay(tmp_path / "own", patches=[small]), code=1)
    output = ends_with_help(done)
    assert "StatefulSet/postgres does not become ready" in output
    assert "exceeded quota" in output


def test_fields_of_other_managers_are_shown_and_counted(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    thing: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "order"}}
    thing["metadata"]["labels"] = {"team": "shop"}
    valerix.plane.apply(thing, f"/api/v1/namespaces/{valerix.namespace}/services/order", "somebody-else")
    shown = valerix("cluster", "diff").stdout
    assert "1 fields that others have set stay as they are" in shown
    assert "Service/order: .metadata.labels.team (set by somebody-else)" in shown
