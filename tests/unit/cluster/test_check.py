"""Requirements of an overlay on a cluster; one that could not be checked is never ok."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from valerix_cli.cluster.check import check
from valerix_cli.cluster.identity import KnownClusters
from valerix_cli.cluster.target import Target
from valerix_cli.errors import UnreachableError

TARGET = Target(cluster="kind", namespace="valerix", overlay="local", named="here")


class Cluster:
    """An API server that grants all permissions and has no objects."""

    server = "https://127.0.0.1:6443"
    transport = SimpleNamespace(client=SimpleNamespace(configuration=SimpleNamespace(ssl_ca_cert=None)))

    def __init__(self, version: str = "v1.37.2", *, blind: bool = False) -> None:
        self.version = version
        self._blind = blind

    def may(self, verb: str, group: str, plural: str, namespace: str | None) -> bool:
        assert namespace is None, f"{verb} {plural} {group}: the rules have said so already, a round trip each is slow"
        return True

    def rules(self, _: str) -> list[Any]:
        return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]

    def get(self, _: Any) -> Any:
        return {"metadata": {"uid": "0"}}

    def each(self, do: Any, things: Any) -> list[Any]:
        return list(map(do, things))

    def resource(self, *_: Any) -> None:
        return None

    def find_all(self, *_: Any) -> list[Any]:
        if self._blind:
            raise UnreachableError("It did not say.", "forbidden", "ask an administrator")
        return []


@pytest.mark.parametrize(
    ("cluster", "verdict"),
    [
        (Cluster(), "ok"),
        (Cluster("v1.32.0"), "ok"),
        (Cluster("v1.31.9"), "failed"),
        (Cluster("v2.0+"), "ok"),
        (Cluster("unknown"), "warning"),
        (Cluster(blind=True), "warning"),
    ],
)
def test_a_check_passes_only_if_everything_was_checked_and_exists(cluster: Any, verdict: str, tmp_path: Path) -> None:
    assert check(cluster, TARGET, [], KnownClusters(tmp_path / "config.toml")).verdict == verdict


def pod(image: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}


POSTGRES = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Cluster",
    "metadata": {"name": "postgres"},
    "spec": {"imageName": "postgresql:18"},
}
PLAYGROUND = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"VALERIX_CHAOS_ALLOWED": "1"},
}


@pytest.mark.parametrize(
    ("things", "found"),
    [
        ([pod("redis:9")], "1 are named by a tag, which can be moved: redis:9."),
        ([pod("redis:9@sha256:0"), POSTGRES], "1 are named by a tag, which can be moved: postgresql:18."),
        ([pod("redis@sha256:0")], "All are named by their digests."),
        ([pod("redis:9"), PLAYGROUND], None),
    ],
)
def test_images_by_tag_are_a_warning_unless_gremlins_are_allowed(
    things: list[Any], found: str | None, tmp_path: Path
) -> None:
    lines = check(Cluster(), TARGET, things, KnownClusters(tmp_path / "config.toml")).checks  # type: ignore[arg-type]  # has the same methods
    assert [line.found for line in lines if line.group == "images"] == ([] if found is None else [found])
