"""Checks of the cluster to deploy to. A cluster is optional, so none of them fails."""

import base64
import os
import shutil
import ssl
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject, one_line
from valerix_cli.quoting import word

_KUBECTL, _CONFIG = Subject("cluster", "kubectl"), Subject("cluster", "kubeconfig")
_SERVER = Subject("cluster", "api server")


class Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    """The address and the CA of an API server; a relative path is relative to its kubeconfig."""

    server: str
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool = False


class NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: Cluster


class InContext(msgspec.Struct, frozen=True):
    cluster: str


class NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: InContext


class KubeConfig(msgspec.Struct, frozen=True, rename="kebab"):
    """The part of a kubeconfig that determines the API server."""

    current_context: str | None = None
    contexts: list[NamedContext] | None = None
    clusters: list[NamedCluster] | None = None


def check_tasks(setup: Setup) -> list[CheckTask]:
    return [CheckTask(_SERVER, partial(_task, setup), "kubectl cluster-info")]


def _task(setup: Setup) -> Iterator[Finding]:
    program = shutil.which("kubectl", path=setup.environ.get("PATH"))
    yield _KUBECTL.ok(f"It is {program}.") if program else _KUBECTL.skipped("It is not installed.")
    file = kubeconfig(setup.environ)
    if file is None:
        yield _CONFIG.skipped("No kubeconfig: KUBECONFIG is not set and ~/.kube/config does not exist.")
        return
    try:
        name, cluster = current(file)
    except (OSError, yaml.YAMLError, msgspec.ValidationError, LookupError) as error:
        yield _CONFIG.warning(f"{file} is invalid: {one_line(error)}", f"kubectl --kubeconfig {word(file)} config view")
        return
    yield _CONFIG.ok(f"{file} chooses the context {name}.")
    yield _ask(cluster, file, setup.limits.answer)


def kubeconfig(environ: Mapping[str, str]) -> Path | None:
    """Return the first existing file of KUBECONFIG, or without that variable the default one."""
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    usual = [Path(environ["HOME"], ".kube", "config")] if "HOME" in environ else []
    return next((file for file in named or usual if file.exists()), None)


def current(file: Path) -> tuple[str, Cluster]:
    """Return the current context and its cluster. Raises LookupError if the file has none."""
    config = msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), type=KubeConfig)
    contexts = {one.name: one.context for one in config.contexts or ()}
    clusters = {one.name: one.cluster for one in config.clusters or ()}
    name = config.current_context
    if not name or name not in contexts or contexts[name].cluster not in clusters:
        raise LookupError("it has no current-context with a cluster")
    return name, clusters[contexts[name].cluster]


def _ask(cluster: Cluster, file: Path, within: float) -> Finding:
    """Request its version, without credentials: a refusal shows that it is reachable, too."""
    try:
        with httpx.Client(timeout=within, verify=_trust(cluster, file)) as http:
            answer = http.get(f"{cluster.server.rstrip('/')}/version")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return _SERVER.warning(
            f"{cluster.server} is unreachable: {one_line(error)}",
            f"kubectl --kubeconfig {word(file)} cluster-info",
        )
    return _SERVER.ok(f"{cluster.server} answers{_version(answer)}.")


def _trust(cluster: Cluster, file: Path) -> ssl.SSLContext | bool:
    if cluster.insecure_skip_tls_verify:
        return False
    if cluster.certificate_authority_data:
        return ssl.create_default_context(cadata=base64.b64decode(cluster.certificate_authority_data).decode())
    if cluster.certificate_authority:
        return ssl.create_default_context(cafile=str(file.parent / cluster.certificate_authority))
    return True


def _version(answer: httpx.Response) -> str:
    try:
        version: dict[str, Any] = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError:
        return ""
    return f", it is Kubernetes {version['gitVersion']}" if "gitVersion" in version else f" (HTTP {answer.status_code})"
