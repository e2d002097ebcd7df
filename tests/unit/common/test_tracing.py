"""Tracing costs nothing while it is off; a wrong configuration is reported at the start."""

import subprocess
import sys

import pytest

from services.common import tracing
from services.common.settings import SettingsError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def test_opentelemetry_is_not_loaded_without_an_endpoint() -> None:
    code = (
        "import sys, services.order.app, services.order.worker, services.inventory.app, services.frontend.app\n"
        "import valerix_cli.clients.orders\n"
        "from services.common import tracing\n"
        "tracing.configure('order', 'order-1', {})\n"
        "assert not tracing.is_on() and tracing.start_span('x', 'server', None) is None\n"
        "with valerix_cli.clients.orders.client_span('x') as traceparent: print(traceparent)\n"
        "assert not {'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & set(sys.modules)\n"  # redis uses the rest
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 55


def test_an_endpoint_without_the_library_is_refused_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.* extra `otel`"):
        tracing.configure("order", "order-1", ENDPOINT)
    assert not tracing.is_on()
