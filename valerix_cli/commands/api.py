"""`valerix api METHOD PATH`: one request and its raw response."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from valerix_cli.clients import fields
from valerix_cli.clients.http import read_problem
from valerix_cli.clients.problems import error_of
from valerix_cli.errors import BadUsageError
from valerix_cli.output import write_raw
from valerix_cli.quoting import command
from valerix_cli.reasons import why
from valerix_cli.session import Session

_READS = {"GET", "HEAD", "OPTIONS"}
_OF_INVENTORY = ("/api/inventory", "/api/admin/chaos")


def service_of(path: str) -> str:
    """Return the service that serves a path."""
    return "inventory" if path.startswith(_OF_INVENTORY) else "order"


def api(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="For example /api/orders.")],
    *,
    data: Annotated[str | None, typer.Option("--data", "-d", help="The body.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE|-", help="Read the body from a file.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE")] = None,
    include: Annotated[bool, typer.Option("--include", "-i", help="Show the status and the headers as well.")] = False,
    service: Annotated[
        str | None, typer.Option("--service", help="order, inventory or worker; derived from the path if omitted.")
    ] = None,
) -> None:
    """Call an endpoint with the context's token and print the unmodified response."""
    session: Session = ctx.obj
    method, headers = method.upper(), dict(_header(one) for one in header or [])
    if not path.startswith("/"):
        raise BadUsageError(
            "Invalid path.",
            f"{path!r} does not start with /",
            command("valerix api", method, f"/{path}"),
        )
    fields.check(method, path, headers)
    if method not in _READS:
        session.confirm_remote(f"{method} {path}")
    body = _body(data, file)
    if body is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = "application/json"
    replicas = session.replicas(service or service_of(path))
    response = replicas.send(method, path, content=body, headers=headers)
    if include:
        lines = [f"HTTP {response.status_code} {response.reason_phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        write_raw(("\n".join(lines) + "\n\n").encode())
    ended = response.content.endswith(b"\n") or not response.content
    write_raw(response.content + (b"" if ended else b"\n"))
    if response.is_error:
        raise error_of(read_problem(response))


def _body(data: str | None, file: str | None) -> bytes | None:
    if data is not None and file is not None:
        raise BadUsageError("-d and -f cannot be combined.", "each sets the request's body", "one of them")
    if file is None:
        return None if data is None else os.fsencode(data)
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadUsageError(f"{file} cannot be read.", why(error), "name a file, or - for stdin") from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not name:
        raise BadUsageError("Invalid header.", f"{text!r} has no colon", "-H 'Name: value'")
    return name, value
