"""What all services have in common, on a real Valkey."""
