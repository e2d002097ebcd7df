"""Rollback: what it reverts, to which revision, and when it counts as finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import LIMIT, Valerix
from tests.cluster.overlays import ends_with_help, overlay, with_image
from valerix_cli import __version__
from valerix_cli.cluster.history import WAS_AVAILABLE
from valerix_cli.cluster.objects import COMPONENT

pytestmark = pytest.mark.long

ADDED = "ADDED_BY_THE_BAD_RELEASE"


def container_of(valerix: Valerix, name: str) -> Any:
    return valerix.find(f"apis/apps/v1/deployments/{name}")["spec"]["template"]["spec"]["containers"][0]


def bad_release(directory: Path) -> str:
    """Write an overlay with an image that crashes and a variable that the previous release did not have."""
    variable = {"name": ADDED, "value": "1"}
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": variable}]
    adding = {"target": {"kind": "Deployment", "name": "order"}, "patch": json.dumps(patch)}
    return overlay(directory, patches=[*with_image("valerix:1.1.0-crashing", "order"), adding])


def test_an_upgrade_after_a_rollback_leaves_nothing_of_the_bad_release(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    valerix("cluster", "apply", "--yes", "--overlay", bad_release(tmp_path / "bad"), code=1)
    assert ADDED in {one["name"] for one in container_of(valerix, "order")["env"]}
    valerix("cluster", "rollback", "--yes")
    assert ADDED not in {one["name"] for one in container_of(valerix, "order")["env"]}
    assert valerix.json("cluster", "diff")["summary"].startswith("+0 ~0 -0")
    valerix("cluster", "apply", "--yes", "--image", "valerix:1.2.0")
    assert container_of(valerix, "order")["image"] == "valerix:1.2.0"
    assert valerix.json("cluster", "status")["state"] == "ready"


def test_a_rollback_skips_every_release_that_never_became_ready(valerix: Valerix, tmp_path: Path) -> None:
    valerix("cluster", "apply", "--yes")
    for number in (1, 2):
        crashing = with_image(f"valerix:1.{number}.0-crashing", "order")
        valerix("cluster", "apply", "--yes", "--overlay", overlay(tmp_path / str(number), patches=crashing), code=1)
    history = [one for one in valerix.json("cluster", "history") if one["service"] == "order"]
    assert [(one["revision"], one["current"], one["available"]) for one in history] == [
        (3, True, "unknown"),
        (2, False, "unknown"),
        (1, False, "now"),
    ]
    [back] = valerix.json("cluster", "rollback", "--yes")
    assert (back["to_revision"], back["to_image"]) == (1, f"valerix:{__version__}")
    assert valerix.json("cluster", "status")["state"] == "ready"
    output = ends_with_help(valerix("cluster", "rollback", "order", "--yes", code=5))
    assert "No earlier revision" in output
    assert "valerix cluster rollback order --to-revision 3" in output


def test_a_rollback_restores_the_named_revision(valerix: Valerix) -> None:
    for image in ("valerix:1.0.0", "valerix:1.1.0", "valerix:1.2.0"):
        valerix("cluster", "apply", "--yes", "--image", image)
    valerix("cluster", "rollback", "order", "--to-revision", "1", "--yes")
    assert container_of(valerix, "order")["image"] == "valerix:1.0.0"
    assert container_of(valerix, "inventory")["image"] == "valerix:1.2.0"
    output = ends_with_help(valerix("cluster", "rollback", "order", "--to-revision", "9", "--yes", code=5))
    assert "has no revision 9" in output
    assert ends_with_help(valerix("cluster", "rollback", "--to-revision", "1", "--yes", code=2))


@pytest.mark.parametrize("operation", ["apply", "rollback"])
def test_pods_count_only_after_the_controller_has_observed_the_change(
    operation: str, valerix: Valerix, tmp_path: Path
) -> None:
    """Until then, the crashing pods of the bad release still exist."""
    valerix("cluster", "apply", "--yes")
    crashing = overlay(tmp_path / "own", patches=with_image("valerix:1.1.0-crashing", "order"))
    valerix("cluster", "apply", "--yes", "--overlay", crashing, code=1)
    with valerix.plane.paused("kube-controller-manager"):
        process = valerix.started("cluster", operation, "--yes")
        assert process.stderr is not None
        output = ""
        for line in process.stderr:
            output += line
            if "its controller has not seen it yet" in line:
                break
    _, rest = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output + rest
    assert container_of(valerix, "order")["image"] == f"valerix:{__version__}"


def test_a_revision_applied_without_waiting_is_recorded_once_it_is_available(valerix: Valerix) -> None:
    valerix("cluster", "apply", "--yes", "--no-wait")
    valerix("cluster", "apply", "--yes")
    sets = [
        one for one in valerix.listed("apis/apps/v1/replicasets") if one["metadata"]["labels"][COMPONENT] == "service"
    ]
    assert {WAS_AVAILABLE in one["metadata"]["annotations"] for one in sets} == {True}


def test_a_service_without_an_earlier_revision_gets_no_rollback_hint(valerix: Valerix, tmp_path: Path) -> None:
    crashing = overlay(tmp_path / "own", patches=with_image("valerix:1.1.0-crashing", "order"))
    assert "rollback" not in ends_with_help(valerix("cluster", "apply", "--yes", "--overlay", crashing, code=1))
