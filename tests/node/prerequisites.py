"""Programs that a node needs on this machine."""

import os
import shutil
from pathlib import Path

from tests.node import images

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}

CNI = Path("/usr/lib/cni")
PLUGINS = ("bridge", "host-local", "loopback", "portmap")


def programs() -> Path:
    """Return the directory in KUBEBUILDER_ASSETS, the customary variable."""
    return Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent")


def missing() -> str | None:
    """Return why no node can run here, and the remedy; None if one can."""
    if absent := [program for program in PROGRAMS if not (programs() / program).exists()]:
        return f"KUBEBUILDER_ASSETS has no {', '.join(absent)}: nox -s assets, and docs/deploy.md"
    if os.geteuid() != 0:
        return "a node is root"
    packages = {package for program, package in PACKAGES.items() if not shutil.which(program)}
    if not all((CNI / plugin).exists() for plugin in PLUGINS):
        packages.add("containernetworking-plugins")
    if packages:
        return f"not all is installed: apt-get install {' '.join(sorted(packages))}"
    return images.missing(programs())
