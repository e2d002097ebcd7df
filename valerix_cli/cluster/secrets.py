"""Secrets that nobody keeps in git: made at the first apply, and never touched again."""

import base64
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from valerix_cli.cluster.objects import MANAGED_BY, MANAGER, Object, containers, pod_templates
from valerix_cli.errors import BadUsageError

_BASIC = "kubernetes.io/basic-auth"


def _random() -> str:
    return secrets.token_urlsafe(24)  # safe inside a URL


def _login(role: str) -> Callable[[], dict[str, str]]:
    return lambda: {"username": role, "password": _random()}


def _tokens() -> dict[str, str]:
    operator = _random()
    return {
        "service-tokens": _random(),
        "operator-tokens": operator,
        "operator-token": operator,
        "dashboard-password": _random(),
    }


RECIPES: dict[str, Callable[[], dict[str, str]]] = {
    "postgres-admin": _login("postgres"),
    "postgres-order": _login("order_service"),
    "postgres-inventory": _login("inventory_service"),
    "postgres-auditor": _login("auditor"),
    "redis": lambda: {"password": _random()},
    "tokens": _tokens,
    "grafana": lambda: {"password": _random()},
}


def wanted(things: Iterable[Object]) -> list[str]:
    """The names of the secrets that pods of `things` read and none of `things` brings. Raises BadUsageError for others.

    Secrets that an ExternalSecret brings are not ours to make.
    """
    things = list(things)
    brought = {thing["metadata"]["name"] for thing in things if thing["kind"] == "Secret"}
    brought |= {
        thing["spec"].get("target", {}).get("name") or thing["metadata"]["name"]
        for thing in things
        if thing["kind"] == "ExternalSecret"
    }
    needed = sorted({name for thing in things for name in _read_by(thing)} - brought)
    if unknown := [name for name in needed if name not in RECIPES]:
        raise BadUsageError(
            f"The overlay does not define the secret {unknown[0]!r}.",
            "a pod of this overlay reads it, and Valerix cannot generate it",
            "add it to the overlay, or as an ExternalSecret",
        )
    return needed


def make(name: str, namespace: str) -> Object:
    """A new secret, by its recipe."""
    content = RECIPES[name]()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "valerix", MANAGED_BY: MANAGER},
        },
        "type": _BASIC if "username" in content else "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()},
    }


def opened(secret: Object) -> dict[str, str]:
    """What is in a secret."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def _read_by(thing: Object) -> Iterator[str]:
    for template in pod_templates(thing):
        for container in containers(template):
            for variable in container.get("env") or ():
                if secret := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                    yield secret["name"]
    yield from _logins(thing)


def _logins(thing: Object) -> Iterator[str]:
    """What CloudNativePG reads, which starts its pods itself."""
    if thing["kind"] != "Cluster":
        return
    spec: dict[str, Any] = thing["spec"]
    if superuser := spec.get("superuserSecret"):
        yield superuser["name"]
    for role in (spec.get("managed") or {}).get("roles") or ():
        if password := role.get("passwordSecret"):
            yield password["name"]
