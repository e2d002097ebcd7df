"""`python -m services.order.asgi`: the order service."""

from services.common.server import run
from services.order.app import build
from services.order.settings import OrderSettings

if __name__ == "__main__":
    run("order", OrderSettings, build)
