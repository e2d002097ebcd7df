"""Each component before a real API server, with the custom resources of the operators that it uses."""

from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.test_apply import make_namespace
from tests.unit.manifests.rendered import BASE, COMPONENTS, NEEDED
from valerix_cli.cluster.overlays import MANIFESTS

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_api_server_takes_every_object_of_every_component(
    name: str, plane: ControlPlane, valerix: Valerix, tmp_path: Path
) -> None:
    make_namespace(plane, valerix.namespace)
    up = "/".join([".."] * (len(tmp_path.resolve().parts)))
    components = [f"{up}{MANIFESTS}/components/{one}" for one in (*NEEDED.get(name, ()), name)]
    (overlay := tmp_path / "own").mkdir()
    wanted = {"namespace": "valerix", "resources": [f"{up}{BASE}"], "components": components}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    found = valerix.json("cluster", "diff", "--overlay", str(overlay.resolve()))
    assert found["refused"] == []
