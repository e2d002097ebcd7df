"""The commands, one module per noun: parse, call a client, show."""
