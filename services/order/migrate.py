"""`python -m services.order.migrate`: migrate order_db to the schema of this version."""

from collections.abc import Iterator

from services.common.migrate import run
from services.common.postgres import migrate


def work(url: str) -> Iterator[str]:
    for name in migrate(url, "services.order"):
        yield f"applied {name}"


if __name__ == "__main__":
    run(work)
