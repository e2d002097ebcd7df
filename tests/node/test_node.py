"""Valerix on a real Kubernetes node: image, Services, volumes, and pods that are killed or replaced."""

import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml

from tests.node.conftest import Valerix
from tests.node.orders import PLACED
from tests.processes import eventually
from valerix_cli.cluster.overlays import MANIFESTS

pytestmark = pytest.mark.long

NEVER_MADE = "never-made"
PATIENT = "--retries=150"
"""Half a minute: slightly longer than the lease of an order whose pod died."""


def test_cluster_check_passes_before_the_first_apply(empty: Valerix) -> None:
    found = empty.json("cluster", "check")
    assert found["verdict"] == "ok", found


def test_every_applied_workload_becomes_ready(shop: Valerix) -> None:
    found = shop.json("cluster", "status")
    assert found["state"] == "ready", found
    assert shop("cluster", "diff").stdout


def test_a_pod_resolves_services_and_every_pod_of_headless_services(shop: Valerix) -> None:
    address = shop.kubectl("get", "service", "order", "--output=jsonpath={.spec.clusterIP}")
    assert _resolved(shop, "order") == _resolved(shop, "order.valerix.svc.cluster.local") == {address}
    assert _resolved(shop, "order-pods") == set(shop.pods("order").values())


def test_an_order_sent_to_the_service_is_placed(shop: Valerix) -> None:
    outcome = shop.ordering(0.2).wait()
    assert outcome.first == {"201": 8}, outcome.complaints


def test_the_command_line_reaches_every_service_through_forwarded_pod_ports(shop: Valerix) -> None:
    placed = shop.json("order", "place", "ps5", "--yes")
    assert json.dumps(placed).count("confirmed") == 1, placed
    for command in (["stock", "list"], ["chaos", "status"], ["breaker", "status"], ["queue", "status"]):
        assert shop.json(*command), command
    audited = shop.json("audit")
    assert audited["verdict"] == "clean"
    assert "cache-agrees" in {rule["name"] for rule in audited["invariants"]}


def test_a_dashboard_pod_runs_an_audit(shop: Valerix) -> None:
    pod = next(iter(shop.pods("frontend")))
    command = ("python", "-m", "valerix_cli", "audit", "--output", "json")
    assert json.loads(shop.kubectl("exec", pod, "--", *command))["verdict"] == "clean"


@pytest.mark.parametrize("options", [[], ["--keep"]], ids=["connections-of-their-own", "kept-connections"])
def test_a_roll_out_under_load_fails_no_request(shop: Valerix, options: list[str]) -> None:
    before, orders = set(shop.pods("order")), shop.ordering(32, *options)
    time.sleep(2)
    shop.kubectl("rollout", "restart", "deployment/order")
    shop.wait_rolled_out("deployment/order")
    assert before.isdisjoint(shop.pods("order"))
    outcome = orders.wait()
    assert set(outcome.first) == {"201"}, outcome.complaints
    shop.wait_clean(orders)


def test_the_zero_downtime_drill_rolls_out_without_a_failed_request(shop: Valerix) -> None:
    before = set(shop.pods("order"))
    receipt = shop.json("drill", "run", "zero-downtime", "--yes")
    [roll_out] = receipt["injections"]
    assert {affected["name"] for affected in roll_out["affected"]} == before
    assert {check["verdict"] for check in receipt["checks"]} == {"held"}
    assert before.isdisjoint(shop.pods("order"))


def test_order_pods_killed_under_load_lose_no_order(shop: Valerix) -> None:
    orders = shop.ordering(25, PATIENT)
    time.sleep(2)
    deleted, killed = shop.pods("order")
    shop.kubectl("delete", "pod", deleted, "--grace-period=0", "--force")
    shop.wait_rolled_out("deployment/order")
    shop.node.kill(killed)
    outcome = orders.wait()
    shop.wait_rolled_out("deployment/order")
    shop.wait_clean(orders)
    assert set(outcome.last) <= set(PLACED), outcome.complaints[-5:]


def test_a_database_killed_under_load_keeps_every_acknowledged_order(shop: Valerix) -> None:
    orders = shop.ordering(15, PATIENT)
    time.sleep(2)
    shop.node.kill("postgres-0")
    time.sleep(5)
    shop.kubectl("delete", "pod", "postgres-0", "--grace-period=0", "--force")
    outcome = orders.wait()
    shop.wait_rolled_out("statefulset/postgres")
    shop.wait_clean(orders)
    assert set(outcome.last) <= set(PLACED), outcome.complaints[-5:]


def test_a_version_whose_image_cannot_be_pulled_fails_at_its_migration(shop: Valerix) -> None:
    before = shop.pods("order")
    done = shop("cluster", "apply", "--yes", "--image", f"valerix:{NEVER_MADE}", code=1)
    assert re.search(r"^Error: Job/migrate-\w+ does not become ready\.$", done.stderr, re.MULTILINE)
    assert NEVER_MADE in done.stderr
    assert shop.pods("order") == before
    assert set(shop.ordering(2).wait().first) == {"201"}
    shop("cluster", "apply", "--yes", "--prune")
    assert shop.pods("order") == before


def test_an_apply_shows_the_last_log_lines_of_a_service_that_refuses_its_settings(
    shop: Valerix, tmp_path: Path
) -> None:
    loud = {"name": "settings", "namespace": "valerix", "behavior": "merge", "literals": ["VALERIX_LOG_LEVEL=loud"]}
    local = os.path.relpath(MANIFESTS / "overlays" / "local", tmp_path.resolve())
    overlay = {"resources": [local], "configMapGenerator": [loud]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = shop("cluster", "apply", "--yes", "--overlay", str(tmp_path), code=1)
    assert "CrashLoopBackOff" in done.stderr
    assert "settings refused" in done.stderr  # a line of its log
    assert "BackOff" in done.stderr  # an event
    assert set(shop.ordering(2).wait().first) == {"201"}  # the old pods serve
    shop("cluster", "rollback", "--yes")
    assert shop.json("cluster", "status")["state"] == "ready"


def test_a_rollback_removes_pods_that_never_became_ready(shop: Valerix) -> None:
    before = shop.pods("order")
    shop.kubectl("set", "image", "deployment/order", f"order=valerix:{NEVER_MADE}")
    eventually(lambda: len(shop.pods("order")) == len(before) + 1, within=30, what="a pod of the new version")
    orders = shop.ordering(5)
    assert "set by kubectl-set" in shop("cluster", "rollback", "--yes", code=4).stderr
    shop("cluster", "rollback", "--yes", "--force-conflicts")
    assert set(orders.wait().first) == {"201"}
    assert shop.json("cluster", "status")["state"] == "ready"
    assert shop.pods("order") == before


def _resolved(shop: Valerix, name: str) -> set[str]:
    pod = next(iter(shop.pods("frontend")))
    program = f"import socket; print(*socket.gethostbyname_ex({name!r})[2])"
    return set(shop.kubectl("exec", pod, "--", "python", "-c", program).split())
