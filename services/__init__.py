"""The services of Valerix: each its own process, its own database, its own HTTP contract."""
