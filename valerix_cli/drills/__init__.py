"""Drills: chaos experiments described in a file, run under load, and proved by a receipt."""
