"""What the services say of themselves, held against what they do."""
