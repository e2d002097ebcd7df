"""Short notations for the audit's buckets and findings."""

from valerix_cli.audit.comparison import Bucket
from valerix_cli.audit.model import Finding


def bucket(number: int, *rows: str) -> Bucket:
    """Sort lines `order item quantity` into a bucket, as the databases return it."""
    lines = sorted(row.replace(" ", "\t") for row in rows)
    return Bucket(number, len(lines), len({line.partition("\t")[0] for line in lines}), "\n".join(lines))


def violations(found: Finding) -> list[tuple[str, str]]:
    return [(example.subject, example.wrong) for example in found.examples]
