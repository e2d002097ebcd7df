"""The manifests as rendered by kustomize: each rendered once per run, with lookups by name."""

import functools
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from valerix_cli.cluster.objects import Object, pod_templates
from valerix_cli.cluster.overlays import MANIFESTS, kubectl, overlays, render

SERVICES = ("order", "worker", "inventory", "frontend")
BASE = MANIFESTS / "base"
COMPONENTS = sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml"))
OVERLAYS = overlays()
NEEDED = {
    "queue-autoscaling": ("monitoring",),
    "gateway-tls": ("gateway-api",),
    "pooler": ("cloudnative-pg",),
    "backup-object-storage": ("backup",),
    "cloudnative-pg-backup": ("cloudnative-pg",),
    "cloudnative-pg-recovery": ("cloudnative-pg", "cloudnative-pg-backup"),
}
"""Components that require another one."""
EVERYWHERE = ("base", *OVERLAYS)
"""The names of everything that can be applied directly; rendered on demand by `rendered`."""


@functools.cache
def base() -> list[Object]:
    return render(BASE)


@functools.cache
def overlay(name: str) -> list[Object]:
    return render(MANIFESTS / "overlays" / name)


@functools.cache
def with_component(name: str, namespace: str | None = None) -> list[Object]:
    """Return the base with one component and its requirements; `namespace` is set by an overlay around both."""
    with _overlay([*NEEDED.get(name, ()), name]) as directory:
        return render(directory, namespace=namespace)


def raw_with(components: Sequence[str], **more: Any) -> str:
    """Return kustomize's output for the base with these components, in this order, and an overlay's other fields."""
    with _overlay(components, **more) as directory:
        return raw(directory)


def parsed(text: str) -> list[Object]:
    """Return the objects in kustomize's output."""
    return [thing for thing in yaml.load_all(text, Loader=yaml.CSafeLoader) if thing]


@contextmanager
def _overlay(components: Sequence[str], **more: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="valerix-") as made:
        directory = Path(made).resolve()
        up = "/".join([".."] * (len(directory.parts) - 1))
        at = [f"{up}{MANIFESTS}/components/{one}" for one in components]
        wanted = {"resources": [f"{up}{BASE}"], "components": at, **more}
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
        yield directory


def rendered(where: str) -> list[Object]:
    """Return the objects of one of `EVERYWHERE`."""
    return base() if where == "base" else overlay(where)


def one(things: Sequence[Object], kind: str, name: str) -> Any:
    """Return the object with that name; fails if there is none, or more than one."""
    [found] = [thing for thing in things if (thing["kind"], thing["metadata"]["name"]) == (kind, name)]
    return found


def of_kind(things: Sequence[Object], kind: str) -> list[Any]:
    return [thing for thing in things if thing["kind"] == kind]


def workloads(things: Sequence[Object]) -> Iterator[tuple[Object, Any]]:
    """Yield each workload with its pod template."""
    for thing in things:
        for template in pod_templates(thing):
            yield thing, template


def raw(directory: Path) -> str:
    """Return kustomize's unparsed output."""
    done = subprocess.run([kubectl(), "kustomize", str(directory)], capture_output=True, text=True, check=True)
    return done.stdout


def mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]
