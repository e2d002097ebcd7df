"""A real API server for the whole run, and a namespace for each test."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cluster import control_plane, fake_kubelet
from tests.cluster.control_plane import ControlPlane
from tests.processes import eventually
from valerix_cli.cluster.overlays import MANIFESTS

LIMIT = 600.0  # seconds that a command may take on a busy machine: longer than it waits for pods


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> list[str]:
        """The last three lines of stderr."""
        lines = self.stderr.splitlines()
        return lines[next(number for number, line in enumerate(lines) if line.startswith("Error: ")) :]


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    if control_plane.assets() is None:
        pytest.skip("no control plane: see KUBEBUILDER_ASSETS in docs/deploy.md")
    with (
        tempfile.TemporaryDirectory(prefix="valerix-cluster-") as directory,
        control_plane.running(Path(directory)) as found,
        fake_kubelet.Kubelet(found),
    ):
        _install(found)
        yield found


def _install(plane: ControlPlane) -> None:
    """Install a default storage class, an ingress class, and the custom resource definitions of our components."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    plane.request(
        "POST",
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "standard", "annotations": annotations},
            "provisioner": "tests/none",
            "allowVolumeExpansion": True,
        },
    )
    plane.request(
        "POST",
        "/apis/networking.k8s.io/v1/ingressclasses",
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "nginx"},
            "spec": {"controller": "tests/none"},
        },
    )
    programs = control_plane.assets()
    assert programs is not None
    if files := _described_kinds(programs / "crds"):
        named = [word for file in files for word in ("--filename", str(file))]
        subprocess.run(
            [str(programs / "kubectl"), "create", *named],
            env=os.environ
            | {"KUBECONFIG": str(plane.kubeconfig), "KUBECACHEDIR": str(plane.kubeconfig.parent / "cache")},
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _described_kinds(folder: Path) -> list[Path]:
    """Return the custom resource definitions of the kinds in our manifests: each additional one is slow to install."""
    described = "\n".join(file.read_text() for file in MANIFESTS.rglob("*.yaml"))
    kinds = set(re.findall(r"^ *kind: (\w+)$", described, re.MULTILINE))
    files = sorted(folder.glob("*.yaml"))
    return [file for file in files if set(re.findall(r"^    kind: (\w+)$", file.read_text(), re.MULTILINE)) & kinds]


class Valerix:
    """The command line, with a configuration that allows one namespace of the cluster."""

    def __init__(self, plane: ControlPlane, namespace: str, directory: Path) -> None:
        self.plane, self.namespace, self.directory = plane, namespace, directory
        self.config = directory / "config.toml"
        self.allow("tests", "admin")

    def allow(self, name: str, cluster: str, overlay: str = "local") -> None:
        with self.config.open("a") as file:
            file.write(
                f'[contexts.{name}]\ncluster = "{cluster}"\nnamespace = "{self.namespace}"\noverlay = "{overlay}"\n'
            )

    def __call__(self, *typed: str, code: int = 0, context: str = "tests") -> Done:
        done = self.run(*typed, context=context)
        assert done.code == code, f"exit {done.code}\n{done.stdout}\n{done.stderr}"
        return done

    def run(self, *typed: str, context: str = "tests") -> Done:
        """Run a command; any exit status is accepted."""
        try:
            done = subprocess.run(
                self._command(typed, context),
                cwd=self.directory,
                env=self._environ(),
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{' '.join(typed)} has not ended after {LIMIT} s:\n{(error.stderr or b'').decode()}")
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *typed: str, code: int = 0, context: str = "tests") -> Any:
        return json.loads(self(*typed, "-o", "json", code=code, context=context).stdout)

    def started(self, *typed: str) -> subprocess.Popen[str]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            self._command(typed, "tests"),
            cwd=self.directory,
            env=self._environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def interrupted(self, *typed: str, once: str) -> Done:
        """Run a command, and send Ctrl-C after its first output."""
        process = self.started(*typed)
        assert process.stderr is not None
        output = ""
        for line in process.stderr:
            output += line
            if once in line:
                process.send_signal(signal.SIGINT)
                break
        stdout, rest = process.communicate(timeout=LIMIT)
        return Done(process.returncode, stdout, output + rest)

    def find(self, path: str) -> Any:
        """Return an object of the namespace, for instance `apis/apps/v1/deployments/order`."""
        *group, plural, name = path.split("/")
        return self.plane.find(f"/{'/'.join(group)}/namespaces/{self.namespace}/{plural}/{name}")

    def listed(self, path: str) -> list[Any]:
        *group, plural = path.split("/")
        found: list[Any] = self.plane.request("GET", f"/{'/'.join(group)}/namespaces/{self.namespace}/{plural}")[
            "items"
        ]
        return found

    def set_replicas(self, name: str, number: int, manager: str) -> None:
        """Change the number of replicas as another user's tool would."""
        thing = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": number},
        }
        self.plane.apply(thing, f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}", manager)

    def _command(self, typed: tuple[str, ...], context: str) -> list[str]:
        return [sys.executable, "-P", "-m", "valerix_cli", *typed, "--context", context]

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        return kept | {"VALERIX_CONFIG": str(self.config), "KUBECONFIG": str(self.plane.kubeconfig)}


_numbers = itertools.count(1)


@pytest.fixture
def valerix(plane: ControlPlane, tmp_path: Path) -> Iterator[Valerix]:
    """A new, empty namespace."""
    found = Valerix(plane, f"shop-{next(_numbers)}", tmp_path)
    yield found
    if plane.find(f"/api/v1/namespaces/{found.namespace}"):
        plane.request("DELETE", f"/api/v1/namespaces/{found.namespace}")


@pytest.fixture(scope="module")
def shop(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valerix]:
    """A namespace where the local overlay was applied. Tests leave it as they found it."""
    found = Valerix(plane, f"shop-{next(_numbers)}", tmp_path_factory.mktemp("shop"))
    found("cluster", "apply", "--yes")
    yield found
    plane.request("DELETE", f"/api/v1/namespaces/{found.namespace}")
    eventually(lambda: plane.find(f"/api/v1/namespaces/{found.namespace}") is None, within=LIMIT)
