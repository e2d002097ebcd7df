"""Every object is valid by Kubernetes' own schemas, strictly: an unknown field is an error."""

import functools
import json
from importlib import resources
from typing import Any

import jsonschema
import pytest
import referencing
import referencing.jsonschema

from tests.unit.manifests.rendered import COMPONENTS, EVERYWHERE, rendered, with_component
from valerix_cli.cluster.objects import Object

OLDEST, LATEST = "1.32", "1.37"
FOREIGN = {  # not part of Kubernetes' schemas; tests/cluster validates these with a real API server
    "barmancloud.cnpg.io",
    "cert-manager.io",
    "external-secrets.io",
    "gateway.networking.k8s.io",
    "keda.sh",
    "monitoring.coreos.com",
    "postgresql.cnpg.io",
}


@functools.cache
def definitions(version: str) -> tuple[Any, Any]:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    shared = referencing.Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, shared @ referencing.Registry()


@functools.cache
def validator(version: str, name: str) -> Any:
    folder, registry = definitions(version)
    schema = referencing.Resource.from_contents(json.loads((folder / name).read_text()))
    return jsonschema.Draft202012Validator(schema.contents, registry=schema @ registry)


def problems(thing: Object, version: str) -> list[str]:
    group, _, number = thing["apiVersion"].rpartition("/")
    if group in FOREIGN:
        return []
    name = "-".join(filter(None, [thing["kind"].lower(), group.split(".")[0], number])) + ".json"
    return [
        f"{thing['kind']}/{thing['metadata']['name']} {error.json_path}: {error.message}"
        for error in validator(version, name).iter_errors(thing)
    ]


@pytest.mark.parametrize("version", [OLDEST, LATEST])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_object_of_an_overlay_is_valid(where: str, version: str) -> None:
    assert [problem for thing in rendered(where) for problem in problems(thing, version)] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_object_of_a_component_is_valid(name: str) -> None:
    things = with_component(name)
    assert [problem for thing in things for problem in problems(thing, OLDEST)] == []


def test_a_misspelt_field_is_detected() -> None:
    service = next(thing for thing in rendered("base") if thing["kind"] == "Service")
    spoilt = service | {"spec": service["spec"] | {"selectors": {}}}
    assert any("selectors" in problem for problem in problems(spoilt, LATEST))
