"""Changes of each optional component to the base."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.unit.manifests.rendered import COMPONENTS, NEEDED, OVERLAYS, base, of_kind, one, overlay, with_component
from tests.unit.manifests.test_base import selects
from tests.unit.manifests.test_paths import published
from valerix_cli.cluster import secrets
from valerix_cli.cluster.objects import Object
from valerix_cli.cluster.overlays import MANIFESTS
from valerix_cli.local.databases import OWNERS
from valerix_cli.local.stack import AUDITOR


def settings(things: list[Object]) -> dict[str, str]:
    [found] = [one_ for one_ in of_kind(things, "ConfigMap") if one_["metadata"]["name"].startswith("settings-")]
    return dict(found["data"])


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_alone_renders_a_platform(name: str) -> None:
    things = with_component(name)
    refs = [(thing["kind"], thing["metadata"]["name"]) for thing in things]
    assert len(set(refs)) == len(refs)
    assert all(thing["kind"] == "Namespace" or thing["metadata"]["namespace"] == "valerix" for thing in things)
    assert all(thing["metadata"]["labels"]["app.kubernetes.io/part-of"] == "valerix" for thing in things)
    assert secrets.needed(things) is not None


def test_every_component_is_described_in_its_file() -> None:
    for name in COMPONENTS:
        assert (MANIFESTS / "components" / name / "kustomization.yaml").read_text().startswith("# "), name


def test_only_the_chaos_component_allows_gremlins() -> None:
    assert "VALERIX_CHAOS_ALLOWED" not in settings(base())
    assert settings(with_component("chaos"))["VALERIX_CHAOS_ALLOWED"] == "1"
    assert "VALERIX_CHAOS_ALLOWED" not in settings(overlay("production"))


def test_a_gateway_replaces_the_ingress_with_the_same_routes() -> None:
    things = with_component("gateway-api")
    assert of_kind(things, "Ingress") == []
    assert published(things) == published(base())
    rules = one(things, "HTTPRoute", "valerix")["spec"]["rules"]
    assert max(len(rule["matches"]) for rule in rules) <= 8  # the limit of Gateway API 1.0


def test_the_tls_component_encrypts_the_ingress_and_secures_cookies() -> None:
    things = with_component("tls")
    certificate = one(things, "Certificate", "valerix")["spec"]
    assert one(things, "Ingress", "valerix")["spec"]["tls"] == [{"secretName": certificate["secretName"]}]
    assert settings(things)["VALERIX_SECURE_COOKIES"] == "true"


def routes(things: list[Object], listener: str) -> list[Any]:
    """Return the rules of every route of one listener of the Gateway."""
    return [
        rule
        for route in of_kind(things, "HTTPRoute")
        for parent in route["spec"]["parentRefs"]
        if parent.get("sectionName", listener) == listener
        for rule in route["spec"]["rules"]
    ]


@pytest.mark.parametrize("where", ["alone", "digitalocean"])
def test_a_gateway_with_tls_serves_only_a_redirect_over_http(where: str) -> None:
    things = with_component("gateway-tls") if where == "alone" else overlay(where)
    certificate = one(things, "Certificate", "valerix")["spec"]
    listeners = one(things, "Gateway", "valerix")["spec"]["listeners"]
    assert {one_["name"]: one_["protocol"] for one_ in listeners} == {"http": "HTTP", "https": "HTTPS"}
    assert listeners[1]["tls"]["certificateRefs"] == [{"name": certificate["secretName"]}]
    [plain] = routes(things, "http")
    assert set(plain) == {"filters"}
    [redirect] = plain["filters"]
    assert redirect["requestRedirect"] == {"scheme": "https", "statusCode": 301}
    assert routes(things, "https") == routes(with_component("gateway-api"), "http")
    assert settings(things)["VALERIX_SECURE_COOKIES"] == "true"


def test_every_gateway_of_an_overlay_uses_its_certificate() -> None:
    for name in OVERLAYS:
        things = overlay(name)
        if of_kind(things, "Gateway") and of_kind(things, "Certificate"):
            assert [rule for rule in routes(things, "http") if "backendRefs" in rule] == [], name


@pytest.mark.parametrize("name", ["tls", "gateway-tls"])
def test_network_policies_allow_the_http_01_challenge_pods(name: str) -> None:
    """All other traffic is denied. cert-manager gives these pods this label and port."""
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    rules = [
        rule
        for policy in of_kind(with_component(name), "NetworkPolicy")
        if policy["spec"]["podSelector"] == {"matchLabels": solver}
        for rule in policy["spec"]["ingress"]
    ]
    assert [port for rule in rules for port in rule["ports"]] == [{"port": 8089, "protocol": "TCP"}] * len(rules)
    way_in = of_kind(base(), "NetworkPolicy")
    [order] = [policy["spec"] for policy in way_in if policy["metadata"]["name"] == "order"]
    [by_ingress] = [rule["from"] for rule in rules if "from" in rule]
    assert by_ingress[0] in order["ingress"][0]["from"]  # the Ingress controller, as for the services
    assert any("from" not in rule for rule in rules) == (name == "gateway-tls")  # Cilium's gateway is no pod


def test_network_policies_allow_spans_to_the_configured_collector() -> None:
    things = with_component("otlp")
    address = urlsplit(settings(things)["OTEL_EXPORTER_OTLP_ENDPOINT"])
    _, _, namespace = str(address.hostname).partition(".")
    policy = one(things, "NetworkPolicy", "otlp")["spec"]
    [rule] = policy["egress"]
    assert rule["ports"] == [{"port": address.port, "protocol": "TCP"}]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]
    services = [one(things, "Deployment", name) for name in ("order", "worker", "inventory", "frontend")]
    assert all(selects(policy["podSelector"], one_["spec"]["template"]["metadata"]["labels"]) for one_ in services)


def test_keda_queries_the_prometheus_of_its_own_namespace() -> None:
    for namespace in ("valerix", "shop"):
        [trigger] = one(with_component("queue-autoscaling", namespace), "ScaledObject", "worker")["spec"]["triggers"]
        assert trigger["metadata"]["serverAddress"] == f"http://prometheus.{namespace}:9090"


@pytest.mark.parametrize(
    ("name", "kind", "scaled"),
    [
        ("autoscaling", "HorizontalPodAutoscaler", {"order", "inventory", "frontend"}),
        ("queue-autoscaling", "ScaledObject", {"worker"}),
    ],
)
def test_an_autoscaler_alone_sets_the_replica_count_with_a_minimum_of_two(
    name: str, kind: str, scaled: set[str]
) -> None:
    things = with_component(name)
    scalers = of_kind(things, kind)
    assert {one_["spec"]["scaleTargetRef"]["name"] for one_ in scalers} == scaled
    for scaler in scalers:
        spec = scaler["spec"]
        assert (spec.get("minReplicas") or spec.get("minReplicaCount")) == 2
        deployment = one(things, "Deployment", spec["scaleTargetRef"]["name"])
        assert "replicas" not in deployment["spec"]  # else an apply would reset it
        assert one(things, "PodDisruptionBudget", deployment["metadata"]["name"])


def test_workers_are_scaled_by_the_age_of_the_queue() -> None:
    [trigger] = one(with_component("queue-autoscaling"), "ScaledObject", "worker")["spec"]["triggers"]
    assert "order_queue_oldest_age_seconds" in trigger["metadata"]["query"]
    assert NEEDED["queue-autoscaling"] == ("monitoring",)
    assert trigger["metadata"]["serverAddress"] == "http://prometheus.valerix:9090"


def commands(things: list[Object], name: str) -> list[str]:
    """Return the scripts of a CronJob's pod, in the order in which they run."""
    pod = one(things, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return [container["command"][1] for container in (*pod.get("initContainers", ()), *pod["containers"])]


def test_a_backup_dumps_both_databases_and_checks_a_restore() -> None:
    things = with_component("backup")
    assert one(things, "CronJob", "backup")["spec"]["concurrencyPolicy"] == "Forbid"
    assert commands(things, "backup") == ["/scripts/dump.sh", "/scripts/restore-check.sh"]


def test_a_restore_runs_only_as_a_manually_created_job_without_retries() -> None:
    things = with_component("backup")
    spec = one(things, "CronJob", "restore")["spec"]
    assert spec["suspend"] is True
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert commands(things, "restore") == ["/scripts/restore.sh"]


def test_a_dump_is_uploaded_after_it_was_restored_and_downloaded_before_it_is() -> None:
    things = with_component("backup-object-storage")
    assert commands(things, "backup") == [
        "/scripts/dump.sh",
        "/scripts/restore-check.sh",
        "/object-storage/upload.sh",
    ]
    assert commands(things, "restore") == ["/object-storage/download.sh", "/scripts/restore.sh"]
    assert settings(things)["BACKUP_REMOTE"] == "backups:valerix"
    for name in ("backup", "restore"):
        pod = one(things, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert {"name": "secrets", "secret": {"secretName": "backup-object-storage", "defaultMode": 0o440}} in pod[
            "volumes"
        ]


def test_recovery_reads_the_archive_of_base_backups_and_wal_and_archives_elsewhere() -> None:
    things = with_component("cloudnative-pg-backup")
    store, cluster = one(things, "ObjectStore", "postgres"), one(things, "Cluster", "postgres")
    backup = one(things, "ScheduledBackup", "postgres")["spec"]
    [plugin] = cluster["spec"]["plugins"]
    assert plugin["isWALArchiver"] is True
    assert plugin["parameters"]["barmanObjectName"] == store["metadata"]["name"]
    assert (backup["cluster"]["name"], backup["method"]) == (cluster["metadata"]["name"], "plugin")
    assert backup["pluginConfiguration"]["name"] == plugin["name"]
    assert len(backup["schedule"].split()) == 6  # with seconds, unlike a CronJob's

    recovered = one(with_component("cloudnative-pg-recovery"), "Cluster", "postgres")["spec"]
    [source] = recovered["externalClusters"]
    assert recovered["bootstrap"]["recovery"]["source"] == source["name"]
    assert source["plugin"]["parameters"] == plugin["parameters"]
    [archiver] = recovered["plugins"]
    assert archiver["parameters"]["serverName"] != plugin["parameters"]["serverName"]


def test_cloudnative_pg_replaces_postgres_with_two_databases_and_synchronous_standbys() -> None:
    things = with_component("cloudnative-pg")
    assert of_kind(things, "StatefulSet") == []
    cluster = one(things, "Cluster", "postgres")["spec"]
    assert cluster["instances"] == 3
    assert cluster["storage"]["size"] == "10Gi"
    assert cluster["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert {one_["spec"]["name"]: one_["spec"]["owner"] for one_ in of_kind(things, "Database")} == {
        "order_db": "order_service",
        "inventory_db": "inventory_service",
    }
    assert settings(things)["DATABASE_HOST"] == "postgres-rw"  # the operator's service for the primary
    [job] = of_kind(things, "Job")
    assert one(things, "ConfigMap", job["metadata"]["name"])["data"]["DATABASE_HOST"] == "postgres-rw"


def test_an_import_copies_all_roles_and_databases_while_no_service_runs() -> None:
    things = with_component("cloudnative-pg-import")
    cluster = one(things, "Cluster", "postgres")["spec"]
    wanted = cluster["bootstrap"]["initdb"]["import"]
    assert wanted["type"] == "monolith"
    assert set(wanted["roles"]) == {role["name"] for role in cluster["managed"]["roles"]} == {*OWNERS, AUDITOR}
    assert set(wanted["databases"]) == {one_["spec"]["name"] for one_ in of_kind(things, "Database")}
    assert set(wanted["databases"]) == set(OWNERS.values())
    [source] = cluster["externalClusters"]
    assert source["name"] == wanted["source"]["externalCluster"]
    assert source["connectionParameters"]["host"] == one(things, "Service", "postgres")["metadata"]["name"]
    assert source["password"]["name"] == cluster["superuserSecret"]["name"]
    replicas = {thing["metadata"]["name"]: thing["spec"].get("replicas") for thing in of_kind(things, "Deployment")}
    assert {name for name, count in replicas.items() if count == 0} == {"order", "worker", "inventory"}
    assert settings(things)["DATABASE_HOST"] == "postgres"  # the new one is not used before it is complete


def test_an_import_keeps_the_old_postgres_and_its_own_service() -> None:
    things = with_component("cloudnative-pg-import")
    old = one(things, "StatefulSet", "postgres")["spec"]
    assert old == one(base(), "StatefulSet", "postgres")["spec"]
    selector = one(things, "Service", "postgres")["spec"]["selector"]
    assert selector["statefulset.kubernetes.io/pod-name"] == "postgres-0"
    pod, account = old["template"]["spec"], one(things, "ServiceAccount", "postgres")
    assert (pod["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, True)


def test_a_cluster_with_an_import_differs_only_in_its_bootstrap() -> None:
    plain, importing = (
        one(with_component(name), "Cluster", "postgres")["spec"] for name in ("cloudnative-pg", "cloudnative-pg-import")
    )
    assert {name: value for name, value in importing.items() if name not in {"bootstrap", "externalClusters"}} == plain


def test_only_the_services_connect_through_the_pooler() -> None:
    things = with_component("pooler")
    pooler = one(things, "Pooler", "postgres-pooler")
    assert pooler["spec"]["cluster"]["name"] == one(things, "Cluster", "postgres")["metadata"]["name"]
    assert pooler["spec"]["type"] == "rw"
    assert pooler["spec"]["pgbouncer"]["poolMode"] == "transaction"
    assert settings(things)["VALERIX_DATABASE_POOLED"] == "1"
    assert settings(things)["DATABASE_HOST"] == "postgres-rw"  # for migrations, audits and backups
    for name in ("order", "worker", "inventory"):
        [container] = one(things, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        names = [variable["name"] for variable in container["env"]]
        assert {"name": "DATABASE_HOST", "value": pooler["metadata"]["name"]} in container["env"]
        assert names.index("DATABASE_HOST") < names.index("VALERIX_DATABASE_URL"), "a variable is known from there on"


def test_a_pooler_leaves_postgres_connections_for_others() -> None:
    things = with_component("pooler")
    pooler, cluster = one(things, "Pooler", "postgres-pooler")["spec"], one(things, "Cluster", "postgres")["spec"]
    roles = len(of_kind(things, "Database"))
    most = pooler["instances"] * int(pooler["pgbouncer"]["parameters"]["default_pool_size"]) * roles
    assert most <= int(cluster["postgresql"]["parameters"]["max_connections"]) / 2


def test_the_command_line_creates_no_secrets_with_external_secrets() -> None:
    assert secrets.needed(with_component("external-secrets")) == []
    assert secrets.needed(base()) == sorted(set(secrets.RECIPES) - {"grafana"})


def test_production_services_have_memory_limits_and_no_cpu_limits() -> None:
    for name in ("order", "worker", "inventory", "frontend"):
        limits: Any = one(overlay("production"), "Deployment", name)["spec"]["template"]["spec"]["containers"][0][
            "resources"
        ]["limits"]
        assert "cpu" not in limits
        assert "memory" in limits


def test_deleted_claims_on_digitalocean_keep_their_volumes() -> None:
    things = overlay("digitalocean")
    claims = [claim["spec"] for claim in of_kind(things, "PersistentVolumeClaim")]
    claims += [claim["spec"] for claim in one(things, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"]]
    assert {claim["storageClassName"] for claim in claims} == {"do-block-storage-retain"}
