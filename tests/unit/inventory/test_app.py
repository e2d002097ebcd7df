"""Settings with which the service refuses to start."""

import pytest

from services.common.settings import SettingsError, read
from services.inventory.app import build
from services.inventory.settings import InventorySettings

ENVIRON = {
    "VALERIX_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere",
    "VALERIX_REDIS_URL": "redis://127.0.0.1:1",
    "VALERIX_PORT": "3002",
    "VALERIX_REPLICA": "inventory-1",
    "VALERIX_SERVICE_TOKENS": "s-4f1c9a7be2d05836",
    "VALERIX_OPERATOR_TOKENS": "o-93be07d1c6a8f245",
}


@pytest.mark.parametrize(
    "environ",
    [
        {"VALERIX_CRASH_AT": "after-insert"},
        {"VALERIX_CRASH_AT": "nowhere", "VALERIX_CHAOS_ALLOWED": "1"},
        {"VALERIX_CRASH_AT": "after-accept", "VALERIX_CHAOS_ALLOWED": "1"},
    ],
)
def test_a_crash_point_needs_permission_and_a_known_name(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="VALERIX_CRASH_AT"):
        build(read(InventorySettings, ENVIRON | environ))
