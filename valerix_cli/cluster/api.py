"""The API server of a cluster: plain objects in, plain objects out.

The `kubernetes` package finds the way and the credentials; what is asked and answered is ours. An answer that is no is
an ApiError, which is one of the ways a command can end.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from valerix_cli.addresses import path
from valerix_cli.cluster.objects import MANAGER, Object, Ref, ref
from valerix_cli.cluster.overlays import INSTALL
from valerix_cli.cluster.where import KubeContexts
from valerix_cli.errors import BadUsageError, CliError, GuardError, UnreachableError
from valerix_cli.reasons import why

LIMIT = 15.0  # seconds that an answer may take
_BUSY, _PATIENCE = 429, (0.2, 0.5, 1.0, 2.0, 4.0)
"""What a server says that has not done anything yet, and the seconds to wait each time before it is asked again."""
_NOT_FOUND, _CONFLICT, _INVALID, _UNAUTHORIZED, _FORBIDDEN = 404, 409, 422, 401, 403


class ApiError(CliError):
    """The API server said no. `status` is HTTP's; `causes` are its reasons, field by field."""

    def __init__(self, what: str, why: str, hint: str, *, status: int, causes: Sequence[Object] = ()) -> None:
        super().__init__(what, why, hint)
        self.status = status
        self.causes = causes

    @property
    def is_conflict(self) -> bool:
        """Whether another manager has set what we wanted to set."""
        return self.status == _CONFLICT and any(cause.get("reason") == "FieldManagerConflict" for cause in self.causes)

    @property
    def is_invalid(self) -> bool:
        return self.status == _INVALID


@dataclass(frozen=True)
class Resource:
    """How objects of a kind are addressed."""

    group_version: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = ["apis" if "/" in self.group_version else "api", *self.group_version.split("/")]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([name] if name else [])]
        return path(*parts)


@dataclass
class Api:
    """One cluster, as one context of the kubeconfig reaches it."""

    client: Any
    limit: float = LIMIT
    _resources: dict[str, dict[str, Resource]] = field(default_factory=dict)

    @cached_property
    def version(self) -> str:
        """As `v1.37.2`. Raises UnreachableError."""
        return str(self._json("GET", "/version")["gitVersion"])

    @property
    def server(self) -> str:
        return str(self.client.configuration.host)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How to address a kind, None where this cluster has none such."""
        if api_version not in self._resources:
            self._resources[api_version] = self._discover(api_version)
        return self._resources[api_version].get(kind)

    def get(self, wanted: Ref) -> Object | None:
        """An object as it is, None where there is none."""
        resource = self.resource(wanted.api_version, wanted.kind)
        if resource is None:
            return None
        try:
            found: Object = self._json("GET", resource.path(wanted.namespace, wanted.name))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return found

    def find_all(self, api_version: str, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """Objects of a kind; none where this cluster has none such."""
        resource = self.resource(api_version, kind)
        if resource is None:
            return []
        query = {"labelSelector": selector} if selector else {}
        found = self._json("GET", resource.path(namespace), query)["items"]
        return [{"apiVersion": api_version, "kind": kind, **thing} for thing in found]

    def apply(self, thing: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Have an object be as it is described, and say how it is then: server-side apply.

        Raises ApiError, for one where another manager has set a field (unless `force`).
        """
        wanted = ref(thing)
        query = {"fieldManager": MANAGER, "force": str(force).lower(), **({"dryRun": "All"} if dry_run else {})}
        path = self._path(wanted)
        kind = "application/apply-patch+yaml"
        found: Object = self._json("PATCH", path, query, thing, kind, about=str(wanted))
        return found

    def patch(self, wanted: Ref, body: Any, kind: str = "application/merge-patch+json") -> Object:
        query = {"fieldManager": MANAGER}
        found: Object = self._json("PATCH", self._path(wanted), query, body, kind, about=str(wanted))
        return found

    def create(self, thing: Object) -> Object:
        wanted = ref(thing)
        resource = self._known(wanted)
        path = resource.path(wanted.namespace)
        found: Object = self._json("POST", path, {"fieldManager": MANAGER}, thing, about=str(wanted))
        return found

    def delete(self, wanted: Ref, *, grace: int | None = None, foreground: bool = False) -> bool:
        """Delete an object and what it made; whether there was one."""
        body: dict[str, Any] = {"propagationPolicy": "Foreground" if foreground else "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self._json("DELETE", self._path(wanted), {}, body, about=str(wanted))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return False
            raise
        return True

    def may(self, verb: str, group: str, plural: str, namespace: str | None) -> bool:
        """Whether we have the right to do that: a SelfSubjectAccessReview."""
        resource, _, subresource = plural.partition("/")
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, **({"namespace": namespace} if namespace else {})}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._json("POST", path, {}, review)["status"].get("allowed"))

    def logs(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False) -> list[str]:
        """The last lines that a container said; none where there are none."""
        query = {"container": container, "tailLines": str(lines), **({"previous": "true"} if previous else {})}
        with contextlib.suppress(ApiError):
            content = self._send("GET", path("api", "v1", "namespaces", namespace, "pods", pod, "log"), query)
            return content.decode(errors="replace").splitlines()
        return []

    def _path(self, wanted: Ref) -> str:
        return self._known(wanted).path(wanted.namespace, wanted.name)

    def _known(self, wanted: Ref) -> Resource:
        resource = self.resource(wanted.api_version, wanted.kind)
        if resource is None:
            raise UnreachableError(
                f"This cluster knows no {wanted.kind}.",
                f"it has no {wanted.api_version}, so what brings {wanted} is not installed",
                "valerix cluster check says what is missing",
            )
        return resource

    def _discover(self, api_version: str) -> dict[str, Resource]:
        prefix = "apis" if "/" in api_version else "api"
        try:
            found = self._json("GET", path(prefix, *api_version.split("/")))["resources"]
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return {}
            raise
        return {
            one["kind"]: Resource(api_version, one["name"], one["namespaced"])
            for one in found
            if "/" not in one["name"]
        }

    def _json(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        about: str | None = None,
    ) -> Any:
        return json.loads(self._send(method, path, query, body, content_type, about))

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        about: str | None = None,
    ) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": content_type, **self.authorization()}
        url = f"{self.server}{path}?{urlencode(query)}" if query else f"{self.server}{path}"
        # what is not JSON by its name the package takes as text
        sent = body if content_type.endswith("json") else json.dumps(body)
        status, content = self._ask(method, url, headers, sent)
        for wait in _PATIENCE:
            if status != _BUSY:
                break
            time.sleep(wait)
            status, content = self._ask(method, url, headers, sent)
        if status >= 400:  # noqa: PLR2004 - HTTP's errors
            raise _refused(status, content, f"{method} {path}", about)
        return content

    def _ask(self, method: str, url: str, headers: dict[str, str], body: Any) -> tuple[int, bytes]:
        """Send it once. Raises UnreachableError."""
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - slow, and an extra
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the same

        rest = self.client.rest_client
        try:
            answer = rest.request(method, url, headers=headers, body=body, _request_timeout=self.limit)
            return answer.status, bytes(answer.read())
        except (ApiException, HTTPError, OSError) as error:
            raise UnreachableError(
                "The cluster does not answer.",
                f"{self.server}: {why(error)}",
                "valerix cluster check; kubectl cluster-info",
            ) from error

    def authorization(self) -> dict[str, str]:
        """The header that says who we are, if it takes one; it may be a new one each time."""
        known = self.client.configuration.auth_settings().get("BearerToken")
        return {"authorization": known["value"]} if known and known.get("value") else {}


@contextlib.contextmanager
def kubernetes_errors() -> Iterator[None]:
    """Tell what the `kubernetes` package makes of a kubeconfig in our own way."""
    try:
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415 - slow, and an extra
    except ImportError as error:
        raise UnreachableError("Clusters need an extra.", f"no module named {error.name!r}", INSTALL) from None
    try:
        yield
    except ConfigException as error:
        raise BadUsageError(
            "The kubeconfig was not understood.", why(error), "kubectl config view; KUBECONFIG names the file"
        ) from error


def kube_contexts() -> KubeContexts:
    """The contexts of the kubeconfig. Raises BadUsageError where there is none that can be read."""
    with kubernetes_errors():
        from kubernetes import config  # noqa: PLC0415 - slow, and an extra

        contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]  # the package is not typed
        return KubeContexts([one["name"] for one in contexts], current["name"] if current else None)


def connect(kube_context: str, limit: float | None = None) -> Api:
    """The cluster of a context of the kubeconfig; nothing is sent yet. Raises BadUsageError."""
    with kubernetes_errors():
        from kubernetes import client, config  # noqa: PLC0415 - slow, and an extra

        configuration = client.Configuration()
        configuration.retries = False
        found = config.new_client_from_config(  # type: ignore[no-untyped-call]  # the same
            context=kube_context, client_configuration=configuration, persist_config=False
        )
        return Api(found, limit or LIMIT)


def _refused(status: int, content: bytes, asked: str, about: str | None) -> CliError:
    try:
        said = json.loads(content)
    except ValueError:
        said = {}
    message = str(said.get("message") or content.decode(errors="replace").strip() or f"HTTP {status}")
    causes = (said.get("details") or {}).get("causes") or ()
    what = f"{about or asked} was refused."
    if status == _UNAUTHORIZED:
        return GuardError("The cluster does not know you.", message, "log in again; kubectl auth whoami")
    if status == _FORBIDDEN and "forbidden: User" in message:
        return GuardError(what, message, "valerix cluster check prints the Role that would grant what is missing")
    return ApiError(what, message, "valerix cluster diff", status=status, causes=causes)
