"""Overlays of one's own, and what a command that failed has to say."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.conftest import Done
from valerix_cli.cluster.overlays import MANIFESTS

HELP = re.compile(r"^Error: .+\n  why: .+\n  try: .+$", re.MULTILINE)


def ends_with_help(done: Done) -> str:
    """The last three lines say what happened, why, and what to type next."""
    text = "\n".join(done.stderr.splitlines()[-3:])
    assert HELP.fullmatch(text), done.stderr
    return text


def overlay(directory: Path, **more: Any) -> str:
    """An overlay of one's own, on top of the local one; `components` by their names."""
    up = "/".join([".."] * (len(directory.resolve().parts) - 1))
    resources = [f"{up}{MANIFESTS}/overlays/local", *more.pop("resources", ())]
    components = [f"{up}{MANIFESTS}/components/{name}" for name in more.pop("components", ())]
    content = {"resources": resources, "components": components, "namespace": "valerix", **more}
    directory.mkdir(exist_ok=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return str(directory.resolve())


def replacing(path: str, value: object) -> str:
    """A patch of an overlay."""
    return json.dumps([{"op": "replace", "path": path, "value": value}])


def with_image(image: str, *services: str) -> list[dict[str, object]]:
    """Patches that have services run an image."""
    return [
        {
            "target": {"kind": "Deployment", "name": service},
            "patch": replacing("/spec/template/spec/containers/0/image", image),
        }
        for service in services
    ]
