"""The platform on one machine: embedded databases, the services' processes and who looks after them."""
