"""Code shared by all services, on a real PostgreSQL and Valkey."""
