"""The order service's store and use-cases on a real PostgreSQL and a real Valkey, in this process."""
