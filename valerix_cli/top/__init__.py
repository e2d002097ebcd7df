"""`valerix top`: everything at once, live, and keys for the deeds that a demonstration needs."""
