"""Field ownership of an object, as server-side apply records it in `metadata.managedFields`.

https://kubernetes.io/docs/reference/using-api/server-side-apply/ describes the format: `f:` names a field, `k:` an item
of a list by its keys, `v:` an item of a set, `.` the parent itself.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from valerix_cli.cluster.objects import MANAGER, Object

CONTROLLERS = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet"})
"""Managers that are part of Kubernetes itself."""
_PARTS = frozenset({"spec", "data", "binaryData", "rules", "subjects"})


def applied(live: Object, manager: str = MANAGER) -> Object:
    """Return the fields that `manager` has applied, with their current values, and those that identify the object.

    To apply the result again changes nothing.
    """
    found: Object = {}
    for entry in _entries(live):
        if entry["manager"] == manager and entry["operation"] == "Apply":
            found = _part(live, entry["fieldsV1"])
    identity = {name: live["metadata"][name] for name in ("name", "namespace") if name in live["metadata"]}
    metadata = {**found.get("metadata", {}), **identity}
    return {**found, "apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}


def has_applied(live: Object, *fields: str, manager: str = MANAGER) -> bool:
    """Return whether `manager` has applied the field with this path."""
    for entry in _entries(live):
        found: Mapping[str, Any] | None = entry["fieldsV1"]
        for name in fields:
            found = None if found is None else found.get(f"f:{name}")
        if entry["manager"] == manager and entry["operation"] == "Apply" and found is not None:
            return True
    return False


def is_written_by(live: Object, manager: str = MANAGER) -> bool:
    """Return whether `manager` has written any field, by apply or update."""
    return any(entry["manager"] == manager for entry in _entries(live))


def fields_of_others(live: Object, manager: str = MANAGER) -> list[str]:
    """Return the fields, as `.spec.replicas (set by kubectl)`, that other tools have set and `manager` has not."""
    entries = list(_entries(live))
    owned = {path for entry in entries if entry["manager"] == manager for path in _paths(entry["fieldsV1"])}
    found = {
        f"{path} (set by {entry['manager']})"
        for entry in entries
        if entry["manager"] not in {manager, *CONTROLLERS}
        for path in _paths(entry["fieldsV1"])
        if path not in owned and _is_desired(path)
    }
    return sorted(found)


def _entries(live: Object) -> Iterator[Mapping[str, Any]]:
    """Yield the managers' entries, except those of subresources such as `status`."""
    for entry in live["metadata"].get("managedFields") or ():
        if "fieldsV1" in entry and entry.get("subresource", "") in {"", "scale"}:
            yield entry


def _is_desired(path: str) -> bool:
    first, _, rest = path.lstrip(".").partition(".")
    return first in _PARTS or (first == "metadata" and rest.startswith(("labels", "annotations")))


def _paths(fields: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the path of each leaf field."""
    for name, parts in fields.items():
        if name == ".":
            continue
        kind, _, key = name.partition(":")
        path = f"{above}.{key}" if kind == "f" else f"{above}[{_keys(key)}]"
        inner = {part: value for part, value in parts.items() if part != "."}
        if inner:
            yield from _paths(inner, path)
        else:
            yield path


def _keys(key: str) -> str:
    """Return `name="order"` for `{"name":"order"}`, the notation of the API server's messages."""
    found = json.loads(key)
    return ",".join(f"{name}={json.dumps(value)}" for name, value in found.items()) if isinstance(found, dict) else key


def _part(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return the part of a value that `fields` describes; all of it if they name no parts."""
    names = [name for name in fields if name != "."]
    if not names:
        return value
    if isinstance(value, dict):
        fields_of = {name.partition(":")[2]: fields[name] for name in names if name.startswith("f:")}
        return {name: _part(value[name], parts) for name, parts in fields_of.items() if name in value}
    if isinstance(value, list):
        return [part for name in names for part in _items(value, name, fields[name])]
    return value


def _items(values: list[Any], name: str, fields: Mapping[str, Any]) -> Iterator[Any]:
    kind, _, key = name.partition(":")
    element = json.loads(key)
    if kind == "k":
        for value in values:
            if all(value.get(part) == given for part, given in element.items()):
                yield {**element, **_part(value, fields)}
    elif kind == "v" and element in values:
        yield element
    elif kind == "i" and element < len(values):
        yield _part(values[element], fields)
