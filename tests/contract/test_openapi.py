"""The OpenAPI documents are true: generated requests find no answer that they do not describe."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.life.shop import Shop
from tests.processes import OPERATOR_TOKEN, SERVICE_TOKEN, Processes, Service

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method"
)
EITHER_WAY = pytest.mark.parametrize(
    "phases", ["examples,coverage", pytest.param("fuzzing", marks=pytest.mark.long)], ids=["each-rule", "at-random"]
)


def examine(service: Service, directory: Path, token: str, phases: str, *more: str) -> str:
    finished = subprocess.run(
        [
            *(
                Path(sys.executable).with_name("schemathesis"),
                "--no-color",
                "run",
                f"{service.url}/schema/openapi.json",
            ),
            *("--checks", CHECKS, "--phases", phases, "--max-examples", "10", "--seed", "1"),
            *("--header", f"Authorization: Bearer {token}", "--suppress-health-check", "all", *more),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
    )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    return finished.stdout


@EITHER_WAY
def test_the_order_service_does_what_its_document_says(
    services: Processes, order_database: str, inventory_database: str, tmp_path: Path, phases: str
) -> None:
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 1_000_000)
    services.start(shop.order)
    report = examine(shop.order, tmp_path, OPERATOR_TOKEN, phases, "--header", "Idempotency-Key: generated")
    assert re.search(r"[1-9]\d* generated", report), report[-2000:]


@EITHER_WAY
def test_the_inventory_service_does_what_its_document_says(
    services: Processes, order_database: str, inventory_database: str, tmp_path: Path, phases: str
) -> None:
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 1_000_000)
    services.start(shop.inventory)
    own = ("--include-path-regex", "deduct$|transactions")  # what only the service token opens
    for token, which in ((OPERATOR_TOKEN, ("--exclude-path-regex", "deduct")), (SERVICE_TOKEN, own)):
        report = examine(shop.inventory, tmp_path, token, phases, "--header", "Idempotency-Key: generated", *which)
        assert re.search(r"[1-9]\d* generated", report), report[-2000:]
