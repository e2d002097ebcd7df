"""A real API server and etcd, and the controllers if they are installed, on local ports."""

import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import Authority, pem
from tests.processes import eventually
from valerix_cli.local.ports import free_port

NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager")
ADMIN, DEVELOPER = "admin-token-of-the-tests", "developer-token-of-the-tests"
_LIMIT = 180.0  # seconds


def assets() -> Path | None:
    """Return the directory in KUBEBUILDER_ASSETS, the customary variable. None if one of the programs is missing."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if not named or not all((Path(named) / program).exists() for program in NEEDED):
        return None
    return Path(named)


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane.

    `kubeconfig` has the contexts `admin`, with all rights, and `developer`, without any yet.
    """

    url: str
    kubeconfig: Path
    ca: Path
    processes: dict[str, "Program"] = field(default_factory=dict)

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Send a JSON request as the administrator. Raises urllib.error.HTTPError."""
        return json.loads(self.send(method, path, body, kind))

    def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        with self._open(method, path, body, kind) as answer:
            return bytes(answer.read())

    def watch(self, path: str, limit: int) -> Iterator[Any]:
        """Yield the events of a collection, starting with an ADDED for each existing object.

        Ends after `limit` seconds.
        """
        with self._open("GET", f"{path}?watch=true&timeoutSeconds={limit}") as answer:
            for line in answer:
                yield json.loads(line)

    def _open(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {ADMIN}", "Content-Type": kind, "Accept": "application/json"},
        )
        return urllib.request.urlopen(request, context=self.trusting, timeout=10)  # noqa: S310 - the same

    @cached_property
    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def apply(self, thing: Any, path: str, manager: str = "tests", *, force: bool = True) -> Any:
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return self.request("PATCH", path + query, thing, "application/apply-patch+yaml")

    def make_namespace(self, name: str) -> None:
        self.request(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )

    @contextlib.contextmanager
    def paused(self, program: str) -> Iterator[None]:
        """Pause a program of the control plane during the block."""
        process = self.processes[program].process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def restart(self, program: str, after: float = 0) -> None:
        """Kill a program, and start it again some seconds later."""
        self.processes[program].kill()
        time.sleep(after)
        self.processes[program].start()
        eventually(lambda: _is_ready(self), within=_LIMIT, what="the API server is ready")

    def find(self, path: str) -> Any:
        """Return an object, or None."""
        try:
            return self.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


@contextlib.contextmanager
def running(directory: Path) -> Iterator[ControlPlane]:
    """Start a control plane and stop it when the block ends."""
    programs = assets()
    assert programs is not None
    made = _certificates(directory)
    etcd, port = free_port(), free_port()
    url = f"https://127.0.0.1:{port}"
    (directory / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{DEVELOPER},developer,2,"developers"\n')
    plane = ControlPlane(url, _kubeconfig(directory, url, made["ca"]), made["ca"])
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str) -> None:
            plane.processes[name] = Program(directory, programs / name, *arguments)
            stack.callback(plane.processes[name].end)

        start(
            "etcd",
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync",
        )
        start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={made['certificate']}",
            f"--tls-private-key-file={made['key']}",
            f"--token-auth-file={directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={made['accounts']}",
            f"--service-account-signing-key-file={made['accounts']}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
        )
        eventually(lambda: _is_ready(plane), within=_LIMIT, what="the API server is ready")
        start(
            "kube-controller-manager",
            f"--kubeconfig={plane.kubeconfig}",
            f"--service-account-private-key-file={made['accounts']}",
            f"--root-ca-file={made['ca']}",
            "--leader-elect=false",
            "--secure-port=0",
            "--concurrent-deployment-syncs=10",
        )
        yield plane


def _is_ready(plane: ControlPlane) -> bool:
    """Return True if it is healthy and its namespaces exist: a controller manager waits only ten seconds for them."""
    try:
        return plane.send("GET", "/healthz") == b"ok" and plane.find("/api/v1/namespaces/default") is not None
    except OSError:
        return False


class Program:
    """A program of the control plane, which can be killed and restarted."""

    def __init__(self, directory: Path, program: Path, *arguments: str) -> None:
        self._command = [str(program), *arguments]
        self._log = directory / f"{program.name}.log"
        self.start()

    def start(self) -> None:
        environ = {**os.environ, "GOGC": "400"}  # allow larger heaps: takes a third less time in the API server
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environ)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.kill()


def _kubeconfig(directory: Path, url: str, ca: Path) -> Path:
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca.read_bytes()).decode()}
    tokens = {"admin": ADMIN, "developer": DEVELOPER}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "admin",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
        "contexts": [{"name": name, "context": {"cluster": "tests", "user": name}} for name in tokens],
    }
    file = directory / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    return file


def _certificates(directory: Path) -> dict[str, Path]:
    """Create a CA, a certificate for 127.0.0.1, and the key that signs service account tokens."""
    authority = Authority()
    certificate, key = authority.sign("127.0.0.1")
    accounts = pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    written = {"ca": authority.certificate, "certificate": certificate, "key": key, "accounts": accounts}
    for name, content in written.items():
        (directory / f"{name}.pem").write_bytes(content)
    return {name: directory / f"{name}.pem" for name in written}
