"""Orders and the breaker, without a database."""
