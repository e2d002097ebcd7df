"""Every production image can be pinned by its digest, and an unpinned one is reported."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.manifests.rendered import OVERLAYS, overlay, parsed, raw
from valerix_cli.cluster.objects import COMPONENT, Object, images
from valerix_cli.cluster.overlays import MANIFESTS, render

DIGEST = f"sha256:{'0' * 64}"


def name_of(image: str) -> str:
    return re.sub(r"(@sha256:[0-9a-f]+|:[^/:]+)$", "", image)


def pinning(directory: Path, name: str) -> Path:
    """Write an overlay around `name` with a digest for each of its images, as documented."""
    up = "/".join([".."] * (len(directory.resolve().parts) - 1))
    pins = [{"name": one, "digest": DIGEST} for one in sorted({name_of(image) for image in images(overlay(name))})]
    content = {"resources": [f"{up}{MANIFESTS}/overlays/{name}"], "images": pins}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return directory


def unpinned(rendered: str) -> list[str]:
    """Return the output of the documented command if kubectl prints `rendered`."""
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    [command] = re.findall(r"^kubectl kustomize shop \| (.*)$", text, re.MULTILINE)
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=rendered, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return [line.strip().partition(": ")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_outer_overlay_pins_every_image_by_digest(name: str, tmp_path: Path) -> None:
    rendered = raw(pinning(tmp_path, name))
    found = images(parsed(rendered))
    assert {name_of(image) for image in found} == {name_of(image) for image in images(overlay(name))}
    assert all(image.endswith(f"@{DIGEST}") for image in found), found
    assert unpinned(rendered) == []


def test_the_documented_command_lists_unpinned_images() -> None:
    assert set(unpinned(raw(MANIFESTS / "overlays" / "production"))) == images(overlay("production"))


BY_TAG, BY_DIGEST = "registry.example.com:5000/shop:1.2.3", f"registry.example.com/shop@{DIGEST}"


def check_image(directory: Path, name: str, image: str) -> None:
    """Check that in the overlay of `directory`, which is or wraps `name`, only the services run `image`, and all do."""
    others = images(overlay(name)) - images_of_services(overlay(name))
    found = render(directory, image=image)
    assert images_of_services(found) == {image}
    assert {name_of(one) for one in images(found) - {image}} == {name_of(one) for one in others}


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_requested_image_runs_in_every_service_and_nowhere_else(name: str) -> None:
    """The overlay's name for the image does not matter."""
    check_image(MANIFESTS / "overlays" / name, name, BY_TAG)


def test_a_requested_image_may_be_pinned_by_digest() -> None:
    check_image(MANIFESTS / "overlays" / "local", "local", BY_DIGEST)


@pytest.mark.parametrize("image", [BY_TAG, BY_DIGEST])
def test_a_requested_image_replaces_a_pinned_one(image: str, tmp_path: Path) -> None:
    check_image(pinning(tmp_path, "local"), "local", image)


def images_of_services(things: list[Object]) -> set[str]:
    ours = [thing for thing in things if thing["metadata"].get("labels", {}).get(COMPONENT) in {"service", "migration"}]
    return images(ours)
