"""`valerix cluster` against a real API server: changes, refusals and messages."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import LIMIT, Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import ends_with_help, overlay, replacing
from tests.processes import eventually
from tests.unit.manifests.rendered import SERVICES
from valerix_cli import __version__

pytestmark = pytest.mark.long


def migration_of(valerix: Valerix, image: str = f"valerix:{__version__}") -> str:
    """Return the name of the Job that migrates with an image."""
    [found] = [
        one["metadata"]["name"]
        for one in valerix.listed("apis/batch/v1/jobs")
        if one["spec"]["template"]["spec"]["containers"][0]["image"] == image
    ]
    return str(found)


def image_of(valerix: Valerix, name: str) -> str:
    image: str = valerix.find(f"apis/apps/v1/deployments/{name}")["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def test_the_first_apply_runs_wave_by_wave_and_ends_when_everything_is_ready(valerix: Valerix) -> None:
    assert valerix("cluster", "diff", "--exit-code", code=20).stdout.endswith("~0 -0 =0\n")
    done = valerix("cluster", "apply", "--yes")
    waves = re.findall(r"^wave (\d) of 5, ([a-z ]+):", done.stderr, re.MULTILINE)
    assert [name for _, name in waves] == ["namespace", "configuration", "data stores", "migrations", "services"]
    found = valerix.json("cluster", "status")
    assert found["state"] == "ready"
    assert {one["name"]: (one["ready"], one["desired"]) for one in found["workloads"]} == {
        "postgres": (1, 1),
        "redis": (1, 1),
        migration_of(valerix): (1, 1),
        **dict.fromkeys(SERVICES, (2, 2)),
    }


def test_a_second_apply_reports_no_changes(shop: Valerix) -> None:
    done = shop("cluster", "apply", "--yes")
    assert done.stdout.startswith("nothing changed: +0 ~0 -0 =")
    assert shop("cluster", "diff", "--exit-code").stdout.startswith("+0 ~0 -0 =")


def test_restricted_pod_security_admits_every_pod_of_every_overlay(plane: ControlPlane, valerix: Valerix) -> None:
    """The namespace enforces it, so pods that are not allowed would be missing."""
    valerix("cluster", "apply", "--yes", "--no-wait", "--overlay", "staging")
    wanted = {one["metadata"]["name"]: one["spec"]["replicas"] for one in valerix.listed("apis/apps/v1/deployments")}
    assert {"prometheus", "grafana", *SERVICES} < set(wanted)

    def pods() -> dict[str, int]:
        names = [one["metadata"]["labels"]["app.kubernetes.io/name"] for one in valerix.listed("api/v1/pods")]
        return {name: names.count(name) for name in wanted}

    eventually(lambda: pods() == wanted, within=LIMIT, what="every pod was admitted")
    cron = valerix.find("apis/batch/v1/cronjobs/backup")["spec"]["jobTemplate"]
    pod = {"apiVersion": "v1", "kind": "Pod", **cron["spec"]["template"]}
    pod["metadata"] = {**pod["metadata"], "name": "backup-now"}
    assert plane.request("POST", f"/api/v1/namespaces/{valerix.namespace}/pods", pod)


@pytest.mark.parametrize("name", ["staging", "production", "digitalocean"])
def test_the_api_server_accepts_every_object_of_every_overlay(name: str, plane: ControlPlane, valerix: Valerix) -> None:
    """Network policies, budgets, autoscalers and, checked against their own schemas, the objects of operators."""
    plane.make_namespace(valerix.namespace)
    found = valerix.json("cluster", "diff", "--overlay", name)
    assert found["refused"] == []
    assert {change["action"] for change in found["changes"]} == {"created", "changed"}  # the namespace exists


def test_secrets_are_created_once_and_never_shown(shop: Valerix, valerix: Valerix) -> None:
    before = {one["metadata"]["name"]: one["data"] for one in shop.listed("api/v1/secrets")}
    assert set(before) == {
        "postgres-admin",
        "postgres-order",
        "postgres-inventory",
        "postgres-auditor",
        "redis",
        "tokens",
    }
    shop("cluster", "apply", "--yes")
    assert {one["metadata"]["name"]: one["data"] for one in shop.listed("api/v1/secrets")} == before
    shown = valerix("cluster", "diff").stdout
    assert "operator-token: (secret)" in shown
    assert not re.search(r"(password|token)s?: [A-Za-z0-9+/]{16}", shown)


def test_a_field_of_another_manager_is_kept_and_reported(shop: Valerix) -> None:
    shop.set_replicas("order", 3, manager="somebody-else")
    done = shop("cluster", "apply", "--yes", code=4)
    output = ends_with_help(done)
    assert "Deployment/order" in output
    assert ".spec.replicas (set by somebody-else)" in output
    assert shop.find("apis/apps/v1/deployments/order")["spec"]["replicas"] == 3
    shop("cluster", "apply", "--yes", "--force-conflicts")
    assert shop.find("apis/apps/v1/deployments/order")["spec"]["replicas"] == 2


def test_an_immutable_field_is_reported_before_anything_is_changed(shop: Valerix, tmp_path: Path) -> None:
    another = {
        "target": {"kind": "StatefulSet", "name": "postgres"},
        "patch": json.dumps([{"op": "add", "path": "/spec/podManagementPolicy", "value": "Parallel"}]),
    }
    own = overlay(tmp_path / "own", patches=[another], configMapGenerator=[{"name": "new", "literals": ["a=b"]}])
    output = ends_with_help(shop("cluster", "apply", "--yes", "--overlay", own, code=1))
    assert "StatefulSet/postgres cannot be changed in place" in output
    assert "--cascade orphan" in output
    assert not any(one["metadata"]["name"].startswith("new-") for one in shop.listed("api/v1/configmaps"))


def test_a_migration_of_another_version_replaces_the_previous_job(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    before = migration_of(valerix)
    done = valerix("cluster", "apply", "--yes", "--image", "valerix:0.3.0")
    after = migration_of(valerix, "valerix:0.3.0")
    assert f"+ Job/{after}" in done.stdout
    assert f"- Job/{before} (deleted)" in done.stdout
    assert f"- ConfigMap/{before} (deleted)" in done.stdout
    assert valerix.find(f"apis/batch/v1/jobs/{before}") is None


def test_a_changed_job_with_the_same_name_is_replaced(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    name = migration_of(valerix)
    before = valerix.find(f"apis/batch/v1/jobs/{name}")["metadata"]["uid"]
    roomier = {
        "target": {"kind": "Job"},
        "patch": replacing("/spec/template/spec/containers/0/resources/limits/memory", "300Mi"),
    }
    own = overlay(tmp_path / "own", patches=[roomier])
    [job] = [one for one in valerix.json("cluster", "diff", "--overlay", own)["changes"] if one["kind"] == "Job"]
    assert {line.strip("+- ") for line in job["lines"] if line[0] in "+-"} == {"memory: 256Mi", "memory: 300Mi"}
    done = valerix("cluster", "apply", "--yes", "--overlay", own)
    assert f"~ Job/{name} (replaced)" in done.stdout
    assert valerix.find(f"apis/batch/v1/jobs/{name}")["metadata"]["uid"] != before


def test_all_missing_permissions_are_reported_with_a_role_that_grants_them(
    plane: ControlPlane, valerix: Valerix
) -> None:
    valerix.allow("limited", "developer")
    found = valerix.json("cluster", "check", code=3, context="limited")
    assert found["verdict"] == "failed"
    roles = list(yaml.safe_load_all(found["role"]))
    assert {role["kind"] for role in roles} == {"Role", "ClusterRole"}
    assert ends_with_help(valerix("cluster", "apply", "--yes", code=4, context="limited"))
    plane.make_namespace(valerix.namespace)
    for role in roles:
        grant(plane, role, valerix.namespace)
    again = valerix.json("cluster", "check", context="limited")
    assert next(line for line in again["checks"] if line["name"] == "rights")["status"] == "ok"
    valerix("cluster", "apply", "--yes", context="limited")


def grant(plane: ControlPlane, role: dict[str, object], namespace: str) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    inside = role["kind"] == "Role"
    place = f"{group}/namespaces/{namespace}" if inside else group
    plane.apply(role, f"{place}/{str(role['kind']).lower()}s/valerix")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": {"name": "valerix"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": "valerix"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers"}],
    }
    plane.apply(binding, f"{place}/{str(binding['kind']).lower()}s/valerix")


def test_a_cluster_without_a_context_can_be_read_and_not_written(valerix: Valerix) -> None:
    output = ends_with_help(valerix("cluster", "apply", "--yes", code=4, context="developer"))
    assert "no context of your config or of a trusted valerix.toml names this cluster" in output
    assert 'cluster = "developer"' in output
    for operation in ("delete", "rollback"):
        assert "names this cluster" in ends_with_help(
            valerix("cluster", operation, "--yes", code=4, context="developer")
        )


def test_an_apply_without_confirmation_is_refused(shop: Valerix) -> None:
    output = ends_with_help(shop("cluster", "apply", "--image", "valerix:0.3.0", code=4))
    assert "add --yes" in output
    assert shop("cluster", "apply").stdout.startswith("nothing changed")  # so there is nothing to confirm


def test_an_image_that_cannot_be_pulled_fails_the_apply_and_rollback_restores_the_old_one(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes", "--image", "valerix:1.0.0")
    done = valerix("cluster", "apply", "--yes", "--image", "valerix:1.1.0-broken", code=1)
    assert "ImagePullBackOff" in ends_with_help(done)
    # migrations run first, so no service was changed; a broken image of a service is the subject of rollback
    assert image_of(valerix, "order") == "valerix:1.0.0"


def test_a_crashing_service_is_reported_by_container_and_can_be_rolled_back(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    crashing = {
        "target": {"kind": "Deployment", "name": "order"},
        "patch": replacing("/spec/template/spec/containers/0/image", "valerix:1.1.0-crashing"),
    }
    own = overlay(tmp_path / "own", patches=[crashing])
    done = valerix("cluster", "apply", "--yes", "--overlay", own, code=1)
    output = ends_with_help(done)
    assert "Deployment/order does not become ready" in output
    assert "CrashLoopBackOff, Error with exit 2" in output
    assert "valerix cluster rollback" in output
    assert [
        one["name"] for one in valerix.json("cluster", "status", code=1)["workloads"] if one["state"] == "failed"
    ] == ["order"]
    back = valerix.json("cluster", "rollback", "--yes")  # the order service only: the others are correct
    assert [(one["from_image"], one["to_image"]) for one in back] == [
        ("valerix:1.1.0-crashing", f"valerix:{__version__}")
    ]
    assert valerix.json("cluster", "status")["state"] == "ready"


def test_a_rollback_restores_settings_even_after_pruning(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    first = settings_of(valerix)
    louder = [{"name": "settings", "behavior": "merge", "literals": ["VALERIX_LOG_LEVEL=debug"]}]
    valerix("cluster", "apply", "--yes", "--prune", "--overlay", overlay(tmp_path / "own", configMapGenerator=louder))
    assert settings_of(valerix) != first
    valerix("cluster", "rollback", "--yes")
    assert settings_of(valerix) == first
    assert valerix.find(f"api/v1/configmaps/{first}")


def settings_of(valerix: Valerix) -> str:
    container = valerix.find("apis/apps/v1/deployments/order")["spec"]["template"]["spec"]["containers"][0]
    name: str = container["envFrom"][0]["configMapRef"]["name"]
    return name


def test_prune_deletes_only_own_objects_that_the_overlay_no_longer_has(valerix: Valerix, tmp_path: Path) -> None:
    extra = [{"name": "extra", "literals": ["a=b"], "options": {"disableNameSuffixHash": True}}]
    valerix("cluster", "apply", "--yes", "--overlay", overlay(tmp_path / "own", configMapGenerator=extra))
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}
    valerix.plane.request("POST", f"/api/v1/namespaces/{valerix.namespace}/configmaps", foreign)
    kept = valerix("cluster", "apply", "--yes")
    assert "No longer in the overlay: ConfigMap/extra" in kept.stderr
    assert valerix.find("api/v1/configmaps/extra")
    done = valerix("cluster", "apply", "--yes", "--prune")
    assert "About to delete ConfigMap/extra" in done.stderr
    assert valerix.find("api/v1/configmaps/extra") is None
    assert valerix.find("api/v1/configmaps/theirs")


def test_a_dry_run_writes_nothing(valerix: Valerix) -> None:
    found = valerix.json("cluster", "apply", "--dry-run")
    assert found["dry_run"] is True
    assert {change["action"] for change in found["changes"]} == {"created"}
    assert valerix.plane.find(f"/api/v1/namespaces/{valerix.namespace}") is None


def test_an_interrupted_apply_reports_the_state_and_can_be_continued(valerix: Valerix) -> None:
    done = valerix.interrupted("cluster", "apply", "--yes", "--image", "valerix:1.0.0-slow", once="wave 4")
    assert done.code == 130
    assert "valerix cluster apply continues with the rest" in ends_with_help(done)
    valerix("cluster", "apply", "--yes", "--image", "valerix:1.0.0")
    assert valerix.json("cluster", "status")["state"] == "ready"


def test_a_timeout_names_the_objects_that_are_not_ready(valerix: Valerix) -> None:
    done = valerix("cluster", "apply", "--yes", "--image", "valerix:1.0.0-slow", "--timeout", "3s", code=124)
    name = migration_of(valerix, "valerix:1.0.0-slow")
    assert f"Job/{name} was not ready within 3.0 s" in ends_with_help(done)


def test_delete_keeps_data_and_secrets_for_a_later_apply(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    secrets = {one["metadata"]["name"]: one["data"] for one in valerix.listed("api/v1/secrets")}
    found = valerix.json("cluster", "delete", "--yes")
    assert {"PersistentVolumeClaim/redis", "Secret/tokens", f"Namespace/{valerix.namespace}"} <= set(found["kept"])
    eventually(lambda: valerix.listed("apis/apps/v1/deployments") == [], within=LIMIT)
    valerix("cluster", "status", code=3)
    valerix("cluster", "apply", "--yes")
    assert {one["metadata"]["name"]: one["data"] for one in valerix.listed("api/v1/secrets")} == secrets


def test_delete_with_volumes_leaves_nothing(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    valerix("cluster", "delete", "--volumes", "--confirm", valerix.namespace)
    eventually(lambda: valerix.plane.find(f"/api/v1/namespaces/{valerix.namespace}") is None, within=LIMIT)


def test_a_lost_password_is_not_replaced_while_its_data_exists(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes")
    valerix.plane.request("DELETE", f"/api/v1/namespaces/{valerix.namespace}/secrets/postgres-admin")
    output = ends_with_help(valerix("cluster", "apply", "--yes", code=4))
    assert "The password of PostgreSQL is gone, its data is not" in output


def test_an_unreachable_cluster_is_reported(valerix: Valerix) -> None:
    text = valerix.plane.kubeconfig.read_text()
    gone = valerix.directory / "gone"
    gone.write_text(re.sub(r"https://127.0.0.1:\d+", "https://127.0.0.1:1", text))
    directory = valerix.directory / "lost"
    directory.mkdir()
    lost = Valerix(ControlPlane("", gone, gone), valerix.namespace, directory)
    assert "The cluster is unreachable" in ends_with_help(lost("cluster", "apply", "--yes", code=3))
    assert json.loads(lost("cluster", "check", "-o", "json", code=3).stdout)["verdict"] == "failed"
