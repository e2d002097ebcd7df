"""Network policies: exactly the required connections are allowed, at both ends."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.integration.frontend.test_hostile import ROUTES
from tests.unit.manifests.rendered import base, of_kind, one, rendered, with_component
from tests.unit.manifests.test_base import selects
from valerix_cli.cluster.objects import NAME, Object, labels, pod_templates

PATHS = {
    ("frontend", "order", 3001),
    ("frontend", "inventory", 3002),
    ("frontend", "worker", 3003),
    ("frontend", "postgres", 5432),  # it runs audits
    ("frontend", "redis", 6379),  # its replicas share sign-outs
    ("order", "inventory", 3002),
    ("order", "postgres", 5432),
    ("order", "redis", 6379),
    ("worker", "inventory", 3002),
    ("worker", "postgres", 5432),
    ("worker", "redis", 6379),
    ("inventory", "postgres", 5432),
    ("inventory", "redis", 6379),
    ("migrate", "postgres", 5432),
}
MONITORED = {
    ("prometheus", "order", 3001),
    ("prometheus", "worker", 3003),
    ("prometheus", "inventory", 3002),
    ("prometheus", "frontend", 3000),
    ("grafana", "prometheus", 9090),
    ("prometheus", "alertmanager", 9093),
}
BACKED_UP = {("backup", "postgres", 5432)}
EXPECTED = {
    "base": PATHS,
    "local": PATHS,
    "staging": PATHS | MONITORED | BACKED_UP,
    "production": PATHS | MONITORED | BACKED_UP | {("postgres", "postgres", 5432), ("prometheus", "postgres", 9187)},
    "digitalocean": PATHS | MONITORED | BACKED_UP,
}


def pods(things: list[Object]) -> dict[str, dict[str, str]]:
    """Return the labels of each kind of pod, by its name."""
    found = {
        dict(labels(template))[NAME]: dict(labels(template)) for thing in things for template in pod_templates(thing)
    }
    for cluster in of_kind(things, "Cluster"):
        inherited = cluster["spec"]["inheritedMetadata"]["labels"]
        name = "instances" if inherited[NAME] in found else inherited[NAME]  # next to the StatefulSet that they replace
        found[name] = inherited | {"cnpg.io/cluster": cluster["metadata"]["name"]}
    for pooler in of_kind(things, "Pooler"):  # with the operator's labels, whatever their template
        made = {NAME: "postgresql", "cnpg.io/poolerName": pooler["metadata"]["name"]}
        found["pooler"] = made | {"cnpg.io/cluster": pooler["spec"]["cluster"]["name"]}
    return found


def ports(things: list[Object]) -> dict[str, set[int]]:
    """Return the listening ports of each kind of pod."""
    found = {
        dict(labels(template))[NAME]: {
            port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container.get("ports") or ()
        }
        for thing in things
        for template in pod_templates(thing)
    }
    managed = {name for name, has in pods(things).items() if "cnpg.io/cluster" in has}
    return found | {name: {5432, 9187} for name in managed}


def allowed(things: list[Object], side: str) -> set[tuple[str, str, int]]:
    """Return (from, to, port) allowed by the policies of one side, for listening ports."""
    every, listening = pods(things), ports(things)
    found = set()
    for policy in of_kind(things, "NetworkPolicy"):
        mine = [name for name, has in every.items() if selects(policy["spec"]["podSelector"], has)]
        for rule in policy["spec"].get(side) or ():
            peers = rule.get("from" if side == "ingress" else "to") or ()
            others = [name for name, has in every.items() if any(selects_pod(peer, has) for peer in peers)]
            for me in mine:
                for other in others:
                    source, sink = (other, me) if side == "ingress" else (me, other)
                    found |= {(source, sink, port) for port in within(rule["ports"]) if port in listening[sink]}
    return found


def selects_pod(peer: Any, has: dict[str, str]) -> bool:
    return "podSelector" in peer and "namespaceSelector" not in peer and selects(peer["podSelector"], has)


def within(rules: list[Any]) -> Iterator[int]:
    for rule in rules:
        yield from range(rule["port"], rule.get("endPort", rule["port"]) + 1)


@pytest.mark.parametrize("where", EXPECTED)
def test_network_policies_open_exactly_the_used_paths_at_both_ends(where: str) -> None:
    things = rendered(where)
    assert allowed(things, "egress") == EXPECTED[where]
    assert allowed(things, "ingress") == EXPECTED[where]


def test_only_the_services_reach_the_pooler_which_reaches_postgres() -> None:
    things = with_component("pooler")
    managed = {(one_, other, 5432) for one_ in ("postgres", "pooler") for other in ("postgres", "pooler")}
    expected = PATHS | managed | {(name, "pooler", 5432) for name in ("order", "worker", "inventory")}
    assert allowed(things, "egress") == expected
    assert allowed(things, "ingress") == expected


def test_network_policies_allow_an_import_from_the_old_postgres() -> None:
    things = with_component("cloudnative-pg-import")
    services = {
        (source, "instances", port) for source, sink, port in PATHS if sink == "postgres"
    }  # they have its label
    expected = PATHS | services | {("instances", "postgres", 5432), ("instances", "instances", 5432)}
    assert allowed(things, "egress") == expected
    assert allowed(things, "ingress") == expected


def test_all_other_traffic_is_denied() -> None:
    policy = one(base(), "NetworkPolicy", "deny-all")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_dns_is_allowed_by_udp_and_tcp_for_every_pod_but_the_datastores() -> None:
    policy = one(base(), "NetworkPolicy", "dns")["spec"]
    [rule] = policy["egress"]
    [servers, cache] = rule["to"]
    [label] = servers["podSelector"]["matchExpressions"]
    assert (label["key"], set(label["values"])) == ("k8s-app", {"kube-dns", "coredns", "node-local-dns"})
    assert cache == {"ipBlock": {"cidr": "169.254.20.10/32"}}  # NodeLocal DNSCache, by its documentation
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}
    without = {name for name, has in pods(base()).items() if not selects(policy["podSelector"], has)}
    assert without == {"postgres", "redis"}


def test_only_the_ingress_controller_reaches_the_order_service_and_the_dashboard() -> None:
    outside = {
        policy["metadata"]["name"]: peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for policy in of_kind(base(), "NetworkPolicy")
        for rule in policy["spec"].get("ingress") or ()
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    assert outside == {"order": "ingress-nginx", "frontend": "ingress-nginx"}


def test_egress_from_the_namespace_is_limited_to_dns_and_alert_receivers() -> None:
    """By contrast, the checkout of Online Boutique may connect to any address."""
    for where in ("base", "local", "staging"):
        for policy in of_kind(rendered(where), "NetworkPolicy"):
            for rule in policy["spec"].get("egress") or ():
                assert rule["to"], policy["metadata"]["name"]
                outside = any("ipBlock" in peer for peer in rule["to"])
                out = (policy["metadata"]["name"], rule["ports"][0]["port"])
                assert outside == (out in {("alertmanager", 443), ("dns", 53)})


def test_alertmanager_egress_is_limited_to_https_and_public_addresses() -> None:
    policy = one(rendered("staging"), "NetworkPolicy", "alertmanager")["spec"]
    assert selects(policy["podSelector"], {NAME: "alertmanager"})
    [rule] = policy["egress"]
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
    blocks = [peer["ipBlock"] for peer in rule["to"]]
    for private in ("10.96.0.10", "172.17.0.2", "192.168.1.1", "169.254.169.254", "100.64.1.1", "fd00::1", "fe80::1"):
        address = ip_address(private)
        inside = [block for block in blocks if address in ip_network(block["cidr"])]
        assert inside
        assert all(any(address in ip_network(one_) for one_ in block["except"]) for block in inside), private


def published(things: list[Object]) -> set[tuple[str, str, str]]:
    """Return (service, kind of match, path) of each rule of the Ingress or the HTTPRoute."""
    by_ingress = {
        (path["backend"]["service"]["name"], path["pathType"], path["path"])
        for ingress in of_kind(things, "Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    return by_ingress | {
        (backend["name"], match["path"]["type"].replace("PathPrefix", "Prefix"), match["path"]["value"])
        for route in of_kind(things, "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule.get("matches", ())
        for backend in rule.get("backendRefs", ())
    }


def leads_to(things: list[Object], path: str) -> set[str]:
    """Return the services for a path; prefixes match whole segments, as Ingress and HTTPRoute define it."""
    return {
        service
        for service, kind, prefix in published(things)
        if path == prefix or (kind == "Prefix" and path.startswith(prefix.rstrip("/") + "/"))
    }


@pytest.mark.parametrize("where", EXPECTED)
def test_every_dashboard_page_is_published_and_internal_endpoints_are_not(where: str) -> None:
    things = rendered(where)
    paths = {path for _, path in ROUTES if path != "/nowhere"}
    internal = {path for path in paths if path.startswith(("/metrics", "/health", "/schema"))}
    assert {"/metrics", "/health", "/health/live", "/health/ready", "/health/deep"} < internal
    assert {path: leads_to(things, path) for path in paths} == {
        path: set() if path in internal else {"frontend"} for path in paths
    }


@pytest.mark.parametrize("where", EXPECTED)
def test_only_order_endpoints_of_the_services_are_published(where: str) -> None:
    things = rendered(where)
    assert {path for service, _, path in published(things) if service != "frontend"} == {"/api/orders"}
    assert leads_to(things, "/api/orders/7/events") == {"order"}
    for path in ("/api/admin/queue", "/api/ordersx", "/metrics", "/health/deep", "/schema/openapi.json", "/metrics/"):
        assert leads_to(things, path) == set(), path
