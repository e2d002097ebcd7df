"""The story itself: ten steps, one idea each."""

from valerix_cli.demo.step_context import Step
from valerix_cli.demo.steps import crash, customers, gremlins, proof

TITLE = "The order that would not duplicate"

STORY = (
    Step(
        "calm",
        "Calm",
        "A shop. Twenty orders a second, each with a key of its own. This load runs all along: watch its figures.",
        "The load is real, and so is all that follows. Figures are of the last five seconds. Latency counts from when "
        "an order was due, so a stall cannot hide.",
        ("HERE", "valerix load --rate 20/s --for 1m --item ITEM", "valerix breaker status"),
        60,
        customers.calm,
    ),
    Step(
        "impatient",
        "The impatient customer",
        "She clicks five times at once. Five requests, one key. She wants one monitor.",
        "Keys decide races in the database, by a unique index. Whoever comes second gets the stored answer, or 409 and "
        "Retry-After while the first is at work. Nobody waits in a lock.",
        ("valerix order replay KEY --times 5 --concurrency 5",),
        30,
        customers.impatient,
    ),
    Step(
        "cheater",
        "The cheater",
        "Same key, another cart. Answering him with the first order would be a lie. So a key stands for what was "
        "ordered, too.",
        "A fingerprint of the body is stored with the order. 422 idempotency-key-reused is a refusal for good, and "
        "changes nothing: the first order stands as it was.",
        ("valerix order replay KEY --mutate",),
        30,
        customers.cheater,
    ),
    Step(
        "slow",
        "The slow gremlin",
        "Now inventory answers five seconds late. The order service waits for three. First, customers wait. Then "
        "the breakers open.",
        "A timeout says nothing about what happened, so no order fails: each is queued. A breaker opens when half of "
        "at least five calls within ten seconds fail, in each replica for itself.",
        ("valerix chaos on latency --delay 5s --ttl 2m --seed 42", "valerix breaker status --watch"),
        45,
        gremlins.slow,
    ),
    Step(
        "fast-failure",
        "Fast failure, while the fault lives",
        "The gremlin is still there. Yet customers are answered in milliseconds: accepted, outcome to follow. A slow "
        "dependency has stopped being a slow shop.",
        "202 and a Location, no error: the order is durable. Every ten seconds one call is let through as a trial. It "
        "takes three seconds, fails, and the breaker opens again.",
        ("valerix order place ITEM", "valerix queue status"),
        45,
        gremlins.fast_failure,
    ),
    Step(
        "recovery",
        "Nobody has to clean up",
        "The gremlin goes. Nobody does anything. The breakers try, and close. The worker finishes what was queued.",
        "The row is the queue: there is no message to lose. The worker claims rows with a lease and a fencing token, "
        "and asks inventory under the same order id as before.",
        ("valerix chaos off", "valerix queue status --watch", "valerix order watch ID"),
        90,
        gremlins.recovery,
    ),
    Step(
        "schrodinger",
        "Schrödinger's order",
        "Inventory commits. Then the answer gets lost. Is the stock taken? From outside nobody can tell. So nobody "
        "guesses: the same question is asked again.",
        "This is the case in which others charge twice, or give back what was sold. Inventory keeps one outcome per "
        "order id and repeats it for ever. A quarter of answers lost does not open a breaker.",
        (
            "valerix chaos on partial-failure --rate 25% --seed 42",
            "valerix order replay KEY",
            "valerix order trace ID",
        ),
        60,
        gremlins.schrodinger,
    ),
    Step(
        "crash",
        "A crash in mid-order",
        "kill -9, with an order in hand. The customer is cut off. She sends it again, with her key, until she knows.",
        "Stored before inventory hears of it: that is why nothing is lost. The dead process's lease runs out after ten "
        "seconds. Until then 409 is the honest answer. Then the worker takes over.",
        (
            "valerix chaos on latency --delay 1500ms --ttl 20s",
            "valerix order place ITEM --key KEY & kill -9 PID",
            "valerix order place ITEM --key KEY",
        ),
        90,
        crash.crash,
        "processes",
    ),
    Step(
        "audit",
        "The audit is the receipt",
        "Do not believe the screen. Read the books. Both databases, and what every customer was told.",
        "The auditor may only read. Three snapshots, one after the other, make it sound while orders are in flight: "
        "the load is still running.",
        ("valerix audit --journal JOURNAL",),
        60,
        proof.receipt,
        "auditor",
    ),
    Step(
        "forged",
        "And now it has to fail",
        "A proof that cannot fail proves nothing. So we forge the books: one more is taken, for an order that nobody "
        "placed. A retry under another id would leave just that.",
        "The administrator of PostgreSQL adds one ledger line and lowers the stock by one, in one transaction, so that "
        "stock still adds up. Only comparing both databases finds it. Then exactly that is undone.",
        ("valerix audit; echo $?", "valerix explain deducted-means-ordered"),
        60,
        proof.forged,
        "admin",
    ),
)
