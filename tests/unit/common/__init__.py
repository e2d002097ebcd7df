"""What every service does identically, without a database."""
