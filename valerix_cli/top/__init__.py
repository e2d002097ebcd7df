"""`valerix top`: a live view of the whole platform, with keys for orders and faults."""
