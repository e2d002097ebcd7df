"""Platforms with and without monitoring: the messages when a part is missing."""

from tests.platform.installation import Installation, installed


def test_monitoring_without_prometheus_starts_nothing_and_hints_at_its_installation() -> None:
    with installed(environment={"PATH": "/nowhere"}) as bare:
        refused = bare.run("up", "--detach", "--monitoring")
        assert refused.returncode == 3
        what, why, hint = refused.stderr.splitlines()
        assert what == "Error: Prometheus is not installed on this machine."
        assert "no prometheus is on the path" in why
        assert "apt-get install prometheus prometheus-alertmanager" in hint
        assert bare.processes == []


def test_alerts_of_an_unmonitored_platform_hint_at_monitoring(platform: Installation) -> None:
    refused = platform.run("alerts")
    assert refused.returncode == 3
    assert "started without --monitoring" in refused.stderr
    assert platform.status()["alerts"] is None


def test_an_invalid_address_is_refused_before_anything_is_started(stopped: Installation) -> None:
    refused = stopped.run("up", "--detach", "--alert-webhook", "operators")
    assert refused.returncode == 2
    assert "http://" in refused.stderr
    assert stopped.processes == []


def test_alerts_without_a_platform_hint_at_starting_one(stopped: Installation) -> None:
    refused = stopped.run("alerts")
    assert refused.returncode == 3
    assert refused.stderr.splitlines()[-1] == "  try: valerix up --detach --monitoring"


def test_an_unreachable_prometheus_is_reported(stopped: Installation) -> None:
    refused = stopped.run("alerts", "--prometheus", "http://127.0.0.1:9")
    assert refused.returncode == 3
    assert "http://127.0.0.1:9" in refused.stderr
