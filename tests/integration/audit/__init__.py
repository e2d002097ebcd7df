"""The audit, on databases that tests fill and tamper with."""
