"""The command line that starts, uses, breaks and proves Valerix."""

__version__ = "0.2.0"
