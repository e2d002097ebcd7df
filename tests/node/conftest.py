"""A real node for the whole run, with Valerix on it."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.image.base import ROOT
from tests.node import node as nodes
from tests.node.node import CONTEXT, Node
from tests.node.orders import ITEMS, Outcome
from tests.node.prerequisites import missing
from tests.processes import eventually

LIMIT = 300.0  # seconds that a command may take
UNSETTLED = 12
"""Exit status of an audit while orders are in flight."""
ENOUGH = "10000"  # of each item


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


class Orders:
    """A process that sends orders to the Service; `journal` is the client's record of them."""

    def __init__(self, process: "subprocess.Popen[str]", journal: Path) -> None:
        self._process, self.journal = process, journal

    def wait(self) -> Outcome:
        output, complaint = self._process.communicate(timeout=LIMIT)
        assert self._process.returncode == 0, complaint
        return Outcome(**json.loads(output))


class Valerix:
    """The command line in the node's network, with a configuration that allows the cluster."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node, self.directory = node, directory
        self.config = directory / "config.toml"
        self.config.write_text(f'[contexts.{CONTEXT}]\ncluster = "{CONTEXT}"\noverlay = "local"\n')

    def __call__(self, *typed: str, code: int | None = 0) -> Done:
        """Run a command and check its exit status, unless `code` is None."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VALERIX_")}
        done = subprocess.run(
            self.node.beside(sys.executable, "-P", "-m", "valerix_cli", "--context", CONTEXT, *typed),
            cwd=self.directory,
            env=kept
            | {
                "VALERIX_CONFIG": str(self.config),
                "VALERIX_STATE_DIR": str(self.directory / "state"),
                "KUBECONFIG": str(self.node.kubeconfig),
            },
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        )
        assert code in {None, done.returncode}, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *typed: str, code: int = 0) -> Any:
        return json.loads(self(*typed, "-o", "json", code=code).stdout)

    def ordering(self, seconds: float, *options: str) -> Orders:
        """Start to send orders to the cluster IP of `order`."""
        address = self.kubectl("get", "service", "order", "--output=jsonpath={.spec.clusterIP}")
        journal = self.directory / f"{uuid.uuid4()}.jsonl"
        command = ("tests.node.orders", f"http://{address}:3001", str(seconds), str(journal), *options)
        process = subprocess.Popen(
            self.node.beside(sys.executable, "-m", *command),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Orders(process, journal)

    def wait_clean(self, orders: Orders) -> None:
        """Wait until all orders have settled and the audit is clean, checked against all responses of the client."""
        eventually(lambda: self._is_clean(orders.journal), within=90, what="a clean audit")

    def _is_clean(self, journal: Path) -> bool:
        done = self("audit", "--journal", str(journal), "--output", "json", code=None)
        assert done.code in {0, UNSETTLED}, done
        time.sleep(0 if done.code == 0 else 2)
        return done.code == 0

    def kubectl(self, *arguments: str) -> str:
        return self.node.kubectl("--namespace=valerix", *arguments)

    def pods(self, name: str) -> dict[str, str]:
        """Return the address of each pod of a service, except those being deleted."""
        found = self.node.get("pods", "--namespace=valerix", f"--selector=app.kubernetes.io/name={name}")["items"]
        staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in staying}

    def wait_rolled_out(self, kind_and_name: str) -> None:
        self.kubectl("rollout", "status", kind_and_name, "--timeout=120s")


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    if why := missing():
        pytest.skip(f"no node here: {why}")
    with nodes.running() as found:
        yield found


@pytest.fixture(scope="session")
def empty(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Valerix:
    """A cluster where nothing has been applied yet."""
    return Valerix(node, tmp_path_factory.mktemp("valerix"))


@pytest.fixture(scope="session")
def shop(empty: Valerix) -> Valerix:
    """Valerix, applied and with enough stock; tests leave it ready."""
    empty("cluster", "apply", "--yes")
    for item in ITEMS:
        empty("stock", "restock", item, ENOUGH, "--yes")
    return empty
