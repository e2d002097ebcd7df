"""A project's valerix.toml applies once its content is trusted, and never grants more than a project may."""

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from valerix_cli.config import ConfigFile, ContextConfig, describe, parse_config
from valerix_cli.contexts.find import find_context
from valerix_cli.errors import BadUsageError, CliError, ExitCode, GuardError
from valerix_cli.options import Format, GlobalOptions
from valerix_cli.projects import VARIABLE, Project, Trust, check, read_project
from valerix_cli.settings import Settings, read_settings

ADDRESSES = 'order = ["https://project.example"]\ninventory = ["https://project.example"]\n'
SETTINGS: dict[str, tuple[str, Any]] = {
    "context": ('context = "theirs"', "theirs"),
    "output": ('output = "yaml"', Format.YAML),
    "timeout": ('timeout = "7s"', 7.0),
    "no_input": ("no_input = true", True),
    "contexts": (f"[contexts.theirs]\n{ADDRESSES}", None),
}
"""Settings that a project file may have: their text, and the value it is parsed to."""
OF_A_CONTEXT: dict[str, tuple[str, bool]] = {
    "order": ("", True),
    "inventory": ("", True),
    "operator_token": ('operator_token = "s3cret"', True),
    "operator_token_env": ('operator_token_env = "VALERIX_THEIRS_TOKEN"', True),
    "service_token_env": ('service_token_env = "VALERIX_THEIRS_SERVICE_TOKEN"', True),
    "order_database_env": ('order_database_env = "VALERIX_ORDER_DATABASE"', True),
    "inventory_database_env": ('inventory_database_env = "VALERIX_INVENTORY_DATABASE"', True),
    "redis_env": ('redis_env = "VALERIX_THEIRS_REDIS"', True),
    "cluster": ('cluster = "kind-theirs"', True),
    "cluster_uid": ('cluster = "kind-theirs"\ncluster_uid = "x"', True),
    "namespace": ('cluster = "kind-theirs"\nnamespace = "x"', True),
    "overlay": ('cluster = "kind-theirs"\noverlay = "x"', True),
    "allow_plain_http": ("allow_plain_http = true", False),
}
"""Settings of a context: their text, and whether a project's context may have them."""
SECRETS = [
    *("AWS_SECRET_ACCESS_KEY", "HOME", "GITHUB_TOKEN", "VALERIX_DATABASE_URL", "VALERIX_REDIS_URL", "MY_VALERIX_TOKEN"),
    *("VALERIX_STATE_DIR", "valerix_x_token", "VALERIX_x_TOKEN", "VALERIX_A_TOKEN\nB", "VALERIX__TOKENS", ""),
]


class Place:
    """A directory with a project file, and a user's config elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "project"
        self.directory.mkdir()
        self.file = self.directory / "valerix.toml"
        self.config = directory / "user" / "config.toml"
        self.config.parent.mkdir()
        self.trust = Trust(self.config)

    def write(self, text: str, *, trusted: bool) -> None:
        self.file.write_text(text)
        if trusted:
            self.trust.add(self.file, self.file.read_bytes())

    def settings(self, context: str | None = None, **environ: str) -> Settings:
        environ = {"VALERIX_CONFIG": str(self.config), **environ}
        return read_settings(GlobalOptions(context=context), environ, self.directory)

    def project(self, **environ: str) -> Project:
        found = read_project(self.directory, self.config, environ)
        assert found is not None
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_tests_cover_every_project_setting() -> None:
    assert set(SETTINGS) == {field.name for field in msgspec.structs.fields(ConfigFile)}
    assert set(OF_A_CONTEXT) == {field.name for field in msgspec.structs.fields(ContextConfig)}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_project_setting_applies_while_its_content_is_trusted(name: str, place: Place) -> None:
    text, value = SETTINGS[name]

    def holds() -> bool:
        settings = place.settings()
        if name == "contexts":
            return "theirs" in settings.contexts
        return settings.setting(name) == type(settings.setting(name))(value, str(place.file))

    place.write(text, trusted=False)
    assert not holds()
    place.write(text, trusted=True)
    assert holds()
    place.write(f"{text}\n# changed", trusted=False)
    assert not holds()
    assert place.project().state == "changed"
    place.write(text, trusted=False)
    assert holds()
    assert place.trust.remove(place.file)
    assert not holds()


@pytest.mark.parametrize("name", OF_A_CONTEXT)
def test_a_project_never_replaces_a_context_of_the_user(name: str, place: Place) -> None:
    text, allowed = OF_A_CONTEXT[name]
    place.config.write_text(f'[contexts.mine]\n{ADDRESSES.replace("project", "mine")}operator_token = "secret"\n')
    addresses = "" if "cluster" in text else ADDRESSES
    place.write(f"[contexts.mine]\n{addresses}{text}\n[contexts.theirs]\n{addresses}{text}\n", trusted=True)
    if not allowed:
        with pytest.raises(BadUsageError, match="sets more than a project may set"):
            place.settings()
        return
    contexts = place.settings().contexts
    assert contexts["mine"][1] == str(place.config)
    assert contexts["mine"][0].order == ["https://mine.example"]
    assert contexts["theirs"][1] == str(place.file)
    config = place.project().config
    assert config is not None
    shown = " ".join(describe(config))
    assert name in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("field", [name for name in OF_A_CONTEXT if name.endswith("_env")])
@pytest.mark.parametrize("variable", SECRETS)
def test_no_project_reads_another_programs_secrets(field: str, variable: str, place: Place) -> None:
    text = f"[contexts.theirs]\n{ADDRESSES}{field} = {msgspec.json.encode(variable).decode()}\n"
    place.write(text, trusted=True)
    with pytest.raises(BadUsageError, match="sets more than a project may set"):
        place.settings()
    with pytest.raises(BadUsageError, match="sets more than a project may set"):
        check(parse_config(text.encode(), place.file), place.file)
    place.config.write_text(text)  # in the user's own config it may have any name
    place.file.unlink()
    assert "theirs" in place.settings().contexts


def test_a_context_that_only_an_untrusted_project_describes_is_refused_by_a_guard(place: Place) -> None:
    place.write(f"[contexts.theirs]\n{ADDRESSES}", trusted=False)
    with pytest.raises(GuardError, match="was not used") as refused:
        find_context(place.settings("theirs"), {})
    assert refused.value.code is ExitCode.GUARD
    assert refused.value.hint == "valerix context trust"
    with pytest.raises(BadUsageError, match="known names: local"):
        find_context(place.settings("others"), {})


@pytest.mark.parametrize("text", ["context = ", "a = 1", "[contexts.local]", "\x00", "context = 1", "x" * 70_000])
def test_an_invalid_untrusted_project_is_ignored(text: str, place: Place) -> None:
    place.write(text, trusted=False)
    assert place.settings().setting("context").value == "local"
    assert place.project().wrong is not None


def test_a_project_file_that_is_a_pipe_does_not_block(place: Place) -> None:
    os.mkfifo(place.file)
    assert place.project().state == "untrusted"
    assert "not a regular file" in str(place.project().wrong)


def test_the_users_config_is_never_a_project(place: Place) -> None:
    place.write('output = "json"', trusted=False)
    for named in (place.file, place.directory / ".." / "project" / "valerix.toml"):
        settings = place.settings(VALERIX_CONFIG=str(named))
        assert settings.project is None
        assert settings.setting("output").value == Format.JSON


def test_a_copy_needs_its_own_trust_and_a_link_uses_that_of_its_target(place: Place) -> None:
    place.write('output = "json"', trusted=True)
    for name, trusted in (("copy", False), ("link", True)):
        other = place.directory.parent / name
        other.mkdir()
        if trusted:
            (other / "valerix.toml").symlink_to(place.file)
        else:
            (other / "valerix.toml").write_bytes(place.file.read_bytes())
        found = read_project(other, place.config, {})
        assert found is not None
        assert (found.state == "trusted") is trusted


def test_a_pipeline_trusts_content_by_its_sha256(place: Place) -> None:
    place.write('output = "json"', trusted=False)
    sha256 = hashlib.sha256(place.file.read_bytes()).hexdigest()
    for named in (sha256, f"sha256:{sha256}", f"sha256:{'0' * 64}, sha256:{sha256}"):
        assert place.project(**{VARIABLE: named}).state == "trusted"
    for other in ("", "1", "true", "*", "sha256:", sha256[:-1], "sha256:" + "0" * 64):
        assert place.project(**{VARIABLE: other}).state == "untrusted"


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_trust_file_writable_by_others_is_ignored(mode: int, place: Place) -> None:
    place.write('output = "json"', trusted=True)
    assert place.trust.path.stat().st_mode & 0o777 == 0o600
    place.trust.path.chmod(mode)
    assert place.project().state == "untrusted"


def test_a_trust_file_of_another_user_or_behind_a_link_is_ignored(place: Place) -> None:
    place.write('output = "json"', trusted=True)
    moved = place.trust.path.rename(place.trust.path.with_name("elsewhere.json"))
    place.trust.path.symlink_to(moved)
    assert place.project().state == "untrusted"
    place.trust.path.unlink()
    moved.rename(place.trust.path)
    assert place.project().state == "trusted"
    if os.geteuid() == 0:
        os.chown(place.trust.path, 65534, 65534)
        assert place.project().state == "untrusted"


def test_trust_is_stored_for_several_projects_and_a_damaged_file_is_ignored(place: Place) -> None:
    for name in ("a", "b"):
        place.trust.add(Path("/somewhere") / name, name.encode())
    assert place.trust.state(Path("/somewhere/a"), b"a") == "trusted"
    assert place.trust.state(Path("/somewhere/b"), b"c") == "changed"
    place.trust.path.write_text("{")
    assert place.trust.entries() == []


def test_an_unwritable_trust_file_is_an_error(place: Place) -> None:
    place.config.parent.rmdir()
    place.config.parent.write_text("a file")
    with pytest.raises(CliError, match="could not be stored"):
        place.trust.add(place.file, b"")
