"""The commands of docs/deploy.md that do without Valerix, run verbatim against a real API server."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import control_plane
from tests.cluster.conftest import LIMIT
from tests.cluster.control_plane import ControlPlane
from tests.processes import eventually
from valerix_cli.cluster.overlays import MANIFESTS

pytestmark = pytest.mark.long

NAMESPACE = "valerix"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


def section() -> str:
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    _, _, rest = text.partition("## Without Valerix")
    return rest.partition("\n## ")[0]


FIRST, SECOND = re.findall(r"```sh\n(.*?)```", section(), re.DOTALL)
[OWN] = re.findall(r"```yaml\n(.*?)```", section(), re.DOTALL)


class Shell:
    """A shell in a directory with `manifests` and `dashboards`, and the cluster's `kubectl`."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self.plane, self.directory = plane, directory
        for folder in (MANIFESTS, MANIFESTS.parent / "dashboards"):
            shutil.copytree(folder, directory / folder.name)

    def __call__(self, lines: str, code: int = 0) -> str:
        programs = control_plane.assets()
        assert programs is not None
        environ = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.plane.kubeconfig),
            "KUBECACHEDIR": str(self.plane.kubeconfig.parent / "cache"),
        }
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", lines],
            cwd=self.directory, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def own(self, content: Any, name: str = "shop") -> None:
        (self.directory / name).mkdir(exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (self.directory / name / "kustomization.yaml").write_text(text)

    def listed(self, path: str) -> list[Any]:
        group, _, plural = path.rpartition("/")
        found: list[Any] = self.plane.request("GET", f"/{group}/namespaces/{NAMESPACE}/{plural}")["items"]
        return found

    def migrations(self) -> dict[str, Any]:
        """Return each migration Job, by its image."""
        jobs = [one for one in self.listed("apis/batch/v1/jobs") if one["metadata"]["name"].startswith("migrate-")]
        return {one["spec"]["template"]["spec"]["containers"][0]["image"]: one for one in jobs}


@pytest.fixture
def shell(plane: ControlPlane, tmp_path: Path) -> Iterator[Shell]:
    yield Shell(plane, tmp_path)
    plane.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    eventually(lambda: plane.find(f"/api/v1/namespaces/{NAMESPACE}") is None, within=LIMIT)


def test_the_documented_commands_apply_one_version_after_the_other(shell: Shell) -> None:
    shell(FIRST)
    [(before, job)] = shell.migrations().items()
    eventually(lambda: is_complete(shell, job), within=LIMIT, what="the migration is done, so its job is final")
    shell.own(OWN)
    after = before.rpartition(":")[0] + ":0.3.0"
    assert after in yaml.safe_dump(yaml.safe_load(OWN)).replace("newTag: ", f"{before.rpartition(':')[0]}:")
    shell(SECOND)
    assert set(shell.migrations()) == {before, after}
    eventually(lambda: is_complete(shell, shell.migrations()[after]), within=LIMIT, what="the second migration is done")
    shell(SECOND)
    assert set(shell.migrations()) == {before, after}, "applied again it is the same job"
    images = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in shell.listed("apis/apps/v1/deployments")
        if one["metadata"]["labels"].get("app.kubernetes.io/component") == "service"
    }
    assert images == {after}


def is_complete(shell: Shell, job: Any) -> bool:
    found = shell.plane.find(f"{JOBS}/{job['metadata']['name']}")
    return any(one["type"] == "Complete" for one in (found.get("status") or {}).get("conditions") or ())


def test_a_changed_setting_does_not_rerun_a_finished_migration(shell: Shell) -> None:
    shell(FIRST.replace("overlays/production", "overlays/local"))
    [job] = shell.migrations().values()
    louder = {"name": "settings", "namespace": NAMESPACE, "behavior": "merge", "literals": ["VALERIX_LOG_LEVEL=debug"]}
    shell.own({"resources": ["../manifests/overlays/local"], "configMapGenerator": [louder]})
    shell(SECOND)
    assert [one["metadata"]["uid"] for one in shell.migrations().values()] == [job["metadata"]["uid"]]


def test_a_stateful_set_of_an_earlier_release_gets_its_headless_service_and_keeps_its_claim(shell: Shell) -> None:
    """Runs the step that the changelog documents."""
    change = [{"op": "replace", "path": "/spec/serviceName", "value": "postgres"}]
    earlier = {"target": {"kind": "StatefulSet", "name": "postgres"}, "patch": yaml.safe_dump(change)}
    shell.own({"resources": ["../manifests/overlays/local"], "patches": [earlier]})
    shell(FIRST.replace("manifests/overlays/production", "shop"))
    eventually(lambda: shell.listed("api/v1/persistentvolumeclaims"), within=LIMIT)
    claims = {one["metadata"]["name"]: one["metadata"]["uid"] for one in shell.listed("api/v1/persistentvolumeclaims")}
    shell.own({"resources": ["../manifests/overlays/local"]})
    assert "field is immutable" in shell(SECOND, code=1)
    shell(f"kubectl --namespace {NAMESPACE} delete statefulset postgres --cascade=orphan\n{SECOND}")

    def is_adopted() -> bool:
        [owner] = shell.plane.find(f"/api/v1/namespaces/{NAMESPACE}/pods/postgres-0")["metadata"]["ownerReferences"]
        live = shell.plane.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/postgres")
        return bool(owner["uid"] == live["metadata"]["uid"] and live["status"].get("readyReplicas") == 1)

    eventually(is_adopted, within=LIMIT, what="the pod belongs to the new StatefulSet")
    found = {one["metadata"]["name"]: one["metadata"]["uid"] for one in shell.listed("api/v1/persistentvolumeclaims")}
    assert found == claims
