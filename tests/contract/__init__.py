"""The documents that the services publish, compared with their behavior."""
