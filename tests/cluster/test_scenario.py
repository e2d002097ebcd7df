"""The life cycle of a platform in a cluster, with the objects compared with the overlay after each step."""

from pathlib import Path

import pytest

from tests.cluster.comparison import differences
from tests.cluster.conftest import Valerix
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import overlay, replacing, with_image
from tests.cluster.test_growth import STORAGE, scale
from tests.cluster.test_harm import fill, there
from tests.cluster.test_rollback import bad_release
from tests.unit.manifests.rendered import SERVICES

pytestmark = pytest.mark.long


def test_a_platform_matches_its_overlay_after_every_cluster_command(
    valerix: Valerix, plane: ControlPlane, tmp_path: Path
) -> None:
    def as_described(which: str, *, but: tuple[str, ...] = ()) -> None:
        assert differences(plane, which, valerix.namespace, except_for=but) == []

    first = overlay(tmp_path / "first")
    valerix("cluster", "apply", "--yes", "--overlay", first)
    as_described(first)

    upgrade = overlay(tmp_path / "upgrade", patches=with_image("valerix:1.0.0", *SERVICES))
    valerix("cluster", "apply", "--yes", "--overlay", upgrade)
    as_described(upgrade)

    valerix("cluster", "apply", "--yes", "--overlay", bad_release(tmp_path / "bad"), code=1)
    valerix("cluster", "rollback", "order", "--yes")
    order = ("Deployment/inventory", "Deployment/worker", "Deployment/frontend")  # their part of the bad release works
    as_described(upgrade, but=order)

    valerix("cluster", "apply", "--yes", "--overlay", upgrade)
    as_described(upgrade)

    scaled = overlay(tmp_path / "scaled", components=["autoscaling"], patches=with_image("valerix:1.0.0", *SERVICES))
    valerix("cluster", "apply", "--yes", "--overlay", scaled)
    scale(valerix, 4)
    valerix("cluster", "apply", "--yes", "--overlay", scaled)
    as_described(scaled)
    assert valerix.find("apis/apps/v1/deployments/order")["spec"]["replicas"] == 4
    valerix("cluster", "apply", "--yes", "--prune", "--overlay", upgrade)
    as_described(upgrade)

    disk = {"target": {"kind": "StatefulSet", "name": "postgres"}, "patch": replacing(STORAGE, "30Gi")}
    grown = overlay(tmp_path / "grown", patches=[*with_image("valerix:1.0.0", *SERVICES), disk])
    valerix("cluster", "apply", "--yes", "--overlay", grown)
    as_described(grown)

    fill(valerix)
    theirs = there(valerix)
    valerix("cluster", "apply", "--yes", "--prune", "--overlay", grown)
    elsewhere = overlay(tmp_path / "elsewhere", components=["cloudnative-pg"])
    valerix("cluster", "apply", "--yes", "--prune", "--overlay", elsewhere, code=4)
    as_described(grown)

    valerix("cluster", "delete", "--yes", "--volumes", "--confirm", valerix.namespace)
    assert there(valerix) == theirs
