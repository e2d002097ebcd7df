"""Benchmarks: they report figures, and assert nothing."""
