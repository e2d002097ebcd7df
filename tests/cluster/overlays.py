"""Generated overlays, and the error output of commands."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.conftest import Done
from valerix_cli.cluster.overlays import MANIFESTS

HELP = re.compile(r"^Error: .+\n  why: .+\n  try: .+$", re.MULTILINE)


def ends_with_help(done: Done) -> str:
    """Assert that the output ends with three lines of what happened, why, and what to type next; return them."""
    text = "\n".join(done.stderr.splitlines()[-3:])
    assert HELP.fullmatch(text), done.stderr
    return text


def overlay(directory: Path, **more: Any) -> str:
    """Write an overlay on top of the local one, with `components` by name; return its path."""
    up = "/".join([".."] * (len(directory.resolve().parts) - 1))
    resources = [f"{up}{MANIFESTS}/overlays/local", *more.pop("resources", ())]
    components = [f"{up}{MANIFESTS}/components/{name}" for name in more.pop("components", ())]
    content = {"resources": resources, "components": components, "namespace": "valerix", **more}
    directory.mkdir(exist_ok=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return str(directory.resolve())


def replacing(path: str, value: object) -> str:
    """Return a patch of an overlay."""
    return json.dumps([{"op": "replace", "path": path, "value": value}])


def with_image(image: str, *services: str) -> list[dict[str, object]]:
    """Return patches that set the image of the services."""
    return [
        {
            "target": {"kind": "Deployment", "name": service},
            "patch": replacing("/spec/template/spec/containers/0/image", image),
        }
        for service in services
    ]
