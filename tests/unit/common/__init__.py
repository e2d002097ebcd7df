"""Code shared by all services, without a database."""
