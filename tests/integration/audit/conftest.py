"""Consistent databases."""

import pytest

from tests.integration.audit.tampered_databases import Books


@pytest.fixture
def books(order_database: str, inventory_database: str) -> Books:
    return Books(order_database, inventory_database)
