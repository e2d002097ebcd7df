"""The order service and its worker: accept once, deduct once, settle once."""
