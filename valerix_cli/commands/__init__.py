"""One module per noun: parse, ask a client, show."""
