"""The proof: what both databases say, held against each other and against what a client was told."""

from valerix_cli.audit.examine import SETTLE_LIMIT, audit
from valerix_cli.audit.model import Audit
from valerix_cli.audit.sources import Sources

__all__ = ["SETTLE_LIMIT", "Audit", "Sources", "audit"]
