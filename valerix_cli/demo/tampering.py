"""Tampering with the ledger for the demo, and undoing it: the effect of a retry under another order's id."""

from uuid import NAMESPACE_URL, uuid5

import psycopg

from valerix_cli.connections import connect
from valerix_cli.errors import CliError, GuardError, UnreachableError
from valerix_cli.local.instance import running
from valerix_cli.local.postgres import ADMIN
from valerix_cli.local.stack import INVENTORY_DB, Stack, read_secrets, state_dir
from valerix_cli.reasons import why

ORDER_ID = uuid5(NAMESPACE_URL, "valerix demo: an order that nobody placed")
"""Always the same, so that there is at most one tampered line, and the next demo can undo that of a killed one."""

_FORGE = """
WITH taken AS (UPDATE inventory SET quantity = quantity - 1 WHERE item_id = %(item)s RETURNING item_id)
INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
SELECT item_id, %(order_id)s, -1, 'deduct' FROM taken
RETURNING id
"""
_UNDO = """
WITH gone AS (
    DELETE FROM inventory_transactions WHERE order_id = %(order_id)s AND transaction_type = 'deduct'
    RETURNING item_id, quantity_change
)
UPDATE inventory SET quantity = quantity - gone.quantity_change FROM gone WHERE inventory.item_id = gone.item_id
"""


class LedgerTampering:
    """`url` is the administrator's connection string of inventory_db."""

    def __init__(self, url: str) -> None:
        self._url = url

    def forge(self, item_id: str) -> int:
        """Deduct once more, for an order that does not exist. Returns the id of the ledger line. Raises CliError."""
        row = self._execute(_FORGE, {"item": item_id, "order_id": ORDER_ID}, returns=True)
        if row is None:
            raise CliError("The ledger was not changed.", f"there is no {item_id} in stock", "valerix stock list")
        return int(row[0])

    def undo(self) -> None:
        """Undo exactly that; idempotent. Raises UnreachableError."""
        self._execute(_UNDO, {"order_id": ORDER_ID}, returns=False)

    def _execute(self, statement: str, values: dict[str, object], *, returns: bool) -> psycopg.rows.TupleRow | None:
        try:
            with connect(self._url, limit=10.0, connect_timeout=5, application_name="valerix-demo") as conn:
                done = conn.execute(statement.encode(), values)
                return done.fetchone() if returns else None
        except psycopg.Error as error:
            raise UnreachableError("The ledger was not changed.", why(error), "valerix status") from error


def local_tampering() -> LedgerTampering:
    """Return access to the local platform's ledger. Raises GuardError if PostgreSQL is not the platform's own."""
    directory = state_dir()
    stack = running(directory)
    url = admin_url(stack) if stack else None
    if url is None:
        raise GuardError(
            "The ledger cannot be tampered with here.", "this PostgreSQL is not the platform's own", "--fresh"
        )
    return LedgerTampering(url)


def admin_url(stack: Stack) -> str | None:
    """Return the administrator's connection string; None if PostgreSQL or its secrets are not this user's."""
    server = stack.databases.get("postgres")
    if server is None or server.kind == "external":
        return None
    secrets = read_secrets(state_dir())
    if secrets is None:
        return None
    return f"postgresql://{ADMIN}:{secrets.postgres_admin_password}@{server.host}:{server.port}/{INVENTORY_DB}"


def undo_command() -> str:
    """Return how to undo it later."""
    return f"`valerix demo` undoes it before it begins; the ledger line has order_id {ORDER_ID}"
