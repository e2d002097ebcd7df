"""The API server of a cluster; objects are plain dictionaries.

The `kubernetes` package provides the address and the credentials; requests and responses are handled here. An error
response raises ApiError, a CliError.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from valerix_cli.addresses import path
from valerix_cli.cluster.kubeconfig import AT_ONCE, client_of
from valerix_cli.cluster.objects import MANAGER, Object, Ref, ref
from valerix_cli.cluster.transport import LIMIT, ApiError, ForbiddenError, Transport
from valerix_cli.errors import UnreachableError

T = TypeVar("T")
R = TypeVar("R")
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_METADATA = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"


@dataclass(frozen=True)
class Resource:
    """The path of a kind's objects in the API."""

    group_version: str
    plural: str
    namespaced: bool
    kind: str
    is_manageable: bool
    """True if objects can be listed and deleted."""

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = ["apis" if "/" in self.group_version else "api", *self.group_version.split("/")]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([name] if name else [])]
        return path(*parts)


@dataclass
class Api:
    """A cluster, reached by a context of the kubeconfig."""

    transport: Transport

    @cached_property
    def version(self) -> str:
        """The version, as `v1.37.2`. Raises UnreachableError."""
        return str(self._json("GET", "/version")["gitVersion"])

    @property
    def server(self) -> str:
        return self.transport.server

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """Return the path of a kind's objects; None if the cluster does not have the kind."""
        return self._resources.get((api_version, kind))

    @property
    def namespaced(self) -> list[Resource]:
        """Every namespaced kind that can be listed and deleted, each in its preferred version."""
        preferred: dict[tuple[str, str], Resource] = {}
        for one in self._resources.values():  # the versions of a group come in order of preference
            if one.namespaced and one.is_manageable:
                preferred.setdefault((one.group_version.rpartition("/")[0], one.kind), one)
        return list(preferred.values())

    @cached_property
    def _resources(self) -> dict[tuple[str, str], Resource]:
        """Every kind of every API version, by two requests: aggregated discovery (Kubernetes 1.30)."""
        groups = self.each(lambda path_: self._json("GET", path_, accept=_DISCOVERY), ("/api", "/apis"))
        return {
            (found.group_version, found.kind): found
            for answer in groups
            for group in answer.get("items") or ()
            for found in _resources_of(group)
        }

    def each(self, do: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return `do` of each of `items`, in their order, with several requests at a time; raises the first error.

        If interrupted, it waits for the requests in flight and starts no more.
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="api") as threads:
            try:
                return list(threads.map(do, items))
            except (KeyboardInterrupt, SystemExit):
                self.transport.cancel()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def get(self, reference: Ref) -> Object | None:
        """Return an object, or None if it does not exist."""
        resource = self.resource(reference.api_version, reference.kind)
        if resource is None:
            return None
        try:
            found: Object = self._json("GET", resource.path(reference.namespace, reference.name))
        except ApiError as error:
            if error.is_absent:
                return None
            raise
        return found

    def find_all(self, api_version: str, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """Return the objects of a kind; none if the cluster does not have the kind."""
        resource = self.resource(api_version, kind)
        if resource is None:
            return []
        query = {"labelSelector": selector} if selector else {}
        found = self._json("GET", resource.path(namespace), query)["items"] or ()
        return [{"apiVersion": api_version, "kind": kind, **manifest} for manifest in found]

    def find_visible(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """Like `find_all`; none if the user may not list them."""
        try:
            return self.find_all(api_version, kind, namespace, selector)
        except ForbiddenError:
            return []

    def metadata(self, resource: Resource, namespace: str, selector: str = "") -> list[Object]:
        """Return the metadata of every object of a kind; none if the kind cannot be listed."""
        query = {"labelSelector": selector} if selector else {}
        try:
            found = self._json("GET", resource.path(namespace), query, accept=_METADATA)["items"] or ()
        except ApiError as error:
            if error.is_absent:
                return []
            raise
        return [{**manifest, "apiVersion": resource.group_version, "kind": resource.kind} for manifest in found]

    def apply(self, manifest: Object, *, dry_run: bool = False, force: bool = False, manager: str = MANAGER) -> Object:
        """Apply a manifest by server-side apply, and return the resulting object.

        Raises ApiError if another manager owns a field (unless `force`).
        """
        reference = ref(manifest)
        query = {"fieldManager": manager, "force": str(force).lower(), **({"dryRun": "All"} if dry_run else {})}
        path = self._path(reference)
        kind = "application/apply-patch+yaml"
        found: Object = self._json("PATCH", path, query, manifest, content_type=kind, about=str(reference))
        return found

    def patch(self, reference: Ref, body: Any, manager: str) -> Object:
        """Change single fields, as `manager`, by a JSON merge patch."""
        query, kind = {"fieldManager": manager}, "application/merge-patch+json"
        found: Object = self._json("PATCH", self._path(reference), query, body, content_type=kind, about=str(reference))
        return found

    def create(self, manifest: Object) -> Object:
        reference = ref(manifest)
        resource = self._known(reference)
        path = resource.path(reference.namespace)
        found: Object = self._json("POST", path, {"fieldManager": MANAGER}, manifest, about=str(reference))
        return found

    def replace(self, manifest: Object) -> Object:
        """Replace the version of an object that `manifest` was read as. Raises ApiError (`is_outdated`)."""
        reference = ref(manifest)
        found: Object = self._json(
            "PUT", self._path(reference), {"fieldManager": MANAGER}, manifest, about=str(reference)
        )
        return found

    def delete(
        self,
        reference: Ref,
        *,
        grace: int | None = None,
        policy: Literal["Foreground", "Background", "Orphan"] = "Background",
        uid: str | None = None,
    ) -> bool:
        """Delete an object and, by default, its dependents. Returns whether it existed.

        With `uid` only this very object is deleted: raises ApiError if another one has its name.
        """
        body: dict[str, Any] = {"propagationPolicy": policy}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self._json("DELETE", self._path(reference), {}, body, about=str(reference))
        except ApiError as error:
            if error.is_absent:
                return False
            raise
        return True

    def may(self, verb: str, group: str, plural: str, namespace: str | None) -> bool:
        """Return True if the user may do that, by a SelfSubjectAccessReview."""
        resource, _, subresource = plural.partition("/")
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, **({"namespace": namespace} if namespace else {})}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._json("POST", path, {}, review, repeatable=True)["status"].get("allowed"))

    def rules(self, namespace: str) -> list[Object] | None:
        """Return the user's permissions in a namespace as RBAC rules; None if the server cannot list all of them."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        status = self._json("POST", path, {}, review, repeatable=True)["status"]
        return None if status.get("incomplete") else list(status["resourceRules"])

    def logs(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False) -> list[str]:
        """Return the last lines of a container's log; none if there is no log."""
        query = {"container": container, "tailLines": str(lines), **({"previous": "true"} if previous else {})}
        with contextlib.suppress(ApiError):
            content = self.transport.send("GET", path("api", "v1", "namespaces", namespace, "pods", pod, "log"), query)
            return content.decode(errors="replace").splitlines()
        return []

    def _path(self, reference: Ref) -> str:
        return self._known(reference).path(reference.namespace, reference.name)

    def _known(self, reference: Ref) -> Resource:
        resource = self.resource(reference.api_version, reference.kind)
        if resource is None:
            raise UnreachableError(
                f"The cluster has no resource kind {reference.kind}.",
                f"it has no {reference.api_version}, so the operator that provides {reference} is not installed",
                "valerix cluster check says what is missing",
            )
        return resource

    def _json(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None, **more: Any) -> Any:
        return json.loads(self.transport.send(method, path, query, body, **more))


def _resources_of(group: Object) -> Iterator[Resource]:
    name = group["metadata"].get("name")
    for version in group["versions"]:
        group_version = f"{name}/{version['version']}" if name else version["version"]
        for one in version.get("resources") or ():
            kind = (one.get("responseKind") or {}).get("kind")
            if kind:
                manageable = {"list", "delete"} <= set(one.get("verbs") or ())
                yield Resource(group_version, one["resource"], one["scope"] == "Namespaced", kind, manageable)


def connect(kube_context: str, limit: float | None = None, log: Callable[[str], None] = lambda _: None) -> Api:
    """Return the cluster of a context of the kubeconfig, without a request. Raises BadUsageError.

    `log` is called when requests are retried.
    """
    return Api(Transport(client_of(kube_context), limit or LIMIT, log=log))
