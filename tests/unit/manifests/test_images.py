"""Every image of production can be pinned by its digest, and one that is not pinned is told."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.manifests.rendered import OVERLAYS, of_kind, overlay, workloads
from valerix_cli.cluster.objects import COMPONENT, Object, containers
from valerix_cli.cluster.overlays import MANIFESTS, kubectl, render

DIGEST = f"sha256:{'0' * 64}"


def images(things: list[Object]) -> set[str]:
    """What runs, in pods of ours and in those that CloudNativePG makes."""
    found = {container["image"] for _, template in workloads(things) for container in containers(template)}
    return found | {cluster["spec"]["imageName"] for cluster in of_kind(things, "Cluster")}


def name_of(image: str) -> str:
    return re.sub(r"(@sha256:[0-9a-f]+|:[^/:]+)$", "", image)


def pinning(directory: Path, name: str) -> Path:
    """An overlay around `name` with a digest for each of its images, as the docs have it."""
    up = "/".join([".."] * (len(directory.resolve().parts) - 1))
    pins = [{"name": one, "digest": DIGEST} for one in sorted({name_of(image) for image in images(overlay(name))})]
    content = {"resources": [f"{up}{MANIFESTS}/overlays/{name}"], "images": pins}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return directory


def unpinned(directory: Path) -> list[str]:
    """What the command of the docs prints."""
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    [command] = re.findall(r"^(kubectl kustomize shop \| .*)$", text, re.MULTILINE)
    command = command.replace("kubectl kustomize shop", f"{shlex.quote(kubectl())} kustomize .")
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=directory, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return [line.strip().partition(": ")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_around_another_pins_every_image_by_its_digest(name: str, tmp_path: Path) -> None:
    found = images(render(pinning(tmp_path, name)))
    assert {name_of(image) for image in found} == {name_of(image) for image in images(overlay(name))}
    assert all(image.endswith(f"@{DIGEST}") for image in found), found
    assert unpinned(tmp_path) == []


def test_images_that_are_not_pinned_are_listed_by_the_command_of_the_docs(tmp_path: Path) -> None:
    pinning(tmp_path, "production")
    content = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())
    content["images"] = []
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    assert set(unpinned(tmp_path)) == images(overlay("production"))


SERVICES_IMAGES = ["registry.example.com:5000/shop:1.2.3", f"registry.example.com/shop@{DIGEST}"]


@pytest.mark.parametrize("image", SERVICES_IMAGES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_image_that_is_asked_for_runs_in_every_service_and_in_nothing_else(
    name: str, image: str, tmp_path: Path
) -> None:
    """Whatever the overlay calls it, and however it is pinned there."""
    others = images(overlay(name)) - images_of_services(overlay(name))
    for directory in (MANIFESTS / "overlays" / name, pinning(tmp_path, name)):
        found = render(directory, image=image)
        assert images_of_services(found) == {image}
        assert {name_of(one) for one in images(found) - {image}} == {name_of(one) for one in others}


def images_of_services(things: list[Object]) -> set[str]:
    ours = [thing for thing in things if thing["metadata"].get("labels", {}).get(COMPONENT) in {"service", "migration"}]
    return images(ours)
