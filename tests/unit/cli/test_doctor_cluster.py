"""The cluster that a kubeconfig selects, and the availability of its API server."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from valerix_cli.doctor import cluster
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.model import Check
from valerix_cli.local.ports import free_port

CONFIG = """
current-context: {context}
contexts:
- {{name: test, context: {{cluster: kind, user: someone}}}}
clusters:
- {{name: kind, cluster: {{server: "{server}", certificate-authority-data: {authority}}}}}
users: []
"""


class ApiServer(BaseHTTPRequestHandler):
    """An API server that returns its version without authentication."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/version" else 404)
        self.end_headers()
        self.wfile.write(b'{"gitVersion": "v1.37.0"}')

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), ApiServer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def check(home: Path, **environ: str) -> dict[str, Check]:
    setup = Setup("local", home, {"HOME": str(home), "PATH": ""} | environ, None)
    [task] = cluster.check_tasks(setup)
    return {finding.check.name: finding.check for finding in task.check()}


def write(file: Path, server: str, *, context: str = "test", authority: str = "null") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CONFIG.format(server=server, context=context, authority=authority))
    return file


def test_cluster_checks_are_skipped_without_a_kubeconfig(tmp_path: Path) -> None:
    found = check(tmp_path, KUBECONFIG=str(tmp_path / "gone"))
    assert {check.status for check in found.values()} == {"skipped"}
    assert found["kubeconfig"].found.startswith("No kubeconfig")


def test_the_api_server_of_the_current_context_reports_its_version(tmp_path: Path, api_server: str) -> None:
    file = write(tmp_path / ".kube" / "config", api_server)
    found = check(tmp_path)
    assert found["kubeconfig"].found == f"{file} chooses the context test."
    assert found["api server"].found == f"{api_server} answers, it is Kubernetes v1.37.0."


def test_an_unreachable_api_server_is_a_warning(tmp_path: Path) -> None:
    file = write(tmp_path / "config", f"https://127.0.0.1:{free_port()}")
    found = check(tmp_path, KUBECONFIG=f"{tmp_path / 'gone'}:{file}")["api server"]
    assert (found.status, found.hint) == ("warning", f"kubectl --kubeconfig {file} cluster-info")


@pytest.mark.parametrize("context", ["null", "another"])
def test_a_kubeconfig_without_a_current_context_is_reported(tmp_path: Path, context: str) -> None:
    file = write(tmp_path / "config", "http://127.0.0.1:1", context=context)
    found = check(tmp_path, KUBECONFIG=str(file))["kubeconfig"]
    assert (found.status, found.hint) == ("warning", f"kubectl --kubeconfig {file} config view")


def test_an_invalid_certificate_is_a_warning(tmp_path: Path, api_server: str) -> None:
    file = write(tmp_path / "config", api_server, authority="bm90aGluZw==")
    assert check(tmp_path, KUBECONFIG=str(file))["api server"].status == "warning"
