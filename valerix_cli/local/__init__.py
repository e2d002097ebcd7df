"""The platform on one machine: embedded databases, the processes of the services, and their supervisor."""
