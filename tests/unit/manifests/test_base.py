"""Guarantees of the base, one per test, on the rendered objects."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.manifests.rendered import EVERYWHERE, SERVICES, base, mebibytes, of_kind, one, rendered, workloads
from valerix_cli import __version__
from valerix_cli.cluster.objects import Object, containers, labels


def pods(where: str) -> Iterator[tuple[str, Any]]:
    """Yield the pod template of each workload, with its name for messages."""
    found = [
        (f"{thing['kind']} {thing['metadata']['name']}", template) for thing, template in workloads(rendered(where))
    ]
    assert {f"Deployment {name}" for name in SERVICES} < dict(found).keys()
    yield from found


def container_of(name: str) -> Any:
    return one(base(), "Deployment", name)["spec"]["template"]["spec"]["containers"][0]


def test_the_namespace_enforces_restricted_pod_security() -> None:
    found = labels(one(base(), "Namespace", "valerix"))
    assert {found[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_pod_meets_restricted_pod_security_and_has_a_read_only_root(where: str) -> None:
    for name, template in pods(where):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(template):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_pod_has_its_own_service_account_without_a_token_or_service_variables(
    where: str,
) -> None:
    for name, template in pods(where):
        spec = template["spec"]
        assert spec["serviceAccountName"] == labels(template)["app.kubernetes.io/name"], name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_container_has_resource_requests_and_limits(where: str) -> None:
    for name, template in pods(where):
        for container in containers(template):
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}, name
            assert {"memory", "ephemeral-storage"} <= set(resources["limits"]), name


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_ephemeral_storage_limit_exceeds_the_volumes_and_the_log_of_a_pod(where: str) -> None:
    """A pod above the limit is evicted. Volumes on disk count, and so does its log, 50 MiB by default."""
    for name, template in pods(where):
        volumes = [volume["emptyDir"] for volume in template["spec"].get("volumes") or () if "emptyDir" in volume]
        assert all("sizeLimit" in volume for volume in volumes), name
        on_disk = sum(mebibytes(volume["sizeLimit"]) for volume in volumes if volume.get("medium") != "Memory")
        limits = [mebibytes(one_["resources"]["limits"]["ephemeral-storage"]) for one_ in containers(template)]
        assert max(limits) >= on_disk + 50, name


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_image_is_pinned(where: str) -> None:
    for pod, template in pods(where):
        for container in containers(template):
            name, _, tag = container["image"].rpartition(":")
            assert name, pod
            assert re.search(r"\d+\.\d+", tag), (pod, container["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_the_image_as_a_user_above_10000_in_two_replicas(name: str) -> None:
    deployment = one(base(), "Deployment", name)
    spec = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["replicas"] == 2
    assert spec["containers"][0]["image"] == f"valerix:{__version__}"
    assert spec["securityContext"]["runAsUser"] >= 10001
    assert spec["containers"][0]["resources"] == {
        "requests": {"memory": "256Mi", "cpu": "200m", "ephemeral-storage": "64Mi"},
        "limits": {"memory": "512Mi", "cpu": "500m", "ephemeral-storage": "512Mi"},
    }


def test_service_accounts_mount_no_token() -> None:
    accounts = of_kind(base(), "ServiceAccount")
    assert {one_["metadata"]["name"] for one_ in accounts} == {*SERVICES, "migrate", "postgres", "redis"}
    assert {one_["automountServiceAccountToken"] for one_ in accounts} == {False}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_stateful_set_is_governed_by_a_headless_service(where: str) -> None:
    """Only then do its pods have DNS names."""
    things = rendered(where)
    for stateful_set in of_kind(things, "StatefulSet"):
        service = one(things, "Service", stateful_set["spec"]["serviceName"])["spec"]
        assert service["clusterIP"] == "None"
        assert selects({"matchLabels": service["selector"]}, labels(stateful_set["spec"]["template"]))


@pytest.mark.parametrize("name", SERVICES)
def test_a_rollout_never_drops_below_the_replica_count_and_waits_for_new_pods(name: str) -> None:
    spec = one(base(), "Deployment", name)["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["minReadySeconds"] > 0
    assert spec["progressDeadlineSeconds"] > 60


@pytest.mark.parametrize("name", SERVICES)
def test_a_terminating_pod_serves_until_endpoints_are_updated_and_has_time_to_finish(name: str) -> None:
    spec = one(base(), "Deployment", name)["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    ends_by_itself = 15  # services.common.server.SHUTDOWN_TIMEOUT
    assert pause > 0
    assert spec["terminationGracePeriodSeconds"] > pause + ends_by_itself


@pytest.mark.parametrize("name", SERVICES)
def test_startup_readiness_and_liveness_probes_differ_in_path_and_patience(name: str) -> None:
    """Startup allows time, readiness checks dependencies, liveness only the process: a restart repairs no database."""
    container = container_of(name)
    start, ready, live = (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
    assert start["httpGet"]["path"] == live["httpGet"]["path"] == "/health/live"
    assert ready["httpGet"]["path"] == "/health/ready"
    patience = [probe["periodSeconds"] * probe["failureThreshold"] for probe in (start, ready, live)]
    assert patience == [60, 6, 60]
    assert ready["timeoutSeconds"] > 3  # the check of a dependency may take that long
    assert not any("exec" in probe for probe in (start, ready, live))


@pytest.mark.parametrize("name", SERVICES)
def test_pods_of_one_revision_spread_over_nodes_and_zones(name: str) -> None:
    spread = one(base(), "Deployment", name)["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [one_["topologyKey"] for one_ in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all("pod-template-hash" in one_["matchLabelKeys"] for one_ in spread)


@pytest.mark.parametrize("name", SERVICES)
def test_spreading_is_mandatory_by_zone_in_production_and_by_node_on_digitalocean(name: str) -> None:
    """DigitalOcean's nodes have no zone label: a pod that required one would stay pending."""
    assert {where: waited_for(things, name) for where, things in ((name, rendered(name)) for name in EVERYWHERE)} == {
        "base": {},
        "local": {},
        "staging": {},
        "production": {"topology.kubernetes.io/zone": "Honor"},
        "digitalocean": {"kubernetes.io/hostname": "Honor"},
    }


def waited_for(things: list[Object], name: str) -> dict[str, str]:
    """Return the topologies over which a pod has to spread, with the policy for tainted nodes."""
    spread = one(things, "Deployment", name)["spec"]["template"]["spec"]["topologySpreadConstraints"]
    strict = [one_ for one_ in spread if one_["whenUnsatisfiable"] == "DoNotSchedule"]
    return {one_["topologyKey"]: one_.get("nodeTaintsPolicy", "Ignore") for one_ in strict}


def test_workloads_with_two_replicas_have_a_disruption_budget_of_one() -> None:
    budgets = of_kind(base(), "PodDisruptionBudget")
    assert {one_["metadata"]["name"] for one_ in budgets} == set(SERVICES)
    assert {one_["spec"]["maxUnavailable"] for one_ in budgets} == {1}


def test_every_selector_selects_existing_pods() -> None:
    """An API server accepts a Service, budget or policy that selects nothing, and it has no effect."""
    for where, things in ((name, rendered(name)) for name in EVERYWHERE):
        templates = [labels(template) for _, template in workloads(things)]
        templates += [
            thing["spec"]["inheritedMetadata"]["labels"]
            | {"cnpg.io/cluster": thing["metadata"]["name"], "cnpg.io/podRole": "instance"}
            for thing in of_kind(things, "Cluster")
        ]
        for name, selector in selectors(things):
            if "acme.cert-manager.io/http01-solver" in str(selector):
                continue  # cert-manager creates them
            found = [one_ for one_ in templates if selects(selector, one_)]
            assert found, f"{where}: {name} selects no pod by {selector}"


def selectors(things: list[Object]) -> Iterator[tuple[str, Any]]:
    for thing in things:
        name, spec = f"{thing['kind']}/{thing['metadata']['name']}", thing.get("spec") or {}
        if thing["kind"] == "Service":
            yield name, {"matchLabels": spec["selector"]}
        if thing["kind"] == "PodDisruptionBudget":
            yield name, spec["selector"]
        if thing["kind"] == "NetworkPolicy":
            yield name, spec["podSelector"]
            for side in ("ingress", "egress"):
                for rule in spec.get(side) or ():
                    for peer in rule.get("from") or rule.get("to") or ():
                        if "podSelector" in peer and "namespaceSelector" not in peer:
                            yield name, peer["podSelector"]


def selects(selector: Any, found: Any) -> bool:
    by_label = all(found.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return by_label and all(expression(one_, found) for one_ in selector.get("matchExpressions") or ())


def expression(wanted: Any, found: Any) -> bool:
    there = found.get(wanted["key"]) in wanted["values"]
    return there if wanted["operator"] == "In" else not there


def test_a_deployment_selects_only_its_own_pods() -> None:
    for things in map(rendered, EVERYWHERE):
        for thing, template in workloads(things):
            if "selector" in thing["spec"]:
                assert selects(thing["spec"]["selector"], labels(template))


def test_the_ports_of_services_are_those_of_their_pods() -> None:
    for things in map(rendered, EVERYWHERE):
        ports = {
            labels(template)["app.kubernetes.io/name"]: {
                port["name"]: port["containerPort"]
                for container in containers(template)
                for port in container.get("ports") or ()
            }
            for _, template in workloads(things)
        }
        for service in of_kind(things, "Service"):
            if "cnpg.io/cluster" in service["spec"]["selector"]:
                continue  # its pods are not described here
            named = ports[service["spec"]["selector"]["app.kubernetes.io/name"]]
            for port in service["spec"]["ports"]:
                assert port["port"] == named[port["targetPort"]]
                assert port["protocol"] == "TCP"


def test_the_ingress_has_no_annotations() -> None:
    ingress = one(base(), "Ingress", "valerix")
    assert "annotations" not in ingress["metadata"]
    assert ingress["spec"]["ingressClassName"] == "nginx"


def test_a_changed_setting_replaces_the_pods_that_read_it() -> None:
    names = {one_["metadata"]["name"] for one_ in of_kind(base(), "ConfigMap")}
    assert all(re.fullmatch(r"(settings|audit|migrate)-[a-z0-9]{10}", name) for name in names)
    for name in SERVICES:
        assert container_of(name)["envFrom"][0]["configMapRef"]["name"] in names


def test_migrations_are_a_job_that_creates_databases_first() -> None:
    [job] = of_kind(base(), "Job")
    spec = job["spec"]["template"]["spec"]
    commands = [container["command"][2] for container in (*spec["initContainers"], *spec["containers"])]
    assert commands == ["valerix_cli.local.databases", "services.inventory.migrate", "services.order.migrate"]
    assert spec["restartPolicy"] == "Never"


def test_no_manifest_contains_a_secret() -> None:
    for things in map(rendered, EVERYWHERE):
        assert of_kind(things, "Secret") == []
        for _, template in workloads(things):
            for container in containers(template):
                for variable in container.get("env") or ():
                    secret = re.search(r"PASSWORD|TOKEN|AUTH", variable["name"])
                    assert not secret or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_the_quota_allows_every_pod_and_those_of_a_rollout() -> None:
    for things in map(rendered, EVERYWHERE):
        hard = one(things, "ResourceQuota", "valerix")["spec"]["hard"]
        assert "limits.cpu" not in hard  # an overlay may omit it
        pods = [(thing, template) for thing, template in workloads(things)]
        wanted = sum(2 * most(things, thing) for thing, _ in pods)
        assert wanted <= int(hard["pods"])
        cpu = sum(2 * most(things, thing) * requested(template) for thing, template in pods)
        assert cpu <= float(hard["requests.cpu"])


def most(things: list[Object], workload: Object) -> int:
    """Return the maximum number of replicas of a workload."""
    for scaler in of_kind(things, "HorizontalPodAutoscaler"):
        if scaler["spec"]["scaleTargetRef"]["name"] == workload["metadata"]["name"]:
            return int(scaler["spec"]["maxReplicas"])
    return int(workload["spec"].get("replicas", 1))


def requested(template: Any) -> float:
    """Return the cores that a pod requests."""
    return max(cores(container["resources"]["requests"]["cpu"]) for container in containers(template))


def cores(quantity: str) -> float:
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)
