"""The target cluster, and the permission to write to it."""

from pathlib import Path

import pytest

from valerix_cli.cluster.target import KubeContexts, Target, find_target, require_write_access
from valerix_cli.errors import BadUsageError, GuardError
from valerix_cli.options import GlobalOptions
from valerix_cli.settings import Settings, read_settings

FILE = """
[contexts.staging]
cluster = "do-staging"
overlay = "staging"

[contexts.lab]
order = ["http://lab:3001"]
inventory = ["http://lab:3002"]
"""


def settings(directory: Path, context: str | None = None, file: str = FILE) -> Settings:
    (directory / "config.toml").write_text(file)
    return read_settings(GlobalOptions(context=context), {"VALERIX_CONFIG": str(directory / "config.toml")}, directory)


def kubeconfig(current: str | None = "kind-mine") -> KubeContexts:
    return KubeContexts(["kind-mine", "do-staging"], current)


def test_a_context_names_its_cluster_its_namespace_and_its_overlay(tmp_path: Path) -> None:
    target = find_target(settings(tmp_path, "staging"), kubeconfig)
    assert target == Target("do-staging", "valerix", "staging", "staging")


def test_the_target_defaults_to_the_current_context_of_the_kubeconfig(tmp_path: Path) -> None:
    assert find_target(settings(tmp_path), kubeconfig) == Target("kind-mine", "valerix", "local", None)


def test_a_cluster_of_a_context_may_be_written_to_however_it_was_selected(tmp_path: Path) -> None:
    target = find_target(settings(tmp_path), lambda: kubeconfig("do-staging"))
    assert target.named == "staging"
    require_write_access(target, settings(tmp_path), "apply")


def test_a_cluster_without_a_context_is_not_written_to(tmp_path: Path) -> None:
    here = settings(tmp_path)
    with pytest.raises(GuardError) as caught:
        require_write_access(find_target(here, kubeconfig), here, "apply")
    assert "clusters named there: do-staging" in caught.value.why
    assert 'cluster = "kind-mine"' in caught.value.hint


@pytest.mark.parametrize(
    ("context", "current", "why"),
    [
        ("lab", "kind-mine", "it names addresses"),
        ("nowhere", "kind-mine", "the kubeconfig has kind-mine, do-staging"),
        (None, None, "the kubeconfig has"),
    ],
)
def test_an_invalid_cluster_is_bad_usage_with_the_reason(
    context: str | None, current: str | None, why: str, tmp_path: Path
) -> None:
    with pytest.raises(BadUsageError) as caught:
        find_target(settings(tmp_path, context), lambda: kubeconfig(current))
    assert why in caught.value.why


@pytest.mark.parametrize(
    "file",
    [
        '[contexts.x]\norder = ["http://a"]\n',
        '[contexts.x]\norder = ["http://a"]\ninventory = ["http://b"]\nnamespace = "y"\n',
    ],
)
def test_a_context_has_addresses_or_a_cluster(file: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="is invalid"):
        settings(tmp_path, None, file)
