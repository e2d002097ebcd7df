"""What the inventory service is told: no more than every service is."""

from services.common.settings import ServiceSettings


class InventorySettings(ServiceSettings, frozen=True, kw_only=True):
    """`port` is `VALERIX_PORT`, and so on."""
