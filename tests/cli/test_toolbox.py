"""Contexts, raw API calls, schemas, and behavior common to all commands."""

import json
import os
import pty
import resource
import signal
import subprocess
from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.cli.conftest import PATIENCE, PROGRAM, Valerix
from valerix_cli.commands.schema import SHAPES

READS = ["order list", "stock list", "chaos status", "breaker status", "breaker history", "queue status", "queue dead"]


def describe_staging(valerix: Valerix) -> None:
    """Add a context that is not local but leads to the same platform."""
    services = valerix.stack()["services"]
    order, inventory = (json.dumps([replica["url"] for replica in services[name]]) for name in ("order", "inventory"))
    (valerix.directory / "config.toml").write_text(
        f'[contexts.staging]\norder = {order}\ninventory = {inventory}\noperator_token_env = "STAGING_TOKEN"\n'
    )


def test_a_write_to_a_remote_platform_names_it_and_requires_confirmation(valerix: Valerix) -> None:
    describe_staging(valerix)
    refused = valerix("order", "place", "mouse", "--context", "staging", "--key", "far", code=4)
    assert "place 1 order on `staging` (http://" in refused.err
    assert "--yes" in refused.err
    placed = valerix("order", "place", "mouse", "--context", "staging", "--key", "far", "--yes")
    assert "confirmed" in placed.out
    assert "About to place 1 order on `staging`" in placed.err


def test_a_write_to_a_remote_platform_asks_for_confirmation_in_a_terminal(valerix: Valerix) -> None:
    describe_staging(valerix)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "order", "place", "mouse", "--context", "staging", "--key", "asked"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=valerix.directory,
        env=valerix.environ | {"TERM": "xterm"},
    ) as process:
        os.close(theirs)
        os.write(ours, b"n\n")
        assert process.wait(PATIENCE) == 4
    output = os.read(ours, 65536).decode()
    os.close(ours)
    assert "Place 1 order on `staging`" in output
    assert "[y/N]" in output
    valerix("order", "replay", "asked", code=1)


def test_reading_works_without_a_token_and_operator_commands_name_the_missing_one(valerix: Valerix) -> None:
    describe_staging(valerix)
    [placed] = valerix.json("order", "place", "mouse")
    assert not valerix.json("--context", "staging", "order", "trace", placed["order_id"])["ledger_read"]
    assert "$STAGING_TOKEN" in valerix("--context", "staging", "breaker", "status", code=4).err


def test_a_chosen_context_is_permanent_and_shows_the_undo_command(valerix: Valerix) -> None:
    describe_staging(valerix)
    assert "Undo: valerix context use local" in valerix("context", "use", "staging").err
    shown = {one["setting"]: one for one in valerix.json("context", "show", "--origins")}
    assert shown["context"]["value"] == "staging"
    assert shown["context"]["origin"].endswith("config.toml")
    valerix("context", "use", "moon", code=2)


def test_a_token_is_never_shown(valerix: Valerix) -> None:
    secrets = json.loads((valerix.directory / "state" / "secrets.json").read_text())
    assert secrets["operator_token"] not in valerix("context", "show", "--origins", "-v").out


def test_a_raw_call_finds_its_service_and_prints_the_response_unchanged(valerix: Valerix) -> None:
    assert "items" in json.loads(valerix("api", "get", "/api/inventory").out)
    assert "orders" in json.loads(valerix("api", "GET", "/api/orders?limit=1").out)
    body = '{"item_id":"mouse","quantity":1}'
    made = valerix("api", "POST", "/api/orders", "-d", body, "-H", "Idempotency-Key: raw-1", "-i")
    assert made.out.startswith("HTTP 201 ")
    refused = valerix("api", "POST", "/api/orders", "-d", body, code=2)
    assert json.loads(refused.out)["type"] == "urn:valerix:problem:idempotency-key-missing"


@pytest.mark.parametrize("command", READS)
def test_printed_results_match_their_schemas(valerix: Valerix, command: str) -> None:
    jsonschema.validate(valerix.json(*command.split()), msgspec.json.schema(SHAPES[command.replace(" ", "-")]))


def test_a_schema_is_printed_as_json(valerix: Valerix) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(valerix("schema", "order-list").out))


def test_a_table_in_a_pipe_is_plain(valerix: Valerix) -> None:
    listed = valerix("stock", "list").out
    assert "\x1b" not in listed
    assert listed.isascii()


def test_a_missing_platform_exits_with_3_and_a_hint_to_start_one(valerix: Valerix, tmp_path: object) -> None:
    done = valerix("order", "list", code=3, VALERIX_STATE_DIR=str(tmp_path))
    assert done.err.splitlines()[2] == "  try: valerix up --detach"


def test_an_unreachable_platform_exits_with_3(valerix: Valerix) -> None:
    (valerix.directory / "config.toml").write_text(
        '[contexts.void]\norder = ["http://127.0.0.1:9"]\ninventory = ["http://127.0.0.1:9"]\n'
    )
    assert "http://127.0.0.1:9" in valerix("--context", "void", "order", "list", code=3).err


@pytest.mark.parametrize(
    "typed", [["ordr"], ["order", "plaice"], ["order", "list", "--colour"], ["-o", "xml", "version"]]
)
def test_bad_usage_exits_with_2_and_a_three_line_error(valerix: Valerix, typed: list[str]) -> None:
    done = valerix(*typed, code=2)
    assert done.out == ""
    assert len(done.err.splitlines()) == 3


def test_a_closed_pipe_ends_a_command_quietly(valerix: Valerix) -> None:
    watching = valerix.start("stock", "watch")
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.stdout.close()
    watching.stdout = None
    valerix("order", "place", "mouse")
    valerix("order", "place", "mouse")
    _, err = watching.communicate(timeout=PATIENCE)
    assert (watching.returncode, err) == (141, "")


def test_a_terminated_command_exits_with_143(valerix: Valerix) -> None:
    watching = valerix.start("breaker", "status", "--watch")
    assert watching.stdout is not None
    watching.stdout.readline()
    assert valerix.end(watching, signal.SIGTERM).code == 143


def test_help_takes_less_than_0_4_seconds_of_cpu(tmp_path: Path) -> None:
    environ = Valerix(tmp_path).environ

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        Valerix.as_a_shell_would(("--help",), tmp_path, environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.4


def test_shell_completion_offers_commands_subcommands_and_options(valerix: Valerix) -> None:
    def offered(words: str) -> list[str]:
        return valerix(
            _VALERIX_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
        ).out.split()

    assert offered("valerix br") == ["breaker"]
    assert "trace" in offered("valerix order ")
    assert "--mutate" in offered("valerix order replay --m")
    script = valerix("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").out
    assert "_VALERIX_COMPLETE=complete_bash" in script


def test_the_version_is_printed_in_every_format(valerix: Valerix) -> None:
    version = valerix.json("version")["valerix"]
    assert version in valerix("version").out
    assert valerix("--version").out.strip() == version


def test_explain_describes_a_code_and_corrects_a_typing_error(valerix: Valerix) -> None:
    assert "schrödinger" in valerix("explain", "partial-failure").out.lower()
    assert "valerix explain queue-full" in valerix("explain", "queue-ful", code=2).err
