"""Mutants that no test can catch, since they do what the original does; each with the reason."""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("valerix_cli.audit.model", ": 10 -> 11"): "examples that fit on a screen: one more would do as well",
    ("valerix_cli.audit.lines", ": 1000 -> 1001"): "what one repair takes on: one more would do as well",
    ("valerix_cli.audit.lines", "_together: 0 -> 1 (the 2th)"): "an empty bucket has no line to be there twice",
    ("valerix_cli.load.run", "how_many: 6 -> 7"): "a float's error is smaller than either",
    ("valerix_cli.gates", "parse: 1 -> 2"): "only the first of the nearest names is used",
}
