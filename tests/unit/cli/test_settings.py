"""Precedence of the sources of a setting."""

from pathlib import Path

import pytest

from valerix_cli.contexts.find import find_context
from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.options import Format, GlobalOptions
from valerix_cli.projects import Trust
from valerix_cli.settings import Settings, keep_context, read_settings

STAGING = '[contexts.staging]\norder = ["https://orders.example"]\ninventory = ["https://stock.example"]\n'


def settings(directory: Path, options: GlobalOptions | None = None, **environ: str) -> Settings:
    return read_settings(
        options or GlobalOptions(), {"VALERIX_CONFIG": str(directory / "config.toml"), **environ}, directory
    )


def test_settings_come_from_flag_variable_project_user_config_then_default(tmp_path: Path) -> None:
    assert settings(tmp_path).setting("output").origin == "default"

    (tmp_path / "config.toml").write_text('output = "yaml"\n')
    assert settings(tmp_path).setting("output").origin == str(tmp_path / "config.toml")

    project = tmp_path / "valerix.toml"
    project.write_text('output = "json"\n')
    assert settings(tmp_path).setting("output").origin == str(tmp_path / "config.toml")  # it is not trusted
    Trust(tmp_path / "config.toml").add(project, project.read_bytes())
    assert settings(tmp_path).setting("output").origin == str(tmp_path / "valerix.toml")

    by_variable = settings(tmp_path, VALERIX_OUTPUT="jsonl").setting("output")
    assert (by_variable.value, by_variable.origin) == (Format.JSONL, "environment")

    by_flag = settings(tmp_path, GlobalOptions(output=Format.TABLE), VALERIX_OUTPUT="jsonl").setting("output")
    assert (by_flag.value, by_flag.origin) == (Format.TABLE, "flag")


def test_a_time_limit_may_have_any_duration_unit(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('timeout = "1m30s"\n')
    assert settings(tmp_path).setting("timeout").value == 90
    assert settings(tmp_path, VALERIX_TIMEOUT="500ms").setting("timeout").value == 0.5


@pytest.mark.parametrize(
    "content",
    [
        "colour = true",
        'output = "xml"',
        "context = ",
        'timeout = "soon"',
        "[contexts.local]\norder = []\ninventory = []",
        "[contexts.x]\nurl = 'y'",
    ],
)
def test_an_invalid_config_file_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(BadUsageError) as refused:
        settings(tmp_path)
    assert str(tmp_path / "config.toml") in refused.value.what


@pytest.mark.parametrize("variable", ["VALERIX_OUTPUT", "VALERIX_TIMEOUT"])
def test_an_invalid_variable_is_reported(tmp_path: Path, variable: str) -> None:
    with pytest.raises(BadUsageError, match=variable):
        read_settings(GlobalOptions(), {variable: "nonsense"}, tmp_path)


def test_the_token_of_a_context_comes_from_the_variable_it_names(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(STAGING + 'operator_token_env = "STAGING_TOKEN"\n')
    context = find_context(settings(tmp_path, VALERIX_CONTEXT="staging"), {"STAGING_TOKEN": "secret"})
    assert context.operator_token == "secret"
    assert context.token_origin == "$STAGING_TOKEN"
    assert context.services["inventory"] == ("https://stock.example",)
    assert not context.is_local


def test_an_undefined_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="known names: local"):
        find_context(settings(tmp_path, GlobalOptions(context="moon")), {})


def test_the_local_context_needs_a_running_platform(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as refused:
        find_context(settings(tmp_path), {"VALERIX_STATE_DIR": str(tmp_path)})
    assert refused.value.hint.startswith("valerix up")


def test_the_config_of_a_pod_is_its_user_config_and_needs_no_trust() -> None:
    mounted = Path(__file__).parents[3] / "manifests" / "base" / "valerix.toml"
    found = find_context(
        read_settings(GlobalOptions(), {"VALERIX_CONFIG": str(mounted)}, mounted.parent),
        {"AUDIT_ORDER_DATABASE": "postgresql://order", "AUDIT_INVENTORY_DATABASE": "postgresql://inventory"},
    )
    assert (found.name, found.order_database, found.operator_token) == ("cluster", "postgresql://order", None)


def test_choosing_a_context_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'# mine\ncontext = "local"\noutput = "json"\n\n{STAGING}')
    keep_context(path, "staging")
    assert path.read_text() == f'context = "staging"\n# mine\noutput = "json"\n\n{STAGING}'
    assert settings(tmp_path).setting("context").value == "staging"


def test_choosing_a_context_makes_the_file_where_there_is_none(tmp_path: Path) -> None:
    keep_context(tmp_path / "deep" / "config.toml", "staging")
    assert (tmp_path / "deep" / "config.toml").read_text() == 'context = "staging"\n'


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "a.b", "żółw", "#1", "tab\there", "del\x7f", "]"])
def test_a_default_context_of_any_name_is_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('output = "json"\n')
    keep_context(path, name)
    keep_context(path, name)
    assert settings(tmp_path).setting("context").value == name
    assert settings(tmp_path).setting("output").value == "json"
