"""Checks of each process of each service: readiness, clock, and the operator's token."""

import time
from collections.abc import Iterator
from functools import partial

import httpx

from valerix_cli.addresses import past_proxies
from valerix_cli.contexts.model import Context
from valerix_cli.doctor import clock, tokens
from valerix_cli.doctor.environment import Replica, Setup
from valerix_cli.doctor.findings import CheckTask, Finding, Subject, one_line, skipped_without_platform
from valerix_cli.doctor.health import evaluate, evaluate_heartbeat, more_about
from valerix_cli.doctor.processes import silent
from valerix_cli.units import format_duration

_UNREACHED = (httpx.HTTPError, httpx.InvalidURL)


def check_tasks(setup: Setup) -> list[CheckTask]:
    context = setup.context
    if context is None:
        return [skipped_without_platform(Subject("services", "services"), Subject("access", "access"))]
    tasks = [
        CheckTask(
            Subject("services", one.name),
            partial(_task, setup, context, one),
            more_about(setup, one),
            one.process.pid if one.process else None,
        )
        for one in setup.replicas
    ]
    return [tokens.task(context), *tasks]


def _task(setup: Setup, context: Context, replica: Replica) -> Iterator[Finding]:
    try:
        with _client(setup, replica) as http:
            before, began = setup.now(), time.monotonic()
            answer = http.get("/health/ready")
            took, local_times = time.monotonic() - began, (before, setup.now())
            yield evaluate(setup, replica, answer, took)
            yield from clock.of_service(replica.name, answer, local_times, setup.limits.drift)
            if replica.service == "worker":
                yield evaluate_heartbeat(replica.name, http.get("/metrics"), setup.limits.heartbeat)
            elif context.operator_token and replica.service in tokens.DOORS:
                yield tokens.check(context, replica, http)
    except _UNREACHED as error:
        yield _unreached(setup, replica, error)


def _client(setup: Setup, replica: Replica) -> httpx.Client:
    return httpx.Client(
        base_url=replica.url,
        timeout=setup.limits.answer,
        trust_env=setup.directory is None,
        mounts=past_proxies([replica.url]),  # local addresses are never reached through a proxy
        verify=replica.url.startswith("https:"),  # loading the certificates takes 50 ms
    )


def _unreached(setup: Setup, replica: Replica, error: Exception) -> Finding:
    about, process = Subject("services", replica.name), replica.process
    if process and process.state == "backing-off":
        why = f"It ended with exit code {process.last_exit} and will be restarted."
    elif isinstance(error, httpx.TimeoutException):
        why = f"It did not respond within {format_duration(setup.limits.answer)}."
    else:
        why = f"It cannot be reached: {one_line(error)}"
    return silent(about, process.pid if process else None, why, more_about(setup, replica))
