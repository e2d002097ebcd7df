"""`python -m services.inventory.asgi`: the inventory service."""

from services.common.server import run
from services.inventory.app import build
from services.inventory.settings import InventorySettings

if __name__ == "__main__":
    run("inventory", InventorySettings, build)
