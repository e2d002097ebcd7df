"""Settings of the inventory service: those of every service."""

from services.common.settings import ServiceSettings


class InventorySettings(ServiceSettings, frozen=True, kw_only=True):
    """`port` is `VALERIX_PORT`, and so on."""
