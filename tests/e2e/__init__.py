"""The life cycle of an order across the order service, its worker and the inventory service."""
