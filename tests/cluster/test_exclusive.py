"""One operation at a time, in the intended cluster, and during an interruption of the API server."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import LIMIT, Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import ends_with_help, overlay
from tests.processes import eventually

pytestmark = pytest.mark.long

LEASE = "apis/coordination.k8s.io/v1/leases/valerix"
OPERATIONS = {
    "apply": ("apply", "--yes", "--image", "valerix:1.1.0"),
    "rollback": ("rollback", "--yes"),
    "delete": ("delete", "--yes"),
}


def held(valerix: Valerix, ago: float) -> None:
    """Create the lease of another process, renewed `ago` seconds ago."""
    renewed = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="microseconds")
    spec = {"holderIdentity": "ann@build, process 7: apply", "leaseDurationSeconds": 60, "renewTime": renewed}
    thing = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "valerix"}, "spec": spec}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{valerix.namespace}/leases/valerix"
    valerix.plane.apply(thing, path, "somebody-else")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_second_operation_is_refused_and_the_first_reported(operation: str, shop: Valerix) -> None:
    held(shop, ago=1)
    try:
        output = ends_with_help(shop("cluster", *OPERATIONS[operation], code=4))
        assert "ann@build, process 7: apply is working there" in output
    finally:
        shop.plane.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{shop.namespace}/leases/valerix")


def test_an_expired_lease_is_taken_over_and_released(shop: Valerix) -> None:
    held(shop, ago=61)
    shop("cluster", "apply", "--yes")
    assert shop.find(LEASE) is None


def test_one_of_two_concurrent_applies_runs(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    first = valerix.started("cluster", "apply", "--yes", "--image", "valerix:1.0.0-slow")
    eventually(lambda: valerix.find(LEASE), within=LIMIT, what="the first holds the lease")
    output = ends_with_help(valerix("cluster", "apply", "--yes", code=4))
    assert f"process {first.pid}: apply is working there" in output
    first.terminate()
    first.communicate(timeout=LIMIT)
    assert valerix.find(LEASE) is None  # SIGTERM leaves nothing behind


def test_a_context_refers_to_the_cluster_it_was_used_with_even_if_another_has_its_name(
    valerix: Valerix, plane: ControlPlane
) -> None:
    valerix("cluster", "apply", "--yes", "--no-wait")
    known = valerix.directory / "known-clusters.json"
    uid = plane.request("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    assert uid in known.read_text()
    known.write_text(known.read_text().replace(uid, "0f2b7ed4-another"))
    for operation in OPERATIONS.values():
        output = ends_with_help(valerix("cluster", *operation, code=4))
        assert "admin is not the cluster that the context `tests` means" in output
        assert uid in output
    found = valerix.json("cluster", "check", code=3)
    assert next(line for line in found["checks"] if line["name"] == "identity")["status"] == "failed"
    valerix("cluster", "check", "--accept", "--yes")
    valerix("cluster", "apply", "--yes", "--no-wait")


def test_an_overlay_other_than_the_contexts_cannot_allow_gremlins(valerix: Valerix) -> None:
    valerix.allow("production", "admin", overlay="production")
    output = ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", "local", code=4, context="production"))
    assert "it allows gremlins, and the overlay of the context, production, does not" in output


def test_an_apply_continues_after_an_api_server_outage_of_three_seconds(valerix: Valerix) -> None:
    process = valerix.started("cluster", "apply", "--yes")
    assert process.stderr is not None
    output = ""
    for line in process.stderr:
        output += line
        if "wave 2" in line:
            break
    away = threading.Thread(target=restart, args=(valerix.plane,))
    away.start()
    _, rest = process.communicate(timeout=LIMIT)
    away.join()
    assert process.returncode == 0, output + rest
    assert "trying again" in rest
    assert valerix.json("cluster", "status")["state"] == "ready"


def restart(plane: ControlPlane) -> None:
    """Restart the control plane: controllers that are not restarted take minutes to reconnect to the server."""
    plane.restart("kube-apiserver", after=3.0)
    plane.restart("kube-controller-manager")


def test_status_requires_only_the_view_role(valerix: Valerix, plane: ControlPlane) -> None:
    valerix("cluster", "apply", "--yes", "--overlay", "local")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "viewers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers"}],
    }
    group = "/apis/rbac.authorization.k8s.io/v1"
    plane.apply(binding, f"{group}/namespaces/{valerix.namespace}/rolebindings/viewers")
    valerix.allow("viewer", "developer")
    found = valerix.json("cluster", "status", context="viewer")
    assert found["state"] == "ready"
    assert "Cluster" in found["unseen"]


def test_an_overlay_that_would_leave_the_data_behind_is_refused(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    other = overlay(tmp_path / "own", components=["cloudnative-pg"])
    for more in ((), ("--prune",), ("--force-conflicts",)):
        output = ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", other, *more, code=4))
        assert "would leave the data behind" in output
        assert "StatefulSet/postgres" in output
    valerix("cluster", "delete", "--yes")
    output = ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", other, code=4))
    assert "PersistentVolumeClaim/data-postgres-0" in output


def test_a_database_removed_from_the_overlay_is_never_pruned(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    gone = {"target": {"kind": "StatefulSet", "name": "postgres"}, "patch": yaml.safe_dump(DELETED)}
    own = overlay(tmp_path / "own", patches=[gone])
    valerix("cluster", "apply", "--yes", "--no-wait", "--prune", "--overlay", own)
    assert valerix.find("apis/apps/v1/statefulsets/postgres")


DELETED = {"$patch": "delete", "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "postgres"}}
