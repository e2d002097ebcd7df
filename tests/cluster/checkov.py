"""`python -m tests.cluster.checkov`: scan every overlay with checkov, as kustomize renders it.

Skipped checks are in SKIPPED, each with its reason. Only the framework `kubernetes` runs, and nothing is downloaded.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.unit.manifests.rendered import OVERLAYS, raw
from valerix_cli.cluster.overlays import MANIFESTS

SKIPPED = {
    "CKV_K8S_11": "production has no CPU limit on purpose: a pod at its limit is stopped for the rest of each 100 ms",
    "CKV_K8S_15": "IfNotPresent: tags are versions, never moved; a node that has an image needs no registry",
    "CKV_K8S_35": "secrets reach a process by its environment, where its settings are",
    "CKV_K8S_40": "PostgreSQL, Valkey and Grafana come with users of their own, whom their files belong to",
    "CKV_K8S_43": "a digest belongs to a registry, which an overlay of yours names; --image takes one",
}


def main() -> None:
    """Exit with 1 if there are findings."""
    found = [finding for name in OVERLAYS for finding in findings(name)]
    for finding in found:
        print(finding)  # noqa: T201 - the result
    print(f"{len(OVERLAYS)} overlays, {len(found)} findings; skipped: {', '.join(SKIPPED)}")  # noqa: T201 - the result
    sys.exit(1 if found else 0)


def findings(name: str) -> list[str]:
    """Return checkov's findings for an overlay, one line each."""
    with tempfile.TemporaryDirectory(prefix="valerix-") as directory:
        file = Path(directory) / f"{name}.yaml"
        file.write_text(raw(MANIFESTS / "overlays" / name), encoding="utf-8")
        done = subprocess.run(
            [shutil.which("checkov") or "checkov",
             "--file", str(file), "--framework", "kubernetes", "--output", "json", "--quiet", "--compact",
             "--skip-download", "--skip-check", ",".join(SKIPPED)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    try:
        report: Any = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"checkov said nothing that was understood: {done.stderr.strip()[-500:]}")
    summary = report["summary"]
    if not summary["passed"] or summary["parsing_errors"]:
        sys.exit(f"{name}: checkov understood nothing of it: {summary}")
    failed = report["results"]["failed_checks"]
    return [f"{name}: {one['resource']}: {one['check_id']} {one['check_name']}" for one in failed]


if __name__ == "__main__":
    main()
