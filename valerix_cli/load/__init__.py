"""Load generation: orders sent at a fixed rate or by a number of clients, and the measured result."""

from valerix_cli.load.generator import LoadGenerator
from valerix_cli.load.model import LoadResult, Plan

__all__ = ["LoadGenerator", "LoadResult", "Plan"]
