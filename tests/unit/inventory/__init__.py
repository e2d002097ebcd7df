"""Decisions of the inventory service, without I/O."""
