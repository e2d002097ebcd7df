"""Mutants that no test can catch, because they behave like the original; each with the reason."""

LOOKS_ON = "it only looks on for longer"
NEAREST = "only the first of the nearest names is used"
NO_KEY = "None is not looked up with more success than an empty text"
ONE_LOOK = "the next look, a moment later, does the same"
EQUIVALENT: dict[tuple[str, str], str] = {
    ("valerix_cli.audit.model", ": 10 -> 11"): "examples that fit on a screen: one more would do as well",
    ("valerix_cli.audit.comparison", ": 1000 -> 1001"): "what one repair takes on: one more would do as well",
    ("valerix_cli.audit.comparison", "_zip_buckets: 0 -> 1 (the 2th)"): "an empty bucket has no line to be there twice",
    ("valerix_cli.drills.metrics", "completed_between: order.completed < begin - _OUT_OF_ORDER -> False"): LOOKS_ON,
    ("valerix_cli.drills.metrics", "completed_between: order.completed < begin - _OUT_OF_ORDER -> <="): LOOKS_ON,
    ("valerix_cli.drills.metrics", "timeline: 1 -> 2"): "a run without a second has none before it either",
    ("valerix_cli.drills.phases", "Phases._is_steady: self._load.clock() >= steady.window + _GRACE -> >"): ONE_LOOK,
    (
        "valerix_cli.drills.phases",
        "Phases._is_steady: True -> False",
    ): "no fault of a valid drill falls into the window",
    ("valerix_cli.drills.abort_conditions", "AbortConditions._holds: now < period -> <="): ONE_LOOK,
    ("valerix_cli.drills.phases", "Phases._evaluate: 3 -> 4"): "a thousandth of a second is more than enough",
    ("valerix_cli.load.metrics", "order_count: 6 -> 7"): "a float's error is smaller than either",
    ("valerix_cli.gates", "parse: 1 -> 2"): NEAREST,
    ("valerix_cli.drills.requirements", "Requirement._parse_breaker: 1 -> 2"): NEAREST,
    ("valerix_cli.audit.journal_check", "ClientJournal.read_new: entry.order_status or '': '' left out"): NO_KEY,
    ("valerix_cli.audit.journal_check", "ClientJournal.read_new: entry.problem or '': '' left out"): NO_KEY,
}
