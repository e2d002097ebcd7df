"""The audit, on databases that tests fill and spoil."""
