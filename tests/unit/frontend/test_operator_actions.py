"""Operator actions, as requests to the services."""

import json
import shlex
import sys
import time

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.common.http_client import open_session
from services.common.settings import SECRET
from services.frontend.backends import Backend
from services.frontend.operator_actions import AuditFailed, ChaosForm, OperatorActions, chaos_request
from services.frontend.settings import FrontendSettings

AUDIT = '{"verdict": "clean", "at": "2026-11-26T12:00:00Z", "seconds": 0.1, "invariants": []}'


def test_a_form_in_percent_and_seconds_becomes_shares_and_milliseconds() -> None:
    wish = msgspec.convert({"latency": "30", "delay": "1.5", "crash": "5", "ttl": "20"}, ChaosForm, strict=False)
    assert chaos_request(wish) == {
        "latency": True,
        "latency_ms": 1500,
        "latency_rate": 0.3,
        "crash_rate": 0.05,
        "partial_failure_rate": 0,
        "ttl_seconds": 20,
        "reason": "dashboard",
    }


def test_a_preset_has_the_values_of_its_name() -> None:
    chaos = chaos_request(ChaosForm(preset="seed-chaos", seed=7))
    assert (chaos["latency_ms"], chaos["latency_rate"], chaos["crash_rate"], chaos["partial_failure_rate"]) == (
        5000,
        1.0,
        0.3,
        0.2,
    )
    assert (chaos["seed"], chaos["reason"]) == (7, "dashboard: seed-chaos")


@pytest.mark.parametrize(
    "form", [{"latency": "101"}, {"ttl": "0"}, {"ttl": "901"}, {"preset": "worse"}, {"crash": "much"}]
)
def test_an_invalid_chaos_form_is_refused(form: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(form, ChaosForm, strict=False)


def command(program: str) -> str:
    return f"{shlex.quote(sys.executable)} -c '{program}'"


async def audited(audit_command: str | None) -> str:
    async with open_session() as session:
        nobody = Backend(session, "nobody", ("http://127.0.0.1:9",), "token")
        return (await OperatorActions(nobody, nobody, audit_command).audit()).verdict


async def test_an_audit_is_read_from_output_despite_any_exit_code() -> None:
    assert await audited(command(f"print({AUDIT!r}); exit(11)".replace("'", '"""'))) == "clean"


async def test_an_audit_exports_the_broken_invariants_and_its_time() -> None:
    broken = {"name": "no-oversell", "rule": "-", "verdict": "violated", "checked": 9, "of": "items", "broken": 2}
    held = broken | {"name": "settled", "verdict": "held", "broken": 0}
    found = json.loads(AUDIT) | {"verdict": "violated", "invariants": [broken, held]}
    began = time.time()
    assert await audited(command(f"print({json.dumps(found)!r})".replace("'", '"""'))) == "violated"
    assert REGISTRY.get_sample_value("audit_broken_invariants") == 1
    assert (REGISTRY.get_sample_value("audit_finished_timestamp_seconds") or 0) >= began
    await audited(command(f"print({AUDIT!r})".replace("'", '"""')))
    assert REGISTRY.get_sample_value("audit_broken_invariants") == 0


async def test_an_audit_process_gets_no_secret_of_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_ORDER_DATABASE", "told")
    for field in msgspec.structs.fields(FrontendSettings):
        if field.name.endswith((*SECRET, "redis_url")):
            monkeypatch.setenv(f"VALERIX_{field.name.upper()}", "secret")
    says = 'import os, sys; sys.exit(" ".join(name for name, held in os.environ.items() if held in ("secret", "told")))'
    with pytest.raises(AuditFailed, match=r"^AUDIT_ORDER_DATABASE$"):
        await audited(command(says))


@pytest.mark.parametrize(
    ("audit_command", "why"),
    [
        (None, "VALERIX_AUDIT_COMMAND is not set"),
        ("/no/such/program", "could not be started"),
        (command('import sys; sys.exit("Error: no platform")'), "Error: no platform"),
        (command("pass"), "It printed nothing"),
    ],
)
async def test_a_failed_audit_has_its_reason(audit_command: str | None, why: str) -> None:
    with pytest.raises(AuditFailed, match=why):
        await audited(audit_command)
