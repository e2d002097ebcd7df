"""A Kubernetes cluster of one node on this machine, in separate namespaces, removed at the end.

A shell is process 1 of a network, a mount and a process namespace; all else is started within them by nsenter. The
shell reads a pipe that this process holds. When the pipe closes, even by a SIGKILL, the shell exits, and the kernel
ends all other processes and removes every mount and link. /run, /var/lib and /var/log are private to the node, so that
each program uses its usual paths. Only a directory and the node's cgroups remain to be removed.
"""

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.node import dns, images
from tests.node.namespaces import ADDRESS, CLUSTER_IPS, DNS, PODS, cgroups, namespaces, node_directory
from tests.node.prerequisites import CNI, programs
from tests.processes import eventually

CONTEXT = "node"
"""Name of the context in the kubeconfig, and of the node."""

_TOKEN = "admin-token-of-the-node"
_LIMIT = 120.0  # seconds
_GLANCE = 0.2  # seconds between two polls that start a program


@dataclass(frozen=True)
class Node:
    """A running cluster. `process` is the first one in its namespaces; `directory` has its logs and volumes."""

    directory: Path
    process: int
    programs: contextlib.ExitStack
    """Waits for the programs once the namespaces have ended."""

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def inside(self, *command: str) -> list[str]:
        """Return the command line, for this machine, that runs a command in all namespaces of the node."""
        return ["nsenter", f"--target={self.process}", "--net", "--mount", "--pid", "--wd=/", *command]

    def beside(self, *command: str) -> list[str]:
        """Return the command line that runs a command in the node's network only, so that it gets our signals."""
        return ["nsenter", f"--net=/proc/{self.process}/ns/net", *command]

    def run(self, *command: str) -> str:
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=_LIMIT, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
        return done.stdout

    def kubectl(self, *arguments: str, given: Any = None, code: int | None = 0) -> str:
        """Return kubectl's output. Fails with its stderr on another exit status, unless `code` is None."""
        done = subprocess.run(
            self.beside(str(programs() / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments),
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert code in {None, done.returncode}, f"kubectl {' '.join(arguments)}: {done.stderr[-2000:]}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", "--output=json", *arguments))

    def create(self, *things: Any) -> None:
        self.kubectl("create", "--filename=-", given={"apiVersion": "v1", "kind": "List", "items": things})

    def kill(self, pod: str) -> None:
        """Kill the first container of a pod with SIGKILL."""
        found = self.get("pod", pod, "--namespace=valerix")["status"]["containerStatuses"][0]["containerID"]
        self.run("ctr", "--namespace=k8s.io", "task", "kill", "--signal=SIGKILL", found.rpartition("/")[2])


@contextlib.contextmanager
def running() -> Iterator[Node]:
    """Start a node with the images and volumes that Valerix needs, and stop it at the end of the block."""
    with (
        node_directory() as directory,
        cgroups(directory.name),
        contextlib.ExitStack() as started,
        namespaces(directory) as process,
    ):
        node = Node(directory, process, started)
        try:
            _start_containers(node)
            _start_control_plane(node)
            _start_node(node, directory.name)
            _install(node)
        except Exception as error:
            for log in sorted(directory.glob("*.log")):
                error.add_note(f"{log.name}:\n{log.read_text(errors='replace')[-1500:]}")
            raise
        yield node


def _start(node: Node, program: Path | str, *arguments: str) -> None:
    """Start a program that ends with the node."""
    with (node.directory / f"{Path(program).name}.log").open("wb") as log:
        process = subprocess.Popen(
            node.inside(str(program), *arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    node.programs.callback(process.wait)


def _start_containers(node: Node) -> None:
    """Start containerd, load the images, and configure pod addresses."""
    network = {
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (node.directory / "cni" / "node.conflist").write_text(json.dumps(network))
    config = node.directory / "containerd.toml"
    config.write_text(
        f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{node.directory / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
    )
    archive = node.directory / "images.tar"
    images.save(images.make(programs()), archive)
    _start(node, "containerd", f"--config={config}")
    eventually(lambda: _answers(node, "ctr", "version"), within=_LIMIT, what="containerd answers")
    node.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))
    for made, name in images.NAMES.items():
        node.run("ctr", "--namespace=k8s.io", "images", "tag", made, name)
    archive.unlink()


def _start_control_plane(node: Node) -> None:
    directory, binaries = node.directory, programs()
    accounts = directory / "accounts.pem"
    accounts.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (directory / "tokens.csv").write_text(f'{_TOKEN},admin,1,"system:masters"\n')
    _start(
        node, binaries / "etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
    )  # fmt: skip
    _start(
        node, binaries / "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={ADDRESS}",
        f"--cert-dir={directory / 'apiserver'}",  # it creates a self-signed certificate
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        f"--service-cluster-ip-range={CLUSTER_IPS}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    )  # fmt: skip
    authority = directory / "apiserver" / "apiserver.crt"
    eventually(authority.exists, within=_LIMIT, what="the API server has a certificate")
    _write_kubeconfig(node, authority)
    eventually(lambda: _is_ready(node), within=_LIMIT, what="the API server answers")
    _start(
        node, binaries / "kube-controller-manager",
        f"--kubeconfig={node.kubeconfig}",
        f"--service-account-private-key-file={accounts}",
        f"--root-ca-file={authority}",
        "--leader-elect=false",
    )  # fmt: skip
    _start(node, binaries / "kube-scheduler", f"--kubeconfig={node.kubeconfig}", "--leader-elect=false")


def _write_kubeconfig(node: Node, authority: Path) -> None:
    cluster = {
        "server": f"https://{ADDRESS}:6443",
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "admin"}}],
    }
    node.kubeconfig.write_text(yaml.safe_dump(config))
    node.kubeconfig.chmod(0o600)


def _start_node(node: Node, cgroup: str) -> None:
    """Start the kubelet and kube-proxy. Anything in the node's network has full access to the kubelet."""
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # garbage-collected images could not be pulled again
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(node.kubeconfig)},
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": CONTEXT,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0},  # limits of the whole machine
    }
    for name, config in (("kubelet", kubelet), ("kube-proxy", proxy)):
        (node.directory / f"{name}.yaml").write_text(yaml.safe_dump(config))
    _start(
        node, programs() / "kubelet",
        f"--config={node.directory / 'kubelet.yaml'}",
        f"--kubeconfig={node.kubeconfig}",
        f"--hostname-override={CONTEXT}",
        f"--node-ip={ADDRESS}",
    )  # fmt: skip
    _start(node, programs() / "kube-proxy", f"--config={node.directory / 'kube-proxy.yaml'}")
    for state in ("create", "condition=Ready"):
        node.kubectl("wait", f"--for={state}", f"node/{CONTEXT}", f"--timeout={_LIMIT / 2:.0f}s")


def _install(node: Node) -> None:
    """Install cluster DNS, volumes, and an ingress class without a controller."""
    node.create(*dns.things(DNS), *volumes(node.directory / "volumes"), *classes())
    node.kubectl("rollout", "status", "deployment/coredns", "--namespace=kube-system", f"--timeout={_LIMIT:.0f}s")


def volumes(directory: Path) -> Iterator[Any]:
    """Yield a volume for each claim of the local overlay: there is no provisioner."""
    for claim, size in (("data-postgres-0", "10Gi"), ("redis", "5Gi")):
        (directory / claim).mkdir()
        one_of_us = {"key": "kubernetes.io/hostname", "operator": "In", "values": [CONTEXT]}
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": claim},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "standard",
                "local": {"path": str(directory / claim)},
                "claimRef": {"namespace": "valerix", "name": claim},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [one_of_us]}]}},
            },
        }


def classes() -> Iterator[Any]:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": default},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "nginx"},
        "spec": {"controller": "tests/none"},
    }


def _is_ready(node: Node) -> bool:
    time.sleep(_GLANCE)
    return node.kubectl("get", "--raw=/readyz", code=None) == "ok"


def _answers(node: Node, *command: str) -> bool:
    time.sleep(_GLANCE)
    return subprocess.run(node.inside(*command), capture_output=True, check=False).returncode == 0
