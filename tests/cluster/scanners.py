"""`python -m tests.cluster.scanners`: scan every overlay and pairs of components with kube-score and kubeconform.

Both are programs in Go, `go install github.com/zegl/kube-score/cmd/kube-score@v1.20.0` and `go install
github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0`; a program that is not on the path is reported as missing. Each
pair of components that may be combined is rendered on the base. Accepted findings of kube-score are listed with their
reason, and an exception that is no longer needed is a finding itself. kubeconform uses the schemas of Kubernetes from
kubernetes-validate, and those of custom resources if KUBEBUILDER_ASSETS has them; nothing is downloaded.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tests.unit.manifests.rendered import COMPONENTS, NEEDED, OVERLAYS, raw, raw_with
from tests.unit.manifests.test_schemas import LATEST
from valerix_cli.cluster.overlays import MANIFESTS

_BEFORE = "the latter comes before the former, and includes its instances"
EXCLUSIVE = {
    frozenset({"tls", "gateway-tls"}): "the latter includes the former",
    frozenset({"cloudnative-pg", "cloudnative-pg-import"}): _BEFORE,
}
"""Components that cannot be combined, with the reason."""
SKIPPED = {
    "container-image-pull-policy": "tags are versions, never moved; a node that has an image needs no registry",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints spread pods, by counting instead of forbidding",
}
"""Checks of kube-score that are skipped, with the reason."""

_OWN_USER = "its image comes with a user of its own, whom its files belong to"
_ONE = "one replica, whose volume two cannot have"
_OPERATOR = "selects pods that an operator makes, which no manifest of ours describes"
_IMPORT = "stands still while its data is taken along, which an autoscaler respects"
EXCEPTED = {
    **{("container-security-context-user-group-id", thing): _OWN_USER
       for thing in ("StatefulSet/postgres", "Deployment/redis", "Deployment/grafana", "CronJob/backup",
                     "CronJob/restore")},
    **{(check, f"Deployment/{name}"): _ONE
       for check in ("deployment-replicas", "deployment-strategy")
       for name in ("redis", "prometheus", "alertmanager", "grafana")},
    ("deployment-replicas", "Deployment/worker"): "KEDA decides; a number would be set by each apply",
    ("cronjob-has-deadline", "CronJob/restore"): "it is suspended, so nothing starts it by the clock",
    **{(check, f"Deployment/{name}"): _IMPORT
       for check in ("deployment-replicas", "deployment-targeted-by-hpa-does-not-have-replicas-configured")
       for name in ("order", "inventory")},
    ("service-targets-pod", "Service/postgres-metrics"): _OPERATOR,
    ("service-targets-pod", "Service/postgres"): "the label of the one pod comes from its StatefulSet's controller",
    **{("networkpolicy-targets-pod", f"NetworkPolicy/{name}"): _OPERATOR
       for name in ("acme-solver", "gateway-to-acme-solver", "pooler", "postgres", "postgres-instances",
                    "postgres-from-backup", "postgres-scraped-by-operator", "import")},
}  # fmt: skip
"""Accepted findings of kube-score by object, with the reason."""
_CRITICAL_AND_WARNING = (1, 5)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of two
    """A loader that reads a plain `=` as text, as YAML 1.2 does and all authors of definitions expect."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def main() -> None:
    """Exit with 1 if there are findings."""
    pairs = list(combinations())
    rendered = dict(itertools.chain(of_overlays(), pairs))
    found: list[str] = []
    for name, scan in (("kube-score", scores), ("kubeconform", schemas)):
        if program := shutil.which(name):
            found += scan(program, rendered)
        else:
            log(f"{name} is not installed, so it looked at nothing: see python -m pydoc tests.cluster.scanners")
    for finding in found:
        log(finding)
    log(f"{len(OVERLAYS)} overlays and {len(pairs)} pairs of components, {len(found)} findings")
    sys.exit(1 if found else 0)


def of_overlays() -> Iterator[tuple[str, str]]:
    for name in OVERLAYS:
        yield name, raw(MANIFESTS / "overlays" / name)


def combinations() -> Iterator[tuple[str, str]]:
    """Yield (names, YAML) of each pair of components, preceded by the components that both require."""
    for pair in itertools.combinations(COMPONENTS, 2):
        needed = dict.fromkeys(one for name in pair for one in NEEDED.get(name, ()))
        names = list(dict.fromkeys([*needed, *pair]))
        if not any(both <= set(names) for both in EXCLUSIVE):
            yield " + ".join(names), raw_with(names)


def scores(program: str, rendered: dict[str, str]) -> Iterator[str]:
    """Yield unexpected findings of kube-score, and expected findings that did not occur."""
    skipped = [f"--ignore-test={check}" for check in SKIPPED]
    seen: set[tuple[str, str]] = set()
    for text in dict.fromkeys(rendered.values()):
        done = subprocess.run(
            [program, "score", "--output-format", "json", "--ignore-container-cpu-limit", *skipped, "-"],
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seen |= {
            (check["check"]["id"], f"{thing['type_meta']['kind']}/{thing['object_meta']['name']}")
            for thing in json.loads(done.stdout)
            for check in thing["checks"]
            if not check["skipped"] and check["grade"] in _CRITICAL_AND_WARNING
        }
    yield from (f"kube-score: {thing}: {check}" for check, thing in sorted(seen - set(EXCEPTED)))
    yield from (f"kube-score: {thing}: nothing needs the exception {check}" for check, thing in set(EXCEPTED) - seen)


def schemas(program: str, rendered: dict[str, str]) -> Iterator[str]:
    """Yield kubeconform's findings for all objects."""
    with tempfile.TemporaryDirectory(prefix="valerix-") as made:
        directory = Path(made)
        write_native(directory / "native")
        if not write_custom(directory):
            log("custom resources were passed over: KUBEBUILDER_ASSETS names no directory with their definitions")
        options = [
            "-strict", "-ignore-missing-schemas", "-output", "json", "-verbose",
            "-schema-location", str(directory / "native" / "{{ .ResourceKind }}{{ .KindSuffix }}.json"),
            "-schema-location", str(directory / "{{ .Group }}" / "{{ .ResourceKind }}-{{ .ResourceAPIVersion }}.json"),
        ]  # fmt: skip
        text = "\n---\n".join(dict.fromkeys(rendered.values()))
        done = subprocess.run([program, *options, "-"], input=text, capture_output=True, text=True, check=False)
        custom = {path.parent.name for path in directory.rglob("*.json")}
    for one in json.loads(done.stdout)["resources"]:
        group, _, _ = one["version"].rpartition("/")
        missing = one["status"] == "statusSkipped" and (
            "." not in group or group.endswith(".k8s.io") or custom > {"native"}
        )
        if one["status"] in {"statusInvalid", "statusError"} or missing:
            why = one["msg"].replace("problem validating schema. Check JSON formatting: ", "") or "there is no schema"
            yield f"kubeconform: {one['kind']}/{one['name']}: {why}"


def write_native(directory: Path) -> None:
    """Write the schemas of Kubernetes with references resolved: kubeconform reads only one file per schema."""
    directory.mkdir()
    folder = Path(str(resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{LATEST}.0-local-strict"))
    shared = json.loads((folder / "_definitions.json").read_text())["$defs"]
    reference = re.compile(r'"(?:/api/_definitions\.json)?#/\$defs/([^"]+)"')
    for file in folder.glob("*-v[0-9]*.json"):
        text = file.read_text()
        wanted, needed = [text], set[str]()
        while wanted:
            new = set(reference.findall(wanted.pop())) - needed
            needed |= new
            wanted += [json.dumps(shared[name]) for name in new]
        whole = json.loads(text) | {"$defs": {name: shared[name] for name in needed}}
        (directory / file.name).write_text(reference.sub(r'"#/$defs/\1"', json.dumps(whole)))


def write_custom(directory: Path) -> bool:
    """Write a strict schema of each custom resource. Returns whether there are any."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    files = sorted(Path(assets, "crds").glob("*.yaml")) if assets else []
    for definition in (one for file in files for one in yaml.load_all(file.read_text(), _Loader) if one):
        spec = definition["spec"]
        for version in spec["versions"]:
            file = directory / spec["group"] / f"{spec['names']['kind'].lower()}-{version['name']}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(strict(version["schema"]["openAPIV3Schema"])))
    return bool(files)


def strict(schema: Any) -> Any:
    """Return the schema with unknown fields forbidden, as the API server does, except where it preserves them."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items()}
    is_schema = isinstance(found.get("type"), str) and isinstance(found.get("properties"), dict)
    if is_schema and not found.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def log(text: str) -> None:
    print(text)  # noqa: T201 - the result


if __name__ == "__main__":
    main()
