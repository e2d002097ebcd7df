"""`python dashboards/rules/prometheus_rule.py` writes the rules as a resource of the Prometheus operator.

A kustomization cannot insert a file into a field of another, so the result is committed; a test checks it is current.
"""

from pathlib import Path

RULES = Path(__file__).parent
WHERE = RULES.parents[1] / "manifests" / "components" / "prometheus-operator" / "prometheus-rules.yaml"
_HEAD = """\
# Made by dashboards/rules/prometheus_rule.py from the files beside it and in cluster/: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: valerix
spec:
  groups:
"""


def files() -> list[Path]:
    """Return the files for every platform, then those for a cluster."""
    return [*sorted(RULES.glob("*.yaml")), *sorted(RULES.glob("cluster/*.yaml"))]


def written() -> str:
    """Return every group of rules, as in its file."""
    return _HEAD + "".join(_groups(file.read_text(encoding="utf-8")) for file in files())


def _groups(rules: str) -> str:
    _, _, groups = rules.partition("groups:\n")
    return "".join(f"  {line}".rstrip() + "\n" for line in groups.splitlines())


if __name__ == "__main__":
    WHERE.write_text(written(), encoding="utf-8")
