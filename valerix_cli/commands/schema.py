"""`valerix schema NAME`: JSON Schema of the output of `-o json`."""

from dataclasses import replace
from typing import Annotated, Any

import msgspec
import typer

from valerix_cli import output_models
from valerix_cli.audit.model import Audit
from valerix_cli.clients import wire
from valerix_cli.clients.prometheus import Alert
from valerix_cli.cluster import model as cluster
from valerix_cli.demo.model import Demo
from valerix_cli.doctor.model import Diagnosis
from valerix_cli.drills import model as drill_file
from valerix_cli.drills.receipt import Comparison, Receipt
from valerix_cli.errors import BadUsageError
from valerix_cli.load.model import LoadResult
from valerix_cli.options import Format
from valerix_cli.output import print_result
from valerix_cli.session import Session
from valerix_cli.views import toolbox as views
from valerix_cli.views.alerts import AlertChange

SHAPES: dict[str, Any] = {
    "alerts": list[Alert],
    "alerts-watch": AlertChange,
    "audit": Audit,
    "cluster-apply": cluster.Applied,
    "cluster-check": cluster.Readiness,
    "cluster-delete": cluster.Deleted,
    "cluster-diff": cluster.Diff,
    "cluster-rollback": list[cluster.RolledBack],
    "cluster-status": cluster.ClusterStatus,
    "cluster-status-watch": cluster.Workload,
    "breaker-history": list[wire.BreakerTransition],
    "breaker-status": wire.Breaker,
    "chaos-hits": wire.Hits,
    "chaos-off": wire.Ended,
    "chaos-on": wire.Activation,
    "chaos-status": wire.Chaos,
    "context-list": list[output_models.ContextSummary],
    "context-show": list[output_models.SettingOrigin],
    "dashboard": output_models.Dashboard,
    "demo": Demo,
    "drill-compare": Comparison,
    "drill-list": list[output_models.DrillSummary],
    "drill-list-runs": list[output_models.RunSummary],
    "drill-replay": Receipt,
    "drill-run": Receipt,
    "drill-validate": list[output_models.DrillSummary],
    "doctor": Diagnosis,
    "explain": list[output_models.Explanation],
    "load": LoadResult,
    "order-get": wire.Order,
    "order-list": list[wire.Order],
    "order-place": list[output_models.PlacedOrder],
    "order-replay": output_models.Replay,
    "order-trace": output_models.Trace,
    "order-watch": wire.Order,
    "queue-dead": list[wire.Order],
    "queue-requeue": wire.Requeued,
    "queue-status": wire.Queue,
    "stock-list": list[wire.Item],
    "stock-restock": wire.Restocked,
    "stock-watch": output_models.StockChange,
    "version": output_models.Version,
}
DRILL_FILE = "drill-file"
"""An input format; the other names stand for output."""


def schema(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Omit to list all.")] = None,
) -> None:
    """Print the JSON Schema of a command's -o json output (of each line for --watch), or of a drill file."""
    session: Session = ctx.obj
    if name is None:
        print_result(sorted([*SHAPES, DRILL_FILE]), views.names_view, session.output)
        return
    if name != DRILL_FILE and name not in SHAPES:
        raise BadUsageError(f"Unknown schema {name!r}.", "it is named for its command", "valerix schema")
    shape = drill_file.schema() if name == DRILL_FILE else msgspec.json.schema(SHAPES[name])
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape}
    format_ = Format.JSON if session.output.format is Format.TABLE else session.output.format
    print_result(document, str, replace(session.output, format=format_))  # a schema has no table format
