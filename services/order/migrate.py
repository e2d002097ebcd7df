"""`python -m services.order.migrate`: bring order_db to the schema this code expects."""

import os
import sys

from services.common.postgres import migrate

if __name__ == "__main__":
    for name in migrate(os.environ["VALERIX_DATABASE_URL"], "services.order"):
        print(f"applied {name}", file=sys.stderr)  # noqa: T201 - a command, its talk belongs on stderr
