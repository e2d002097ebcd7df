"""Tests with real databases and real processes."""
