"""The command line of Valerix: runs the platform, sends orders, injects faults, and verifies the results."""

__version__ = "0.2.0"
