"""The order service's store and use-cases on a real PostgreSQL and Valkey, in this process."""
