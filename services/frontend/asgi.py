"""`python -m services.frontend.asgi`: the dashboard."""

from services.common.server import run
from services.frontend.app import build
from services.frontend.settings import FrontendSettings

if __name__ == "__main__":
    run("frontend", FrontendSettings, build)
