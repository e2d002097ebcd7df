"""Faults made on purpose, on a platform of real processes: what it takes and what it must not do."""
