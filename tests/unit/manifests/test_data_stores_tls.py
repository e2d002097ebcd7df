"""TLS verification of PostgreSQL and Redis by all clients, from the settings of all pods as kubelet expands them."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from tests.unit.manifests.rendered import (
    EVERYWHERE,
    SERVICES,
    one,
    parsed,
    raw_with,
    rendered,
    with_component,
    workloads,
)
from valerix_cli.cluster.objects import NAME, Object, containers, labels
from valerix_cli.cluster.overlays import MANIFESTS

DEPLOY = MANIFESTS.parent / "docs" / "deploy.md"
AUTHORITY = "/etc/data-stores-ca/ca.crt"
SHAPES = {
    "base": ["backup", "data-stores-tls"],
    "cloudnative-pg": ["cloudnative-pg", "backup", "data-stores-tls"],
    "pooler": ["cloudnative-pg", "pooler", "backup", "data-stores-tls"],
    "import": ["backup", "data-stores-tls", "cloudnative-pg-import"],
}
"""The components of each platform with TLS to its data stores."""


@pytest.fixture(scope="module", params=SHAPES)
def things(request: pytest.FixtureRequest) -> list[Object]:
    return parsed(raw_with(SHAPES[request.param]))


def expanded(things: list[Object], container: Any) -> dict[str, str]:
    """Return the variables of a container, with references to earlier ones expanded; secrets are `secret`."""
    found: dict[str, str] = {}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if "configMapKeyRef" in source:
            key = source["configMapKeyRef"]
            value = one(things, "ConfigMap", key["name"])["data"][key["key"]]
        else:
            value = "secret" if source else entry["value"]
        found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found.get(match[1], match[0]), value)
    return found


def urls(things: list[Object], scheme: str) -> dict[tuple[str, str, str], str]:
    """Return each value that begins with `scheme`, by (pod, container, variable)."""
    return {
        (dict(labels(template))[NAME], container["name"], name): value
        for _, template in workloads(things)
        for container in containers(template)
        for name, value in expanded(things, container).items()
        if value.startswith(scheme)
    }


def url_of_order(scheme: str) -> str:
    """Return the connection string of the order service."""
    found = urls(with_component("data-stores-tls"), scheme)
    [url] = [url for (pod, _, _), url in found.items() if pod == "order" and "://" in url]
    return url


def talking(things: list[Object]) -> Iterator[tuple[Any, Any, dict[str, str]]]:
    """Yield (pod, container, variables) of each container with the address of PostgreSQL or Redis."""
    for _, template in workloads(things):
        for container in containers(template):
            variables = expanded(things, container)
            if "PGHOST" in variables or any(value.startswith(("postgresql:", "redis")) for value in variables.values()):
                yield template, container, variables


def names_of(things: list[Object], certificate: str) -> set[str]:
    return set(one(things, "Certificate", certificate)["spec"]["dnsNames"])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_connection_string_is_valid(where: str) -> None:
    things = rendered(where)
    databases, caches = urls(things, "postgresql:"), urls(things, "redis")
    assert {pod for pod, _, _ in databases} == {*SERVICES, "migrate"}
    assert {pod for pod, _, name in caches if name == "VALERIX_REDIS_URL"} == set(SERVICES)
    for url in databases.values():
        assert "$(" not in url
        assert set(conninfo_to_dict(url)) == {"user", "password", "host", "port", "dbname"}
    for (_, _, name), url in caches.items():
        assert name != "VALERIX_REDIS_URL" or url == "redis://:secret@redis:6379/0"


def test_every_postgres_connection_verifies_the_certificate_and_host(things: list[Object]) -> None:
    found = urls(things, "postgresql:")
    assert {pod for pod, _, _ in found} == {*SERVICES, "migrate"}
    for url in found.values():
        variables = conninfo_to_dict(url)
        assert (variables["sslmode"], variables["sslrootcert"]) == ("verify-full", AUTHORITY)
        assert variables["host"] in names_of(things, "postgres")


def test_dumps_and_restores_verify_the_certificate_too(things: list[Object]) -> None:
    found = [variables for _, _, variables in talking(things) if "PGHOST" in variables]
    assert len(found) == 2, "the dump and the restore"
    for variables in found:
        assert (variables["PGSSLMODE"], variables["PGSSLROOTCERT"]) == ("verify-full", AUTHORITY)
        assert variables["PGHOST"] in names_of(things, "postgres")


def test_every_redis_connection_verifies_the_certificate_and_host(things: list[Object]) -> None:
    found = {key: url for key, url in urls(things, "redis").items() if "://" in url}
    assert {pod for pod, _, _ in found} == set(SERVICES)
    for url in found.values():
        parts = urlsplit(url)
        assert (parts.scheme, parts.port) == ("rediss", 6379)
        assert parse_qs(parts.query) == {"ssl_ca_certs": [AUTHORITY]}  # redis-py checks chain and name by default
        assert parts.hostname in names_of(things, "redis")


def test_clients_mount_the_authority_certificate_without_its_key(things: list[Object]) -> None:
    for template, container, _ in talking(things):
        [mounted] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == AUTHORITY.rpartition("/")[0]]
        [volume] = [volume for volume in template["spec"]["volumes"] if volume["name"] == mounted["name"]]
        assert volume["secret"] == {"secretName": "data-stores-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_one_authority_signs_both_certificates_and_keeps_its_key_at_renewal(things: list[Object]) -> None:
    issuer = one(things, "Issuer", "data-stores")["spec"]["ca"]
    authority = one(things, "Certificate", "data-stores-ca")["spec"]
    assert authority["isCA"]
    assert authority["secretName"] == issuer["secretName"] == "data-stores-ca"
    assert authority["privateKey"]["rotationPolicy"] == "Never", "else what it has signed is not known by the new one"
    for name in ("postgres", "redis"):
        signed = one(things, "Certificate", name)["spec"]
        assert signed["issuerRef"] == {"kind": "Issuer", "name": "data-stores"}
        assert signed["usages"] == ["server auth"]


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "postgres"), ("Deployment", "redis")])
def test_only_the_server_can_read_its_key(kind: str, name: str) -> None:
    """PostgreSQL accepts a key owned by root and readable by its group, but not by others; the group is fsGroup."""
    things = with_component("data-stores-tls")
    pod = one(things, kind, name)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
    [mounted] = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    assert volume["secret"]["secretName"] == one(things, "Certificate", name)["spec"]["secretName"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert f"{mounted['mountPath']}/tls.key" in f"{container['args']} {container['env']}"


def test_an_import_connects_to_the_old_postgres_with_the_default_sslmode() -> None:
    things = parsed(raw_with(SHAPES["import"]))
    [source] = one(things, "Cluster", "postgres")["spec"]["externalClusters"]
    assert "sslmode" not in source["connectionParameters"]


@pytest.mark.parametrize("shape", ["cloudnative-pg", "pooler"])
def test_the_operator_gets_the_certificate_and_reloads_a_renewed_one(shape: str) -> None:
    things = parsed(raw_with(SHAPES[shape]))
    certificate = one(things, "Certificate", "postgres")["spec"]
    given = one(things, "Cluster", "postgres")["spec"]["certificates"]
    assert set(given.values()) == {certificate["secretName"]}
    assert "cnpg.io/reload" in certificate["secretTemplate"]["labels"]


@pytest.mark.parametrize("namespace", ["valerix", "shop"])
def test_the_certificates_have_their_host_names_in_any_namespace(namespace: str) -> None:
    things = with_component("data-stores-tls", namespace)
    for name in ("postgres", "redis"):
        suffixes = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
        assert {name + suffix for suffix in suffixes} <= names_of(things, name)


def test_a_documented_patch_removes_the_certificates_of_cert_manager() -> None:
    """With the patch of docs/deploy.md; the certificate of the Ingress stays."""
    [patch] = re.findall(r"```yaml\n(patches:\n  - target: # no certificates.*?)```", DEPLOY.read_text(), re.DOTALL)
    things = parsed(raw_with(["tls", "data-stores-tls"], **yaml.safe_load(patch)))
    assert [thing["metadata"]["name"] for thing in things if "cert-manager" in thing["apiVersion"]] == ["valerix"]
    assert one(things, "StatefulSet", "postgres")
