"""Guarantees of the PostgreSQL and Redis of the base, one per test, on the rendered objects."""

import re

import pytest

from tests.unit.manifests.rendered import EVERYWHERE, base, mebibytes, of_kind, one, rendered
from valerix_cli.cluster.objects import labels


def test_postgres_is_one_replica_with_ten_gigabytes() -> None:
    found = one(base(), "StatefulSet", "postgres")["spec"]
    assert found["replicas"] == 1
    [claim] = found["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_volume_claim_has_the_own_label(where: str) -> None:
    things = rendered(where)
    claims = of_kind(things, "PersistentVolumeClaim")
    claims += [claim for one_ in of_kind(things, "StatefulSet") for claim in one_["spec"]["volumeClaimTemplates"]]
    assert claims
    assert {labels(claim).get("app.kubernetes.io/part-of") for claim in claims} == {"valerix"}


def test_the_shared_memory_of_postgres_fits_its_memory_limit() -> None:
    """Both count: half of the limit is left for the memory of each connection."""
    spec = one(base(), "StatefulSet", "postgres")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    shm = mounted["/dev/shm"]  # noqa: S108 - a path in a container
    [shared] = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == shm]
    assert shared["medium"] == "Memory"
    [buffers] = [value for value in container["args"] if value.startswith("-cshared_buffers=")]
    taken = mebibytes(shared["sizeLimit"]) + int(re.findall(r"=(\d+)MB", buffers)[0])
    assert 2 * taken <= mebibytes(container["resources"]["limits"]["memory"])


def test_postgres_commits_are_durable_and_its_shutdown_does_not_wait_for_clients() -> None:
    container = one(base(), "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0]
    assert "-csynchronous_commit=on" in container["args"]
    assert not any("fsync" in argument for argument in container["args"])
    assert container["lifecycle"]["preStop"]["exec"]["command"][:3] == ["pg_ctl", "stop", "--mode=fast"]


def test_two_database_pods_never_share_a_directory() -> None:
    """A lock on the volume, held by the server itself as long as it or one of its children lives."""
    container = one(base(), "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0]
    [volume] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "data"]
    assert container["command"][:3] == ["flock", "--no-fork", f"{volume}/lock"]


def test_redis_is_one_replica_with_five_gigabytes_that_is_recreated() -> None:
    found = one(base(), "Deployment", "redis")["spec"]
    assert found["replicas"] == 1
    assert found["strategy"] == {"type": "Recreate"}
    assert one(base(), "PersistentVolumeClaim", "redis")["spec"]["resources"]["requests"]["storage"] == "5Gi"


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_busy_datastore_is_not_killed_by_its_probe(name: str) -> None:
    kind = "StatefulSet" if name == "postgres" else "Deployment"
    container = one(base(), kind, name)["spec"]["template"]["spec"]["containers"][0]
    assert "exec" in container["readinessProbe"]
    assert "tcpSocket" in container["livenessProbe"]
    assert container["startupProbe"]["failureThreshold"] > container["readinessProbe"]["failureThreshold"]
    assert not any(
        command in {"sh", "bash"}
        for kind_ in ("startup", "readiness")
        for command in container[f"{kind_}Probe"]["exec"]["command"]
    )
