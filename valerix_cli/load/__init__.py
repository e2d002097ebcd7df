"""Load: orders sent at a rate or by so many clients, and what came of them."""

from valerix_cli.load.model import LoadResult, Plan
from valerix_cli.load.run import Load

__all__ = ["Load", "LoadResult", "Plan"]
