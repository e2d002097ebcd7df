"""Checks of an installation, with fixes: one module for each group, all run concurrently."""
