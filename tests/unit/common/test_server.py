"""A service with invalid settings prints one line and exits with 2."""

import io

import pytest

from services.common.server import run
from services.order.app import build
from services.order.settings import OrderSettings
from tests.unit.common.environment import ENVIRON
from tests.unit.common.logs import events


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"VALERIX_REDIS_URL": ""}, "VALERIX_REDIS_URL"),
        ({"VALERIX_REPLICA": "", "VALERIX_PORT": "0"}, "VALERIX_"),
        ({"VALERIX_PORT": "http"}, "VALERIX_PORT"),
        ({"VALERIX_LOG_LEVEL": "loud"}, "VALERIX_LOG_LEVEL"),
        ({"VALERIX_LOG_LEVEL": "", "VALERIX_PORT": "0"}, "VALERIX_PORT"),
        ({"VALERIX_SERVICE_TOKENS": "changeme-changeme"}, "VALERIX_SERVICE_TOKENS"),
        ({"VALERIX_CRASH_AT": "after-accept"}, "VALERIX_CHAOS_ALLOWED"),
        ({"VALERIX_CRASH_AT": "nowhere", "VALERIX_CHAOS_ALLOWED": "1"}, "VALERIX_CRASH_AT"),
    ],
)
def test_bad_settings_fail_the_start_with_a_one_line_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], named: str
) -> None:
    for name, value in (ENVIRON | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        run("order", OrderSettings, build)
    assert ended.value.code == 2
    (event,) = events(io.StringIO(capsys.readouterr().err))
    assert (event["event"], event["level"], event["service"]) == ("settings refused", "error", "order")
    assert named in event["why"]
    assert event["replica"]
