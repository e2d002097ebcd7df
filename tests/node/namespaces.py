"""Namespaces, cgroups and files of a node, which end with the block that creates them."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.processes import eventually

ADDRESS, PODS, CLUSTER_IPS, DNS = "10.90.0.1", "10.244.0.0/24", "10.96.0.0/16", "10.96.0.10"
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = ("/var/lib", "/var/log")
_SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Kernel settings that the kubelet makes for the whole machine. In the node, each is a file with the required value."""


@contextlib.contextmanager
def node_directory() -> Iterator[Path]:
    """Yield a directory on a disk and outside of a home: containers' file systems are overlays on it."""
    with tempfile.TemporaryDirectory(prefix="valerix-node-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for path in (*_OWN, "cni", "proc", "volumes"):
            (directory / path.lstrip("/")).mkdir(parents=True)
        for sysctl, value in _SYSCTLS.items():
            (directory / "proc" / sysctl.replace("/", ".")).write_text(f"{value}\n")
        (directory / "resolv.conf").touch()  # no resolver outside of the cluster
        yield directory


@contextlib.contextmanager
def namespaces(directory: Path) -> Iterator[int]:
    """Yield the process id, on this machine, of the namespaces' first process."""
    script = "\n".join(
        (
            "set -e",
            *(f"mount --bind {directory}{path} {path}" for path in _OWN),
            *(f"mount --bind {directory}/proc/{one.replace('/', '.')} /proc/sys/{one}" for one in _SYSCTLS),
            f"mount --bind {directory}/resolv.conf /etc/resolv.conf",
            "mount -t tmpfs -o mode=755 node /run",
            "ip link set lo up",
            f"ip link add node type bridge && ip addr add {ADDRESS}/24 dev node && ip link set node up",
            "ip route add default dev node",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
            "echo up",
            "cat > /dev/null",
        )
    )
    shell = ["sh", "-c", script]
    with (directory / "namespaces.log").open("wb") as log:
        outer = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *shell],  # noqa: S607 - as found
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert outer.stdin is not None
    assert outer.stdout is not None
    try:
        assert outer.stdout.readline() == b"up\n", (directory / "namespaces.log").read_text()
        yield int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
    finally:
        outer.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            outer.wait(10)
        outer.kill()
        outer.wait()
        outer.stdout.close()


@contextlib.contextmanager
def cgroups(name: str) -> Iterator[None]:
    """Create a cgroup in each hierarchy, of either version; remove them and their children once they are empty."""
    roots = [_CGROUPS] if (_CGROUPS / "cgroup.controllers").exists() else list(_CGROUPS.iterdir())
    made = [root / name for root in roots if root.is_dir() and not root.is_symlink()]
    try:
        for path in made:
            path.mkdir()
        yield
    finally:
        for path in made:
            below = sorted((one for one in path.rglob("*") if one.is_dir()), reverse=True)
            for one in (*below, path):
                eventually(partial(_is_removed, one), what=f"nobody is in {one}")


def _is_removed(cgroup: Path) -> bool:
    with contextlib.suppress(OSError):  # the kernel still has processes in it
        cgroup.rmdir()
    return not cgroup.exists()
