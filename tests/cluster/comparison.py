"""Compare the objects of a cluster with an overlay, using kubectl and no code of Valerix."""

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import ControlPlane, assets

_CLOSED = frozenset({"env", "envFrom", "volumeMounts", "volumes", "containers", "initContainers", "ports", "args"})
"""Lists that may have no additional elements."""
_UNITS = {"m": "0.001", "Ki": "1024", "Mi": "1048576", "Gi": "1073741824", "k": "1e3", "M": "1e6", "G": "1e9"}


def differences(plane: ControlPlane, overlay: str, namespace: str, *, except_for: tuple[str, ...] = ()) -> list[str]:
    """Return every field that differs from the overlay, as `Deployment/order .spec.replicas: 2, not 3`."""
    found = []
    for described in _rendered(overlay, namespace):
        name = f"{described['kind']}/{described['metadata']['name']}"
        live = _live(plane, described, namespace)
        if live is None:
            found.append(f"{name} is not there")
            continue
        found += [f"{name} {one}" for one in _compared(described, live, "")]
    return [one for one in found if not one.startswith(except_for or ("\0",))]


def _rendered(overlay: str, namespace: str) -> list[Any]:
    programs = assets()
    assert programs is not None
    done = subprocess.run([programs / "kubectl", "kustomize", overlay], capture_output=True, text=True, check=True)
    found = []
    for thing in yaml.safe_load_all(done.stdout.replace("namespace: valerix\n", f"namespace: {namespace}\n")):
        if thing["kind"] == "Namespace":
            thing["metadata"]["name"] = namespace
        found.append(thing)
    return found


def _live(plane: ControlPlane, described: Any, namespace: str) -> Any:
    programs = assets()
    assert programs is not None
    group, _, version = described["apiVersion"].rpartition("/")
    resource = f"{described['kind']}.{version}.{group}" if group else described["kind"]
    typed = [programs / "kubectl", "--kubeconfig", plane.kubeconfig, "--namespace", namespace, "get", resource]
    done = subprocess.run(
        [*typed, described["metadata"]["name"], "--output", "json", "--ignore-not-found"],
        capture_output=True,
        text=True,
        check=True,
        env={"KUBECACHEDIR": str(Path(plane.kubeconfig).parent / "cache"), "HOME": "/nonexistent"},
    )
    return json.loads(done.stdout) if done.stdout.strip() else None


def _compared(described: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(described, dict) and isinstance(live, dict):
        for key, value in described.items():
            if key in live:
                yield from _compared(value, live[key], f"{path}.{key}")
            elif value not in (None, {}, [], ""):
                yield f"{path}.{key}: not there"
    elif isinstance(described, list) and isinstance(live, list):
        yield from _compared_lists(described, live, path)
    elif not _is_same(described, live):
        yield f"{path}: {live!r}, not {described!r}"


def _compared_lists(described: list[Any], live: list[Any], path: str) -> Iterator[str]:
    if path.rpartition(".")[2] in _CLOSED and len(described) != len(live):
        yield f"{path}: {len(live)} items, not {len(described)}"
    named = all(isinstance(one, dict) and "name" in one for one in [*described, *live])
    for number, one in enumerate(described):
        there = next((it for it in live if it["name"] == one["name"]), None) if named else None
        if not named:
            there = live[number] if number < len(live) else None
        if there is None:
            yield f"{path}[{one.get('name', number) if isinstance(one, dict) else number}]: not there"
        else:
            yield from _compared(one, there, f"{path}[{number}]")


def _is_same(described: Any, live: Any) -> bool:
    return described == live or (described is None and live in ({}, [])) or _amount(described) == _amount(live)


def _amount(value: Any) -> Any:
    """Return a quantity as a number: the server writes 1000m as 1."""
    text = str(value)
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            try:
                return Decimal(text.removesuffix(unit)) * Decimal(factor)
            except InvalidOperation:
                return text
    try:
        return Decimal(text)
    except InvalidOperation:
        return text
