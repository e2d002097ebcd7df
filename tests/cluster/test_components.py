"""Each component on a real API server, with the custom resources of the operators that it uses."""

from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Valerix
from tests.cluster.control_plane import ControlPlane
from tests.processes import eventually
from tests.unit.manifests.rendered import BASE, COMPONENTS, NEEDED
from valerix_cli.cluster.overlays import MANIFESTS

pytestmark = pytest.mark.long


def overlay(directory: Path, *components: str) -> str:
    """Write an overlay of the base with these components; return its path."""
    up = "/".join([".."] * len(directory.resolve().parts))
    at = [f"{up}{MANIFESTS}/components/{one}" for one in components]
    wanted = {"namespace": "valerix", "resources": [f"{up}{BASE}"], "components": at}
    (made := directory / "-".join(("own", *components))).mkdir()
    (made / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return str(made.resolve())


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_api_server_accepts_every_object_of_every_component(
    name: str, plane: ControlPlane, valerix: Valerix, tmp_path: Path
) -> None:
    plane.make_namespace(valerix.namespace)
    found = valerix.json("cluster", "diff", "--overlay", overlay(tmp_path, *NEEDED.get(name, ()), name))
    assert found["refused"] == []


def test_services_are_scaled_to_zero_for_an_import_and_back_even_with_an_autoscaler(
    valerix: Valerix, tmp_path: Path
) -> None:
    def replicas() -> dict[str, int]:
        found = (valerix.find(f"apis/apps/v1/deployments/{name}") for name in ("order", "worker", "inventory"))
        return {one["metadata"]["name"]: one["spec"]["replicas"] for one in found}

    valerix("cluster", "apply", "--yes", "--overlay", overlay(tmp_path))
    assert replicas() == {"order": 2, "worker": 2, "inventory": 2}
    valerix("cluster", "apply", "--yes", "--overlay", overlay(tmp_path, "stand-still"))
    assert replicas() == {"order": 0, "worker": 0, "inventory": 0}
    valerix("cluster", "apply", "--yes", "--no-wait", "--overlay", overlay(tmp_path, "autoscaling"))
    eventually(lambda: set(replicas().values()) == {2}, 30, "from none an autoscaler does not begin by itself")
