"""The OpenAPI documents are complete: generated requests get no undocumented response."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.shop import Shop
from tests.processes import OPERATOR_TOKEN, SERVICE_TOKEN, Processes, Service

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("EXAMPLES", "2000")  # per operation, for random ones
EITHER_WAY = pytest.mark.parametrize(
    "phases", ["examples,coverage", pytest.param("fuzzing", marks=pytest.mark.long)], ids=["each-rule", "at-random"]
)


def examine(service: Service, directory: Path, token: str, phases: str, *more: str) -> str:
    finished = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG),
            *("--no-color", "run", f"{service.url}/schema/openapi.json", "--checks", "all", "--phases", phases),
            *("--max-examples", EXAMPLES, "--seed", "1", "--suppress-health-check", "all"),
            *("--header", f"Authorization: Bearer {token}", *more),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=3600,
        cwd=directory,
    )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    return finished.stdout


@EITHER_WAY
def test_the_order_service_conforms_to_its_openapi_document(
    services: Processes, order_database: str, inventory_database: str, tmp_path: Path, phases: str
) -> None:
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 1_000_000)
    services.start(shop.order)
    report = examine(shop.order, tmp_path, OPERATOR_TOKEN, phases)
    assert re.search(r"[1-9]\d* generated", report), report[-2000:]


@pytest.mark.long
@EITHER_WAY
def test_the_inventory_service_conforms_to_its_openapi_document(
    services: Processes, order_database: str, inventory_database: str, tmp_path: Path, phases: str
) -> None:
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 1_000_000)
    services.start(shop.inventory)
    own = ("--include-path-regex", "deduct$|transactions")  # only the service token is allowed
    for token, which in ((OPERATOR_TOKEN, ("--exclude-path-regex", "deduct")), (SERVICE_TOKEN, own)):
        report = examine(shop.inventory, tmp_path, token, phases, *which)
        assert re.search(r"[1-9]\d* generated", report), report[-2000:]
