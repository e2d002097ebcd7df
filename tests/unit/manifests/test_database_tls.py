"""Whether those who talk to PostgreSQL check whom they talk to: their connection strings, as kubelet expands them."""

import re
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from tests.unit.manifests.rendered import SERVICES, all_rendered, of_kind, one, raw_with, with_component, workloads
from valerix_cli.cluster.objects import NAME, Object, containers, labels

AUTHORITY = "/etc/postgres-ca/ca.crt"
CALLERS = {*SERVICES, "migrate"}


def expanded(things: list[Object], container: Any) -> dict[str, str]:
    """The variables of a container: each may name those before it; secrets are `secret`."""
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


def urls(things: list[Object]) -> dict[tuple[str, str, str], str]:
    """Each connection string of PostgreSQL by (pod, container, variable)."""
    return {
        (dict(labels(template))[NAME], container["name"], name): value
        for _, template in workloads(things)
        for container in containers(template)
        for name, value in expanded(things, container).items()
        if value.startswith("postgresql://")
    }


@pytest.mark.parametrize("where", all_rendered())
def test_every_connection_string_is_one(where: str) -> None:
    found = urls(all_rendered()[where])
    assert {pod for pod, _, _ in found} == CALLERS
    for url in found.values():
        assert "$(" not in url
        assert set(conninfo_to_dict(url)) >= {"user", "password", "host", "dbname"}


def test_without_the_component_nobody_is_told_of_certificates() -> None:
    assert not any("sslmode" in conninfo_to_dict(url) for url in urls(with_component("cloudnative-pg")).values())


def test_with_it_every_caller_checks_the_certificate_by_the_authority_of_the_operator() -> None:
    things = with_component("database-tls")
    found = urls(things)
    assert {pod for pod, _, _ in found} == CALLERS
    for url in found.values():
        told = conninfo_to_dict(url)
        assert (told["host"], told["sslmode"], told["sslrootcert"]) == ("postgres-rw", "verify-full", AUTHORITY)
    [cluster] = of_kind(things, "Cluster")
    for _, template in workloads(things):
        talking = [
            one_ for one_ in containers(template) if any("postgresql://" in v for v in expanded(things, one_).values())
        ]
        for container in talking:
            assert authority(template, container) == f"{cluster['metadata']['name']}-ca"


def authority(template: Any, container: Any) -> str:
    """The Secret that a container has the authority of, and nothing else of it."""
    [mounted] = [one_ for one_ in container["volumeMounts"] if one_["mountPath"] == AUTHORITY.rpartition("/")[0]]
    [volume] = [one_ for one_ in template["spec"]["volumes"] if one_["name"] == mounted["name"]]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    return str(volume["secret"]["secretName"])


def test_whoever_dumps_and_restores_checks_it_too() -> None:
    things = list(yaml.safe_load_all(raw_with(["cloudnative-pg", "backup", "database-tls"])))
    found = 0
    for thing, template in workloads(things):
        if thing["kind"] == "CronJob":
            for container in containers(template):
                told = expanded(things, container)
                if "PGHOST" in told:
                    found += 1
                    assert (told["PGSSLMODE"], told["PGSSLROOTCERT"]) == ("verify-full", AUTHORITY)
                    assert authority(template, container) == "postgres-ca"
    assert found == 2, "the dump and the restore"
