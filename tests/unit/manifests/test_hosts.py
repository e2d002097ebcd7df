"""Host names of the pods, and the names that the services accept."""

import functools
import re
from collections.abc import Iterator

import pytest

from services.common.hosts import HostPolicy
from tests.unit.manifests.rendered import EVERYWHERE, SERVICES, of_kind, one, rendered
from valerix_cli.cluster.objects import Object, containers, pod_templates
from valerix_cli.cluster.overlays import MANIFESTS, render

NAMESPACE = "valerix"
URL = re.compile(r"http://([a-z-]+):300[0-3]")


def policy(things: list[Object], service: str) -> HostPolicy:
    """Return the host policy of a service, with its variables expanded as kubelet does."""
    [container] = one(things, "Deployment", service)["spec"]["template"]["spec"]["containers"]
    [setting] = [entry["value"] for entry in container["env"] if entry["name"] == "VALERIX_ALLOWED_HOSTS"]
    [source] = [entry["valueFrom"] for entry in container["env"] if entry["name"] == "PUBLIC_HOSTS"]
    config = one(things, "ConfigMap", source["configMapKeyRef"]["name"])["data"]
    [inside] = [entry["valueFrom"] for entry in container["env"] if entry["name"] == "NAMESPACE"]
    assert inside == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    expanded = setting.replace("$(PUBLIC_HOSTS)", config[source["configMapKeyRef"]["key"]])
    expanded = expanded.replace("$(NAMESPACE)", one(things, "Deployment", service)["metadata"]["namespace"])
    assert "$(" not in expanded
    return HostPolicy(name for name in expanded.split(",") if name)


def is_allowed(hosts: HostPolicy, host: str) -> bool:
    scope = {"method": "POST", "http_version": "1.1", "headers": [(b"host", host.encode())]}
    return hosts.refusal(scope, {}) is None  # type: ignore[arg-type]  # the parts of a request that it reads


@functools.cache
def local_in_shop() -> list[Object]:
    return render(MANIFESTS / "overlays" / "local", namespace="shop")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_accepts_its_host_names_in_any_namespace(service: str) -> None:
    elsewhere = policy(local_in_shop(), service)
    assert is_allowed(elsewhere, f"{service}-pods.shop")
    assert not is_allowed(elsewhere, f"{service}-pods.valerix")


def names(things: list[Object]) -> Iterator[tuple[str, str]]:
    """Yield (service, name) for the names of a Service and those in the settings of all pods."""
    for service in of_kind(things, "Service"):
        name = service["metadata"]["name"]
        if (target := name.removesuffix("-pods")) in SERVICES:
            for suffix in ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local", "."):
                yield target, name + suffix.replace("..", ".")
    for template in (template for thing in things for template in pod_templates(thing)):
        for container in containers(template):
            for found in URL.findall(str(container)):
                yield found.removesuffix("-pods"), found
    for config in of_kind(things, "ConfigMap"):
        for found in URL.findall(str(config.get("data"))):
            yield found.removesuffix("-pods"), found


def public(things: list[Object]) -> set[str]:
    """Return the public host names."""
    ingress = {rule["host"] for one_ in of_kind(things, "Ingress") for rule in one_["spec"]["rules"] if "host" in rule}
    return ingress | {name for one_ in of_kind(things, "HTTPRoute") for name in one_["spec"].get("hostnames", ())}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_service_accepts_every_host_name_used_for_it(where: str) -> None:
    things = rendered(where)
    reached = {*names(things), *((service, host) for host in public(things) for service in ("order", "frontend"))}
    assert {("inventory", "inventory"), ("order", "order-pods")} <= reached
    assert [(service, host) for service, host in sorted(reached) if not is_allowed(policy(things, service), host)] == []


@pytest.mark.parametrize("where", EVERYWHERE)
def test_no_service_accepts_a_foreign_host_name(where: str) -> None:
    things = rendered(where)
    for service in SERVICES:
        hosts = policy(things, service)
        assert not any(is_allowed(hosts, host) for host in ("evil.example", "order.evil.example", "svc", "example.com"))
