"""The processes that a drill injects faults into: on this machine, or the pods of a cluster."""

from pathlib import Path

from valerix_cli.contexts.model import Context
from valerix_cli.drills.targets.base import FaultTarget, LocalFaultTarget, Process
from valerix_cli.drills.targets.local import LocalProcesses

__all__ = ["FaultTarget", "LocalFaultTarget", "LocalProcesses", "Process", "fault_target"]


def fault_target(context: Context, directory: Path) -> FaultTarget:
    """Return the pods of a context in a cluster, or the processes of the platform that runs from `directory`."""
    if context.forwards is not None:
        from valerix_cli.drills.targets.kubernetes import KubernetesPods  # noqa: PLC0415 - an extra, and slow

        return KubernetesPods(context.forwards.api, context.forwards.namespace)
    return LocalProcesses(directory)
