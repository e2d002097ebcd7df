"""The audit: compares both databases with each other and with the responses that a client received."""

from valerix_cli.audit.model import Audit
from valerix_cli.audit.runner import SETTLE_LIMIT, audit
from valerix_cli.audit.sources import Sources

__all__ = ["SETTLE_LIMIT", "Audit", "Sources", "audit"]
