"""The inventory service: holds stock, deducts it at most once per order, and injects faults on request."""
