"""Code shared by all services: errors, health, HTTP, PostgreSQL, Redis, telemetry. Knows nothing of orders or stock."""
