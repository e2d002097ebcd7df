"""Processing of schemas and findings by tests/cluster/scanners.py, without the programs that it runs."""

import json
import stat
from pathlib import Path

from jsonschema import Draft4Validator

from tests.cluster import scanners

SPEC = {"type": "object", "properties": {"instances": {"type": "integer"}, "labels": {"type": "object"}}}


def test_a_misspelt_field_of_a_custom_resource_is_an_error() -> None:
    schema = scanners.strict({"type": "object", "properties": {"spec": SPEC}})
    assert Draft4Validator(schema).is_valid({"spec": {"instances": 3, "labels": {"any": "thing"}}})
    assert not Draft4Validator(schema).is_valid({"spec": {"instanses": 3}})


def test_preserved_unknown_fields_are_no_error() -> None:
    schema = scanners.strict(SPEC | {"x-kubernetes-preserve-unknown-fields": True})
    assert Draft4Validator(schema).is_valid({"instanses": 3})


def test_a_kubernetes_schema_is_written_with_its_references(tmp_path: Path) -> None:
    scanners.write_native(tmp_path / "native")
    schema = json.loads((tmp_path / "native" / "deployment-apps-v1.json").read_text())
    container = {"name": "order", "image": "valerix"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"selector": {}, "template": {"spec": {"containers": [container]}}},
    }
    assert Draft4Validator(schema).is_valid(deployment)
    container["imagePolicy"] = "Never"
    assert not Draft4Validator(schema).is_valid(deployment)


def test_kube_score_findings_must_match_the_explained_exceptions(tmp_path: Path) -> None:
    """A fake kube-score reports two Deployments with few replicas, one of which has no exception."""
    findings = [
        {
            "type_meta": {"kind": "Deployment"},
            "object_meta": {"name": name},
            "checks": [
                {"check": {"id": "deployment-replicas"}, "grade": 5, "skipped": False},
                {"check": {"id": "label-values"}, "grade": 10, "skipped": False},
            ],
        }
        for name in ("redis", "frontend")
    ]
    program = tmp_path / "kube-score"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(findings)}\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = list(scanners.scores(str(program), {"local": ""}))
    assert found[0] == "kube-score: Deployment/frontend: deployment-replicas"
    assert len(found) == len(scanners.EXCEPTED), "every other exception is one that nothing needs"
    assert not any("Deployment/redis: nothing needs the exception deployment-replicas" in one for one in found)
