"""HTTP client of a service with several replicas: requests go to each in turn, with failover to the next."""

import itertools
import random
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import msgspec

from valerix_cli.addresses import past_proxies
from valerix_cli.clients import fields
from valerix_cli.clients.problems import Problem, error_of, problem_of
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError, GuardError, TimeoutExpiredError, UnreachableError
from valerix_cli.reasons import why
from valerix_cli.units import format_duration

T = TypeVar("T")

REQUEST_LIMIT = 10.0  # seconds; the order service itself answers within about four
_CONNECT_LIMIT = 3.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
_PERHAPS_DONE = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)


class Replicas:
    """Sends requests to the replicas of `service`, starting with another one each time."""

    def __init__(
        self,
        context: Context,
        service: str,
        *,
        limit: float | None = None,
        explain: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.service = service
        self._context = context
        self._urls = context.services.get(service, ())
        self._limit = limit or REQUEST_LIMIT
        self._explain = explain
        self._turn = itertools.count(random.randrange(max(len(self._urls), 1)))  # noqa: S311 - spreads load # nosec B311
        token = context.operator_token
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(self._limit, connect=min(self._limit, _CONNECT_LIMIT)),
            trust_env=not context.is_local,
            mounts=past_proxies(self._urls),  # local addresses are never reached through a proxy
            verify=any(url.startswith("https:") for url in self._urls),  # loading the certificates takes 50 ms
        )

    def send(self, method: str, path: str, *, repeatable: bool | None = None, **request: Any) -> httpx.Response:
        """Return the response, of any status, of the first replica that responds.

        A replica that cannot be reached is skipped; one that closes the connection is skipped only if the request is
        repeatable (any GET, and requests with an idempotency key). Raises UnreachableError, TimeoutExpiredError after
        the time limit, or BadUsageError for an invalid method, path or header.
        """
        fields.check(method, path, request.get("headers") or {})
        repeatable = method in {"GET", "HEAD"} if repeatable is None else repeatable
        faults = []
        for url in self._in_turn():
            try:
                response = self._client.request(method, url + path, **request)
            except (*_NOT_SENT, *_PERHAPS_DONE) as error:
                self._explain(f"{method} {url}{path} -> {type(error).__name__}: {error}")
                if isinstance(error, _PERHAPS_DONE) and not repeatable:
                    raise self._outcome_unknown(method, path) from error
                faults.append(f"{url}: {why(error)}")
            except UnicodeEncodeError:
                raise fields.not_utf_8() from None
            except httpx.TimeoutException as error:
                raise self._too_late(method, path) from error
            else:
                took = response.elapsed.total_seconds()
                self._explain(f"{method} {url}{path} -> {response.status_code} in {format_duration(took)}")
                return response
        raise self._nobody(faults)

    def get(self, path: str, shape: type[T], **request: Any) -> T:
        """Return the decoded body of a GET. Raises the error of its problem document."""
        return decode(self.send("GET", path, **request), shape)

    def close(self) -> None:
        """Close the connections. Optional at the end of a command."""
        self._client.close()

    def operator_only(self, action: str) -> None:
        """Raise GuardError, before any request, if there is no operator token. `action` completes the message."""
        if not self._context.operator_token:
            raise GuardError(
                f"An operator's token is needed to {action}.",
                f"the context `{self._context.name}` has none ({self._context.token_origin})",
                "valerix context show --origins",
            )

    def _in_turn(self) -> list[str]:
        start = next(self._turn) % max(len(self._urls), 1)
        return [*self._urls[start:], *self._urls[:start]]

    def _nobody(self, faults: list[str]) -> UnreachableError:
        local = self._context.is_local
        return UnreachableError(
            f"The {self.service} service is unreachable.",
            "; ".join(faults) or f"the context `{self._context.name}` lists no address for it",
            "valerix status, then valerix up --detach" if local else "valerix context show",
        )

    def _too_late(self, method: str, path: str) -> TimeoutExpiredError:
        harmless = method == "GET"
        return TimeoutExpiredError(
            f"The {self.service} service gave no response within {format_duration(self._limit)}.",
            f"{method} {path} " + ("was cancelled" if harmless else "was sent; whether it took effect is not known"),
            "repeat it with a longer --timeout" + ("" if harmless else " and the same key"),
        )

    def _outcome_unknown(self, method: str, path: str) -> CliError:
        return CliError(
            f"The {self.service} service closed the connection without a response.",
            f"{method} {path} was sent; whether it took effect is not known",
            "check its effect before you repeat it: valerix status",
        )


def decode(response: httpx.Response, shape: type[T]) -> T:
    """Return the decoded body of a successful response. Raises the error of its problem document for any other."""
    if response.is_success:
        return parse(response, shape)
    raise error_of(read_problem(response), path=response.request.url.path)


def parse(response: httpx.Response, shape: type[T]) -> T:
    """Return the body decoded as `shape`. Raises CliError if it does not match."""
    try:
        return msgspec.json.decode(response.content, type=shape)
    except msgspec.MsgspecError as error:
        raise CliError(
            f"Invalid response from {response.request.url}.",
            why(error, shape),
            "valerix version; the platform may be of another version",
        ) from error


def read_problem(response: httpx.Response) -> Problem:
    """Return the problem document of an error response; if it has none (a proxy's page), derive one from the status."""
    return problem_of(response.status_code, response.content, response.headers.get("Retry-After"))
