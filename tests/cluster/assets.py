"""`python -m tests.cluster.assets [DIR]`: build a Kubernetes control plane and node from their Go modules, once.

Only Go modules are downloaded, with the ordinary `go` client. The result is a directory for KUBEBUILDER_ASSETS: etcd,
kube-apiserver and kubectl, as well as kube-controller-manager, kube-scheduler, kubelet and kube-proxy. Its folder
`crds` holds the custom resource definitions that our components use, from the projects that define them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

KUBERNETES, ETCD = "v1.37.2", "v3.7.3"
GO = shutil.which("go") or "go"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")
CRDS = {
    "github.com/cert-manager/cert-manager@v1.19.1": "deploy/crds",
    "github.com/cloudnative-pg/cloudnative-pg@v1.27.1": "config/crd/bases",
    "github.com/cloudnative-pg/plugin-barman-cloud@v0.15.0": "config/crd/bases",
    "github.com/external-secrets/external-secrets@v0.20.4": "config/crds/bases",
    "github.com/kedacore/keda/v2@v2.18.1": "config/crd/bases",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": "example/prometheus-operator-crd",
    "sigs.k8s.io/gateway-api@v1.4.0": "config/crd/standard",
}
"""The location of the CustomResourceDefinitions in each module."""


def default() -> Path:
    """Return the default directory: a cache outside of the repository."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "valerix" / f"kubernetes-{KUBERNETES}"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.assets", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=default())
    directory: Path = parser.parse_args(arguments).directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    build_kubernetes(directory)
    build_etcd(directory)
    copy_crds(directory / "crds")
    log(f'done: export KUBEBUILDER_ASSETS="{directory}"')


def build_kubernetes(directory: Path) -> None:
    """Build the programs of the k8s.io/kubernetes module, whose go.mod names no versions of its staging modules."""
    module = directory / "build" / "kubernetes"
    published = download(f"k8s.io/kubernetes@{KUBERNETES}")["GoMod"]
    staging = sorted(set(re.findall(r"^\s*(k8s\.io/[\w.-]+) v0\.0\.0$", Path(published).read_text(), re.MULTILINE)))
    replaced = [f"replace {name} => {name} v0{KUBERNETES.removeprefix('v1')}" for name in staging]
    write_module(module, f"k8s.io/kubernetes {KUBERNETES}", replaced)
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    version = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in version.items())
    for program in PROGRAMS:
        build(module, f"k8s.io/kubernetes/cmd/{program}", directory / program, flags)


def build_etcd(directory: Path) -> None:
    module = directory / "build" / "etcd"
    write_module(module, f"go.etcd.io/etcd/server/v3 {ETCD}", [])
    build(module, "go.etcd.io/etcd/server/v3", directory / "etcd", "")


def copy_crds(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for module, path in CRDS.items():
        name = module.partition("@")[0].rpartition("/")[2]
        for file in sorted(Path(download(module)["Dir"], path).glob("*.yaml")):
            if "kind: CustomResourceDefinition" in file.read_text():
                shutil.copyfile(file, folder / f"{name}-{file.name}")
    log(f"{len(list(folder.iterdir()))} files of custom resources")


def write_module(directory: Path, requirement: str, lines: list[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    head = ["module valerix.dev/assets", "go 1.26", f"require {requirement}"]
    (directory / "go.mod").write_text("\n".join([*head, *lines]) + "\n")


def build(module: Path, package: str, program: Path, flags: str) -> None:
    if program.exists():
        log(f"{program.name} is there")
        return
    log(f"building {program.name}")
    unfinished = program.with_name(f".{program.name}.unfinished")
    go(module, "build", "-trimpath", "-ldflags", f"-s -w {flags}".strip(), "-o", str(unfinished), package)
    unfinished.rename(program)


def download(module: str) -> Any:
    """Return the output of `go mod download` for a module, which includes the location of its files."""
    done = subprocess.run(
        [GO, "mod", "download", "-json", module], capture_output=True, text=True, check=False, env=environment()
    )
    result = json.loads(done.stdout or "{}")
    if done.returncode or "Error" in result:
        sys.exit(f"go mod download {module}: {result.get('Error') or done.stderr}")
    return result


def go(module: Path, *arguments: str) -> None:
    subprocess.run([GO, *arguments], cwd=module, env=environment(), check=True)


def environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    main(sys.argv[1:])
